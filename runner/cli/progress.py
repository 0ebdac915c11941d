"""The commands that change the progress of tasks: `retry`, `skip`, `hold`, `approve`,
`reply`, `undo` and `accept`.

While a run goes on, they leave a request, which it applies when it next chooses tasks.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from runner.cli import completion
from runner.cli.context import open_tasks
from runner.cli.options import Command, settings_options
from runner.cli.requests import Answer, current_snapshot, submit
from runner.core.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.config.settings import FlagValue
    from runner.plan.requests import Request

_ids = click.argument(
    "task_ids",
    nargs=-1,
    required=True,
    metavar="ID…",
    shell_complete=completion.task_ids,
)


def _answer_options(command: Command) -> Command:
    """Add --dry-run and --json, which the command gets as an `Answer`."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    dry_run = click.option(
        "--dry-run", is_flag=True, help="Say what would be done; change nothing."
    )
    return dry_run(as_json(command))


@click.command()
@click.argument("task_ids", nargs=-1, metavar="ID…", shell_complete=completion.task_ids)
@click.option("--failed", is_flag=True, help="Every task that failed for good.")
@click.option("--redo", is_flag=True, help="Run completed tasks again as well.")
@click.option("--message", metavar="TEXT", help="Say this to the next agent.")
@click.option(
    "--from-review",
    is_flag=True,
    help="Tell the next agent what the review says on lines that the task wrote.",
)
@_answer_options
@settings_options("retry")
@click.pass_obj
def retry(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    failed: bool,
    redo: bool,
    message: str | None,
    from_review: bool,
    dry_run: bool,
    as_json: bool,
    **flags: FlagValue | None,
) -> int:
    """Grant tasks one more attempt.

    The count of attempts made is never lowered. A completed task is run again only
    with --redo; its change stays, and the new attempt starts from it. A message is in
    the prompt of the next attempts, until one of them lands.

    --from-review takes the open comments on the branch's pull request, of people who may
    write, and runs the task again. The token is taken from GITHUB_TOKEN, or from gh.
    """
    from runner.plan.requests import RetryRequest

    if not task_ids and not failed:
        raise UsageProblem("no tasks given", "give their ids, or --failed")
    if message is not None:
        _check_length("--message", message)
    if from_review:
        message = _from_review(repo_path, flags, task_ids, message or "")
    fields = {
        "tasks": task_ids,
        "redo": redo or from_review,
        "failed": not task_ids,
        "message": message or "",
    }
    return _submit(repo_path, flags, RetryRequest, fields, Answer(dry_run, as_json))


def _from_review(
    repo_path: str,
    flags: Mapping[str, FlagValue | None],
    task_ids: tuple[str, ...],
    message: str,
) -> str:
    """The message, with what the review of the branch's pull request says to the task."""
    from runner.comments.review import review_message
    from runner.github_api.comments import CommentApi
    from runner.local.github_access import github_access
    from runner.local.written_lines import WrittenLines

    if len(task_ids) != 1:
        raise UsageProblem("--from-review is for one task", "give its id")
    repo, settings = open_tasks(repo_path, flags)
    branch, snapshot = current_snapshot(repo, settings)
    snapshot.tasks_named(task_ids)
    access = github_access(repo, os.environ)
    api = CommentApi(access.token, access.repository, access.api_url)
    number = api.open_pull_from(branch)
    if number is None:
        raise UsageProblem(
            f"{access.repository} has no open pull request from {branch}",
            "push the branch and open one, or say it:  --message",
        )
    written = WrittenLines(
        repo, snapshot, settings.progress, settings.task_rules, task_ids[0]
    )
    return review_message(api, number, written, message)


@click.command()
@_ids
@click.option(
    "--satisfied",
    is_flag=True,
    help="Let the tasks that depend on them run nevertheless.",
)
@_answer_options
@settings_options("skip")
@click.pass_obj
def skip(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    satisfied: bool,
    dry_run: bool,
    as_json: bool,
    **flags: FlagValue | None,
) -> int:
    """Never run these tasks; `fanin retry` undoes it."""
    from runner.plan.requests import SkipRequest

    fields = {"tasks": task_ids, "satisfied": satisfied}
    return _submit(repo_path, flags, SkipRequest, fields, Answer(dry_run, as_json))


@click.command()
@_ids
@_answer_options
@settings_options("hold")
@click.pass_obj
def hold(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **flags: FlagValue | None,
) -> int:
    """Start no attempt of these tasks before `fanin approve`.

    An attempt that is under way goes on. All else of the plan runs.
    """
    from runner.plan.requests import HoldRequest

    fields = {"tasks": task_ids}
    return _submit(repo_path, flags, HoldRequest, fields, Answer(dry_run, as_json))


@click.command()
@_ids
@_answer_options
@settings_options("approve")
@click.pass_obj
def approve(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **flags: FlagValue | None,
) -> int:
    """Let tasks start that wait for a person's approval.

    Those with `gate: true` in the plan, and those of `fanin hold`.
    """
    from runner.plan.requests import ApproveRequest

    fields = {"tasks": task_ids}
    return _submit(repo_path, flags, ApproveRequest, fields, Answer(dry_run, as_json))


@click.command()
@click.argument("task_id", metavar="ID", shell_complete=completion.task_ids)
@click.argument("answer", metavar="TEXT")
@_answer_options
@settings_options("reply")
@click.pass_obj
def reply(
    repo_path: str,
    /,
    task_id: str,
    answer: str,
    dry_run: bool,
    as_json: bool,
    **flags: FlagValue | None,
) -> int:
    """Answer the question that the agent of a task has asked.

    The task's next attempt starts with question, answer and the work so far. Until then,
    another reply takes the place of this one.
    """
    from runner.plan.requests import ReplyRequest

    _check_length("the answer", answer)
    fields = {"tasks": (task_id,), "answer": answer}
    return _submit(repo_path, flags, ReplyRequest, fields, Answer(dry_run, as_json))


@click.command()
@_ids
@click.option(
    "--with-dependents",
    is_flag=True,
    help="Take out the landed tasks that depend on them as well.",
)
@_answer_options
@settings_options("undo")
@click.pass_obj
def undo(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    with_dependents: bool,
    dry_run: bool,
    as_json: bool,
    **flags: FlagValue | None,
) -> int:
    """Take the changes of landed tasks out again.

    One commit removes what they changed, keeps what came after, and makes them pending.
    What git cannot decide is a conflict, and nothing is changed.
    """
    from runner.plan.requests import UndoRequest

    fields = {"tasks": task_ids, "with_dependents": with_dependents}
    return _submit(repo_path, flags, UndoRequest, fields, Answer(dry_run, as_json))


@click.command()
@click.argument("task_id", metavar="ID", shell_complete=completion.task_ids)
@click.option(
    "--allow",
    multiple=True,
    metavar="PATH",
    help="Let it change this protected path; may be repeated.",
)
@click.option(
    "--from",
    "revision",
    metavar="REVISION",
    help="The work, such as a branch on which you resolved a conflict.",
)
@click.option(
    "--unverified", is_flag=True, help="Land it although verify is red, or unknown."
)
@_answer_options
@settings_options("accept")
@click.pass_obj
def accept(
    repo_path: str,
    /,
    task_id: str,
    allow: tuple[str, ...],
    revision: str | None,
    unverified: bool,
    dry_run: bool,
    as_json: bool,
    **flags: FlagValue | None,
) -> int:
    """Let the kept work of a task land, and complete it.

    Work that was refused for the task's files, for its size or for a protected path
    (--allow), that was held, or in which you resolved a conflict (--from). It is merged
    like any result, and verify must be green.
    """
    from runner.local.accept import find_work
    from runner.plan.requests import AcceptRequest

    repo, settings = open_tasks(repo_path, flags)
    branch, snapshot = current_snapshot(repo, settings)
    [task] = snapshot.tasks_named([task_id])
    work = find_work(repo, settings, snapshot, branch, task, revision)
    request = AcceptRequest(
        branch=branch,
        plan=settings.plan,
        progress=settings.progress,
        tasks=(task_id,),
        commit=work.commit,
        base=work.base,
        attempt=work.attempt,
        held=work.held,
        allow=allow,
        unverified=unverified,
    )
    return submit(repo, settings, snapshot, request, Answer(dry_run, as_json))


def _check_length(name: str, text: str) -> None:
    """Raises UsageProblem if a person's text for an agent is empty or too long."""
    from runner.core.message_text import visible
    from runner.core.result import MAX_PERSONS_MESSAGE

    length = len(visible(text).strip())
    if not 0 < length <= MAX_PERSONS_MESSAGE:
        raise UsageProblem(
            f"{name} has {length:,} characters",
            f"write 1 to {MAX_PERSONS_MESSAGE:,}; a longer text belongs in the plan",
        )


def _submit(
    repo_path: str,
    flags: Mapping[str, FlagValue | None],
    kind: type[Request],
    fields: Mapping[str, Any],
    answer: Answer,
) -> int:
    repo, settings = open_tasks(repo_path, flags)
    branch, snapshot = current_snapshot(repo, settings)
    request = kind(
        branch=branch, plan=settings.plan, progress=settings.progress, **fields
    )
    return submit(repo, settings, snapshot, request, answer)


COMMANDS = (retry, skip, hold, approve, reply, undo, accept)
