"""The request that a comment's command makes, and the work that it needs from GitHub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.core.errors import UsageProblem
from runner.core.fanin_commands import typed
from runner.fan_in import kept_refs, landing_record
from runner.local import accept
from runner.plan.requests import (
    AcceptRequest,
    ApproveRequest,
    HoldRequest,
    ReplyRequest,
    Request,
    RetryRequest,
    UndoRequest,
)

if TYPE_CHECKING:
    from runner.comments.command import Command
    from runner.config.settings import Settings
    from runner.github_api.comments import CommentedPull
    from runner.plan.snapshot import Snapshot
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository

# After these a task may start that could not before.
STARTS_A_ROUND = frozenset({"retry", "reply", "approve", "accept"})


def needs_history(command: Command) -> bool:
    """Whether the branch's whole history is needed: what a task changed is in there, and
    who wrote a line.
    """
    return command.name == "undo" or "--from-review" in command.options


def request_of(
    repo: Repository,
    remote: Remote,
    settings: Settings,
    snapshot: Snapshot,
    pull: CommentedPull,
    command: Command,
    message: str,
) -> Request:
    """The request for the branch of the pull request, of which `snapshot` is the head.

    `message` is for the next prompt. Raises UsageProblem if one of the tasks is not in the
    plan, and if there is no such work to accept.
    """
    fields: dict[str, Any] = {
        "branch": pull.head,
        "plan": settings.plan,
        "progress": settings.progress,
        "tasks": command.ids,
    }
    snapshot.tasks_named(command.ids)
    match command.name:
        case "retry":
            from_review = "--from-review" in command.options
            redo = from_review or "--redo" in command.options
            return RetryRequest(**fields, redo=redo, message=message)
        case "reply":
            return ReplyRequest(**fields, answer=message)
        case "approve":
            return ApproveRequest(**fields)
        case "hold":
            return HoldRequest(**fields)
        case "undo":
            # Where tasks landed together, these say what each of them has changed.
            remote.fetch_refs([f"{landing_record.ROOT}/*"])
            with_dependents = "--with-dependents" in command.options
            return UndoRequest(**fields, with_dependents=with_dependents)
        case _:
            return _accept_request(
                repo, remote, settings, snapshot, pull, command, fields
            )


def _accept_request(
    repo: Repository,
    remote: Remote,
    settings: Settings,
    snapshot: Snapshot,
    pull: CommentedPull,
    command: Command,
    fields: dict[str, Any],
) -> AcceptRequest:
    """Raises UsageProblem if the commit is no kept work of the task, and if verify would
    have to run: this job may write, so that it runs no code of the repository.
    """
    [task] = snapshot.tasks_named(command.ids)
    unverified = "--unverified" in command.options
    if not unverified and (settings.verify or task.verify):
        raise UsageProblem(
            f"{task.id} must be verified, which this job cannot do: it may write, so it "
            "runs no code of the repository",
            "accept it in a clone and push, or write  /"
            + typed("accept", [task.id], "--unverified", last=command.commit),
        )
    path = accept.plan_path(settings, snapshot)
    folders = [
        f"{kept_refs.folder(branch, path, task.id)}/"
        for branch in (pull.head, pull.base)
    ]
    remote.fetch_refs([f"{folder}*" for folder in folders])
    kept = {commit for folder in folders for commit in repo.refs(folder).values()}
    if command.commit not in kept:
        raise UsageProblem(
            f"no work of {task.id} is kept here as {command.commit[:10]}",
            "the summary of the run names what is kept; what nobody may accept is in the "
            "artifact of its attempt alone",
        )
    work = accept.find_work(repo, settings, snapshot, pull.head, task, command.commit)
    return AcceptRequest(
        **fields,
        commit=work.commit,
        base=work.base,
        attempt=work.attempt,
        unverified=unverified,
    )
