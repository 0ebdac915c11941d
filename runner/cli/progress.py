"""The commands that change the progress of tasks: `retry` and `skip`.

While a run goes on, they leave a request, which it applies when it next chooses tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli import completion
from runner.cli.context import branch_snapshot, open_project, unlanded_work
from runner.cli.options import settings_options
from runner.core.errors import EXIT_DONE, UsageProblem

if TYPE_CHECKING:
    from runner.config.settings import FlagValue, Settings
    from runner.local.journal import Journal
    from runner.plan.requests import Request
    from runner.plan.snapshot import Snapshot
    from runner.repo.repository import Repository

# A command that holds the repository's lock, or a run that ends, is done before.
_WAIT_SECONDS = 10


@click.command()
@click.argument("task_ids", nargs=-1, metavar="ID…", shell_complete=completion.task_ids)
@click.option("--failed", is_flag=True, help="Every task that failed for good.")
@click.option("--redo", is_flag=True, help="Run completed tasks again as well.")
@settings_options("retry")
@click.pass_obj
def retry(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    failed: bool,
    redo: bool,
    **flags: FlagValue | None,
) -> int:
    """Grant tasks one more attempt.

    The count of attempts made is never lowered. A completed task is run again only
    with --redo; its change stays, and the new attempt starts from it.
    """
    from runner.plan.requests import RetryRequest

    if not task_ids and not failed:
        raise UsageProblem("no tasks given", "give their ids, or --failed")
    repo, settings = open_project(repo_path, flags)
    branch, snapshot = _current_snapshot(repo, settings)
    request = RetryRequest(
        branch=branch,
        plan=settings.plan,
        progress=settings.progress,
        tasks=task_ids,
        redo=redo,
        failed=not task_ids,
    )
    return _submit(repo, settings, snapshot, request)


@click.command()
@click.argument(
    "task_ids",
    nargs=-1,
    required=True,
    metavar="ID…",
    shell_complete=completion.task_ids,
)
@click.option(
    "--satisfied",
    is_flag=True,
    help="Let the tasks that depend on them run nevertheless.",
)
@settings_options("skip")
@click.pass_obj
def skip(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    satisfied: bool,
    **flags: FlagValue | None,
) -> int:
    """Never run these tasks; `fanin retry` undoes it."""
    from runner.plan.requests import SkipRequest

    repo, settings = open_project(repo_path, flags)
    branch, snapshot = _current_snapshot(repo, settings)
    request = SkipRequest(
        branch=branch,
        plan=settings.plan,
        progress=settings.progress,
        tasks=task_ids,
        satisfied=satisfied,
    )
    return _submit(repo, settings, snapshot, request)


def _current_snapshot(repo: Repository, settings: Settings) -> tuple[str, Snapshot]:
    """The branch that work lands on, and what counts on it now."""
    from runner.local.preparation import target_branch

    branch = target_branch(repo, settings)
    waiting, _ = unlanded_work(repo, settings)
    waiting_branch = waiting.branch if waiting else None
    return branch, branch_snapshot(repo, settings, waiting_branch)


def _submit(
    repo: Repository, settings: Settings, snapshot: Snapshot, request: Request
) -> int:
    """Apply the request now, or leave it for the run that is in progress.

    Refused is what `snapshot` does not allow; if that changes before the request is
    applied, the run says so.
    """
    from runner.local.journal import Journal, RepositoryInUse
    from runner.local.requests import apply_request, check_commit
    from runner.plan.requests import check_request

    check_request(request, snapshot)
    rules, max_attempts = settings.task_rules, settings.max_attempts
    check_commit(repo, snapshot, request, max_attempts, rules)
    journal = Journal(repo.git_dir)
    try:
        with journal.locked():
            _apply_left(repo, settings, journal)
            done = apply_request(repo, journal, "", request, max_attempts, rules)
    except RepositoryInUse:
        journal.requests.add(request)
        _echo_recorded(request, journal, _wait_to_apply(repo, settings, journal))
        return EXIT_DONE
    said = [done.done] if done.done else []
    if done.changes:
        ids = ", ".join(change.task for change in done.changes)
        said.insert(0, f"{request.kind}: {ids}")
    if said:
        click.echo(f"{'; '.join(said)}; continue with  fanin run")
    else:
        click.echo("nothing to do")
    return EXIT_DONE


def _echo_recorded(request: Request, journal: Journal, is_applied: bool) -> None:
    from runner.plan.requests import describe

    outcome = "continue with  fanin run"
    if not is_applied:
        when = "when it next chooses tasks"
        if (running_on := journal.state().branch) != request.branch:
            when = f"when it ends: it works on {running_on}"
        outcome = f"the run in progress applies it {when}"
    click.echo(f"recorded: {describe(request)}; {outcome}")


def _wait_to_apply(repo: Repository, settings: Settings, journal: Journal) -> bool:
    """Apply what is in the folder if no run is in progress; whether it was applied.

    A run that has not said that it ends looks for requests once more after that.
    """
    from runner.local.journal import RepositoryInUse

    if journal.state().run is not None:
        return False
    try:
        with journal.locked(_WAIT_SECONDS):
            _apply_left(repo, settings, journal)
    except RepositoryInUse:
        return False
    return True


def _apply_left(repo: Repository, settings: Settings, journal: Journal) -> None:
    """Undo a landing that was killed, and apply requests that no run has taken."""
    from runner.core.documents import clean
    from runner.local.requests import apply_left_requests
    from runner.local.unlanded_work import undo_interrupted_landings

    def note(text: str) -> None:
        click.echo(f"note: {clean(text)}")

    undo_interrupted_landings(repo, journal, note)
    apply_left_requests(repo, journal, settings.max_attempts, settings.task_rules, note)


COMMANDS = (retry, skip)
