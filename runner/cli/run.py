"""The command `run`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from runner.cli.context import (
    branch_commit,
    branch_snapshot,
    open_project,
    task_views,
    unlanded_work,
)
from runner.cli.options import (
    jobs_option,
    settings_options,
    task_choice_options,
)
from runner.core.errors import (
    EXIT_DONE,
    EXIT_TASKS_FAILED,
    EXIT_WAITING,
    FaninError,
    UsageProblem,
)

if TYPE_CHECKING:
    from runner.config.settings import FlagValue, Settings
    from runner.core.manifest import Manifest
    from runner.core.run_view import RunView
    from runner.delivery.choice import ClosedPull
    from runner.local.run import Answers
    from runner.repo.repository import Repository
    from runner.schedule.task_choice import NamedTasks
    from runner.ui.console import RunConsole


@click.command()
@task_choice_options("Run this task and all that it depends on; may be repeated.")
@click.option(
    "--dry-run", is_flag=True, help="Print the first batch; start and write nothing."
)
@click.option(
    "--trust",
    "trusted",
    multiple=True,
    metavar="COMMIT",
    help="Build on this commit, which an agent may have made; may be repeated.",
)
@jobs_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the run's events, one JSON object a line, and nothing else.",
)
@click.option(
    "-q", "--quiet", is_flag=True, help="Show warnings, failures and the end alone."
)
@click.option("-v", "--verbose", is_flag=True, help="Show what the agents write too.")
@click.option(
    "--reopen",
    "closed_pull",
    flag_value="reopen",
    help="Go on with a pull request of an earlier run that was closed.",
)
@click.option(
    "--abandon",
    "closed_pull",
    flag_value="abandon",
    help="Give up the work of such a pull request; its tasks are open again.",
)
@settings_options("run")
@click.pass_obj
def run(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    until: tuple[str, ...],
    dry_run: bool,
    trusted: tuple[str, ...],
    as_json: bool,
    jobs: int | None,
    quiet: bool,
    verbose: bool,
    closed_pull: ClosedPull | None,
    **flags: FlagValue | None,
) -> int:
    """Run every ready task, batch by batch, until none is left.

    With IDs, run these tasks and no others; what they depend on must be completed.
    """
    if quiet and verbose:
        raise UsageProblem("--quiet and --verbose exclude each other", "use one")
    if jobs is not None:
        flags |= {"parallel": True, "max_concurrent": jobs}
    repo, settings = open_project(repo_path, flags)
    # After the settings, which may be wrong: this imports all that a run needs.
    from runner.core.interrupts import interrupt_on_signals
    from runner.local.run import Answers
    from runner.schedule.task_choice import NamedTasks

    interrupt_on_signals()
    named = NamedTasks(task_ids, until)
    if dry_run and as_json:
        raise click.UsageError("--json has nothing to print with --dry-run")
    if dry_run:
        from runner.local.delivered import with_own_branch

        return _print_first_batch(repo, with_own_branch(repo, settings), named)
    answers = Answers(trusted, closed_pull)
    if as_json:
        return _run_with_json(repo, settings, named, answers)
    return _run_or_offer_commit(repo, settings, named, answers, verbose - quiet)


def _run_or_offer_commit(
    repo: Repository,
    settings: Settings,
    named: NamedTasks,
    answers: Answers,
    more_or_less: int,
) -> int:
    """Run; if the plan is valid in the work tree alone, offer to commit it first."""
    from runner.core.documents import clean
    from runner.local.preparation import FixNotCommitted
    from runner.repo.work_tree import commit_paths

    try:
        return _run(repo, settings, named, answers, more_or_less)
    except FixNotCommitted as problem:
        may_ask = sys.stdin.isatty() and sys.stdout.isatty()
        if not (problem.is_valid and may_ask):
            raise
        click.echo(clean(str(problem)), err=True)
        what = clean(", ".join(problem.paths))
        if not click.confirm(f"commit {what} and run?"):
            return problem.exit_code
        commit_paths(repo, repo.root, problem.paths, "Fix the plan")
    return _run(repo, settings, named, answers, more_or_less)


def _run_with_json(
    repo: Repository, settings: Settings, named: NamedTasks, answers: Answers
) -> int:
    from runner.cli.report import exit_code_of
    from runner.local.run import LocalRun
    from runner.ui.event_stream import EventStream
    from runner.ui.traces import traced

    with traced(EventStream(), os.environ, _warn_of_traces) as observer:
        local_run = LocalRun(
            repo, settings, os.environ, observer, named, answers=answers
        )
        ended = local_run()
    if ended.limit_reached:
        return EXIT_WAITING
    if ended.waiting_branch or ended.stop_reason:
        return EXIT_TASKS_FAILED
    views = task_views(ended.snapshot, settings)
    exit_code = exit_code_of([view for view in views if view.task.id in ended.choice])
    return EXIT_WAITING if ended.for_person and exit_code == EXIT_DONE else exit_code


def _warn_of_traces(message: str) -> None:
    click.echo(f"warning: {message}", err=True)


def _run(
    repo: Repository,
    settings: Settings,
    named: NamedTasks,
    answers: Answers,
    more_or_less: int,
) -> int:
    """Run the tasks; `more_or_less` is shown where it is 1 or -1."""
    from runner.core.errors import DecisionNeeded, Interrupted
    from runner.local.run import LocalRun
    from runner.local.unlanded_work import waiting_sentence
    from runner.ui.console import RunConsole
    from runner.ui.run_lines import Verbosity
    from runner.ui.terminal import TerminalView
    from runner.ui.traces import traced

    console = RunConsole(environ=os.environ)
    verbosity = Verbosity(Verbosity.NORMAL + more_or_less)
    view = TerminalView(console, verbosity, os.environ)
    with traced(view, os.environ, _warn_of_traces) as observer:
        local_run = LocalRun(
            repo, settings, os.environ, observer, named, answers=answers
        )
        try:
            with view:
                ended = local_run()
        except (Interrupted, DecisionNeeded, KeyboardInterrupt):
            _print_interrupted(console, repo, settings, view.run, local_run.masked)
            raise
    # Now, as no agent has to wait for it.
    from runner.cli.report import print_end, print_time, print_usage

    views = task_views(ended.snapshot, settings)
    chosen = [each for each in views if each.task.id in ended.choice]
    exit_code = print_end(
        console,
        chosen,
        view.run,
        local_run.masked,
        own_branch=settings.own_branch,
    )
    print_usage(console, ended.usage)
    print_time(console, ended.snapshot, view.run, settings)
    for sentence in ended.for_person.sentences:
        _print_warning(console, local_run.masked(sentence))
    if ended.for_person and exit_code == EXIT_DONE:
        exit_code = EXIT_WAITING
    warnings = []
    if ended.waiting is not None:
        warnings.append(waiting_sentence(ended.waiting, repo.current_branch()))
    if ended.stop_reason:
        warnings.append(f"stopped: {ended.stop_reason}")
    for warning in warnings:
        _print_warning(console, local_run.masked(warning))
        exit_code = EXIT_TASKS_FAILED
    if ended.limit_reached:
        return EXIT_WAITING
    return exit_code


def _print_interrupted(
    console: RunConsole,
    repo: Repository,
    settings: Settings,
    run: RunView,
    masked: Callable[[str], str],
) -> None:
    """Print the end of a run that was stopped before its end, as its events and the branch tell it.

    Nothing if it had not begun, or if a person has made the plan invalid meanwhile.
    """
    from runner.cli.report import print_end, print_time, print_usage, with_unlanded
    from runner.local.unlanded_work import waiting_sentence

    if run.start is None:
        return
    with suppress(FaninError):
        waiting, _ = unlanded_work(repo, settings)
        branch = waiting.branch if waiting else None
        snapshot = branch_snapshot(repo, settings, branch)
        views = with_unlanded(task_views(snapshot, settings), run)
        print_end(console, views, run, masked, own_branch=settings.own_branch)
        print_usage(console, run.usage)
        print_time(console, snapshot, run, settings)
        if waiting is not None:
            sentence = waiting_sentence(waiting, repo.current_branch())
            _print_warning(console, masked(sentence))


def _print_warning(console: RunConsole, text: str) -> None:
    console.print(text, style="yellow", markup=False, soft_wrap=True)


def _print_first_batch(repo: Repository, settings: Settings, named: NamedTasks) -> int:
    from runner.core.documents import clean
    from runner.core.task import Standing
    from runner.local.preparation import refuse_unfinished, uncommitted_notes
    from runner.local.preview import first_batch

    waiting, _ = unlanded_work(repo, settings)
    waiting_branch = waiting.branch if waiting else None
    branch, _ = branch_commit(repo, settings, waiting_branch)
    refuse_unfinished(repo, branch)
    snapshot = branch_snapshot(repo, settings, waiting_branch)
    choice = named.choice(snapshot, settings.max_attempts)
    batch = first_batch(repo, branch, snapshot, settings, choice, os.environ)
    for note in uncommitted_notes(repo, snapshot, settings, branch):
        click.echo(f"note: {clean(note)}")
    if batch is None:
        click.echo("no task is ready")
    else:
        standings = choice.standings(snapshot, settings.max_attempts)
        _print_batch(batch, [*standings.values()].count(Standing.OPEN))
    for sentence in choice.for_person(snapshot, settings.max_attempts).sentences:
        click.echo(clean(sentence))
    return EXIT_DONE


def _print_batch(batch: Manifest, open_tasks: int) -> None:
    from runner.core.documents import clean
    from runner.core.plurals import pluralize

    tasks = pluralize(len(batch.entries), "task")
    click.echo(
        f"the first batch has {tasks}, from {batch.branch} at {batch.base[:10]}:"
    )
    for entry in batch.entries:
        attempt = f" (attempt {entry.attempt})" if entry.attempt > 1 else ""
        task = entry.task
        click.echo(
            f"  {clean(task.id)}  {clean(task.title)}{attempt}  {entry.agent.name}"
        )
    if later := open_tasks - len(batch.entries):
        click.echo(f"{pluralize(later, 'task')} later")


COMMANDS = (run,)
