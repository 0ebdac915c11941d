"""Submits what a command asks of a plan: at once, or to the run that is in progress."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

from runner.cli.context import branch_snapshot, unlanded_work
from runner.core.errors import EXIT_DONE, UsageProblem

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.local.journal import Journal
    from runner.local.request_context import RequestContext
    from runner.local.request_outcome import Outcome
    from runner.plan.requests import Request
    from runner.plan.snapshot import Snapshot
    from runner.repo.repository import Repository

# A command that holds the repository's lock, or a run that ends, is done before.
_WAIT_SECONDS = 10
_MAX_NAMED = 8  # paths


class Answer(NamedTuple):
    """How a command answers: whether it only says what it would do, and as JSON."""

    dry_run: bool = False
    as_json: bool = False

    def say(self, text: str) -> None:
        """Print a line for people."""
        if not self.as_json:
            click.echo(text)


def current_snapshot(repo: Repository, settings: Settings) -> tuple[str, Snapshot]:
    """The branch that work lands on, and what counts on it now."""
    from runner.local.preparation import target_branch

    branch = target_branch(repo, settings)
    waiting, _ = unlanded_work(repo, settings)
    waiting_branch = waiting.branch if waiting else None
    return branch, branch_snapshot(repo, settings, waiting_branch)


def submit(
    repo: Repository,
    settings: Settings,
    snapshot: Snapshot,
    request: Request,
    answer: Answer,
) -> int:
    """Apply the request now, or leave it for the run that is in progress.

    Refused is what `snapshot` does not allow; if that changes before the request is
    applied, the run says so.
    """
    from runner.local.journal import Journal, RepositoryInUse
    from runner.local.request_context import RequestContext
    from runner.local.request_outcome import request_outcome
    from runner.local.requests import apply_request
    from runner.plan.requests import check_request

    check_request(request, snapshot)
    context = RequestContext(repo, settings, os.environ)
    planned = request_outcome(context, snapshot, "", request, verified=False)
    if answer.dry_run:
        _print_planned(request, planned, answer)
        return EXIT_DONE
    journal = Journal(repo.git_dir)
    try:
        with journal.locked():
            _apply_left(context, journal, answer)
            done = apply_request(context, journal, "", request)
    except RepositoryInUse:
        if request not in journal.requests.read().values():
            journal.requests.add(request)
        is_applied = _wait_to_apply(context, journal, answer)
        _print_recorded(request, planned, journal, answer, is_applied=is_applied)
        return EXIT_DONE
    if done.refused and not done.tasks:
        raise UsageProblem("; ".join(done.refused))
    _print_done(request, done, answer)
    return EXIT_DONE


def _print_planned(request: Request, planned: Outcome, answer: Answer) -> None:
    if answer.as_json:
        _print_report(request, "dry_run", planned)
    elif not planned.tasks:
        click.echo("nothing to do")
    else:
        click.echo(f"would {request.kind}: {', '.join(planned.tasks)}")
        _print_paths(planned)


def _print_done(request: Request, done: Outcome, answer: Answer) -> None:
    if answer.as_json:
        _print_report(request, "done" if done.tasks else "nothing", done)
        return
    said = [f"{request.kind}: {', '.join(done.tasks)}"] if done.tasks else []
    if done.already:
        said.append(done.already)
    if not said:
        click.echo("nothing to do")
        return
    click.echo(f"{'; '.join(said)}; continue with  fanin run")
    _print_paths(done)


def _print_paths(outcome: Outcome) -> None:
    from runner.core.message_text import visible
    from runner.core.plurals import some_of

    if outcome.paths:
        names = some_of(outcome.paths[:_MAX_NAMED], len(outcome.paths))
        click.echo(visible(f"  changes {names}"))
    for sentence in outcome.left_out[:_MAX_NAMED]:
        click.echo(visible(f"  left out: {sentence}"))
    if len(outcome.left_out) > _MAX_NAMED:
        click.echo(f"  left out: {len(outcome.left_out) - _MAX_NAMED} more")


def _print_report(
    request: Request,
    outcome: Literal["done", "recorded", "nothing", "dry_run"],
    changed: Outcome,
) -> None:
    from runner.core.reports import RequestReport

    report = RequestReport(
        command=request.kind,
        outcome=outcome,
        branch=request.branch,
        tasks=changed.tasks,
        paths=changed.paths,
        left_out=changed.left_out,
        commit=changed.commit if outcome == "done" else None,
    )
    click.echo(report.model_dump_json(indent=1))


def _print_recorded(
    request: Request,
    planned: Outcome,
    journal: Journal,
    answer: Answer,
    *,
    is_applied: bool,
) -> None:
    from runner.plan.requests import FileRequest, describe

    if answer.as_json:
        _print_report(request, "recorded", planned)
        return
    outcome = "continue with  fanin run"
    if not is_applied:
        when = "when it next chooses tasks"
        if isinstance(request, FileRequest):
            when = "when its agents have ended, before it starts others"
        if (running_on := journal.state().branch) != request.branch:
            when = f"when it ends: it works on {running_on}"
        outcome = f"the run in progress applies it {when}"
    click.echo(f"recorded: {describe(request)}; {outcome}")


def _wait_to_apply(context: RequestContext, journal: Journal, answer: Answer) -> bool:
    """Apply what is in the folder if no run is in progress; whether it was applied.

    A run that has not said that it ends looks for requests once more after that.
    """
    from runner.local.journal import RepositoryInUse

    if journal.state().run is not None:
        return False
    try:
        with journal.locked(_WAIT_SECONDS):
            _apply_left(context, journal, answer)
    except RepositoryInUse:
        return False
    return True


def _apply_left(context: RequestContext, journal: Journal, answer: Answer) -> None:
    """Undo a landing that was killed, and apply requests that no run has taken."""
    from runner.core.documents import clean
    from runner.local.requests import apply_left_requests
    from runner.local.unlanded_work import undo_interrupted_landings

    def note(text: str) -> None:
        answer.say(f"note: {clean(text)}")

    undo_interrupted_landings(context.repo, journal, note)
    apply_left_requests(context, journal, note)
