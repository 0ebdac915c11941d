"""The command `status`: the state of every task, now or as it changes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import click

from runner.cli.context import (
    branch_snapshot,
    open_project,
    task_views,
    unlanded_work,
    waiting_message,
)
from runner.cli.options import settings_options
from runner.core.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_TASKS_FAILED,
    UsageProblem,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.config.settings import FlagValue, Settings
    from runner.local.journal import Journal, WaitingWork
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView
    from runner.repo.repository import Repository

_WATCH_INTERVAL = 1.0  # seconds
_CLEAR = "\x1b[H\x1b[2J"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for tools.")
@click.option("--all", "every", is_flag=True, help="List completed tasks as well.")
@click.option(
    "--watch", is_flag=True, help="Go on and show what changes (Ctrl-C stops)."
)
@settings_options("status")
@click.pass_obj
def status(
    repo_path: str,
    /,
    as_json: bool,
    every: bool,
    watch: bool,
    **flags: FlagValue | None,
) -> int:
    """Show the state of every task.

    Reads the branch, and the run that is in progress if there is one.
    """
    if watch and as_json:
        raise UsageProblem(
            "--watch and --json exclude each other",
            "fanin run --json  prints the events of a run",
        )
    if watch:
        return _watch(repo_path, flags, every=every)
    if as_json:
        now = read_tasks(*open_project(repo_path, flags))
        _print_json(now)
        views = now.views
    else:
        views = _print_status(repo_path, flags, every=every)
    if any(view.state in {"failed", "blocked"} for view in views):
        return EXIT_TASKS_FAILED
    return EXIT_DONE


class TasksNow(NamedTuple):
    """The tasks as they stand, and the finished work that waits: for the branch that
    work lands on, and for others.
    """

    snapshot: Snapshot
    views: list[TaskView]
    journal: Journal
    own_work: WaitingWork | None
    other_work: list[WaitingWork]


def read_tasks(repo: Repository, settings: Settings) -> TasksNow:
    """The tasks as they stand now."""
    from runner.local.journal import Journal
    from runner.local.live_state import with_run
    from runner.local.run_history import RunHistory

    journal = Journal(repo.git_dir)
    # Before the branch: what lands in between is then completed, as it is.
    plan = settings.plan.path
    past, open_run = RunHistory(journal, plan).latest(), journal.state().run
    own_work, other_work = unlanded_work(repo, settings)
    snapshot = branch_snapshot(repo, settings, own_work.branch if own_work else None)
    views = with_run(task_views(snapshot, settings), past, plan, open_run)
    return TasksNow(snapshot, views, journal, own_work, other_work)


def _print_json(now: TasksNow) -> None:
    from runner.ui import plan_json

    requests = [
        request.model_dump(mode="json", exclude={"version", "plan", "progress"})
        for request in now.journal.requests.read().values()
    ]
    click.echo(plan_json.status_report(now.views, now.snapshot.graph, requests))


def _print_status(
    repo_path: str, flags: Mapping[str, FlagValue | None], *, every: bool
) -> list[TaskView]:
    from runner.ui.terminal import RunConsole, print_views

    repo, settings = open_project(repo_path, flags)
    now = read_tasks(repo, settings)
    print_views(RunConsole(), now.views, every=every)
    if now.own_work:
        click.echo(waiting_message(now.own_work.branch))
    for work in now.other_work:
        click.echo(waiting_message(work.branch, work.target))
    _print_requests(now.journal, settings.branch or repo.current_branch())
    _print_limits(now.journal)
    return now.views


def _watch(
    repo_path: str, flags: Mapping[str, FlagValue | None], *, every: bool
) -> int:
    """Draw the table again and again in a terminal; else print a line for a change."""
    import time

    try:
        if not sys.stdout.isatty():
            return _print_changes(repo_path, flags)
        while True:
            click.echo(_CLEAR, nl=False)
            _print_status(repo_path, flags, every=every)
            time.sleep(_WATCH_INTERVAL)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _print_changes(repo_path: str, flags: Mapping[str, FlagValue | None]) -> int:
    import time
    from datetime import datetime

    from runner.core.message_text import visible

    before: dict[str, str] = {}
    while True:
        views = read_tasks(*open_project(repo_path, flags)).views
        for view in views:
            shown = f"{view.state}: {view.reason}" if view.reason else view.state
            shown = " ".join(visible(shown).split())
            if before.get(view.task.id) != shown:
                now = datetime.now().astimezone()
                click.echo(f"{now:%H:%M:%S} {visible(view.task.id)} {shown}")
                before[view.task.id] = shown
        sys.stdout.flush()
        time.sleep(_WATCH_INTERVAL)


def _print_requests(journal: Journal, branch: str | None) -> None:
    """Print what persons asked for and no run has taken yet."""
    from runner.core.documents import clean
    from runner.plan.requests import describe

    for request in journal.requests.read().values():
        what = describe(request)
        if request.branch != branch:
            what += f" on {request.branch}"
        click.echo(clean(f"asked for: {what}; done when a run next chooses tasks"))


def _print_limits(journal: Journal) -> None:
    """Print until when usage limits stop agents."""
    from datetime import UTC, datetime

    from runner.core.clock import local_time
    from runner.core.documents import clean

    now = datetime.now(UTC)
    for agent, limit in journal.state().limits.limits.items():
        if now < limit.until:
            until = local_time(limit.until, now)
            click.echo(
                f"the usage limit of {clean(agent)} is reached: fanin run waits "
                f"until {until}"
            )


COMMANDS = (status,)
