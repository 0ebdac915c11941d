"""The command `status`: the state of every task, now or as it changes."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, NamedTuple

import click

from runner.cli.context import (
    branch_snapshot,
    flaky_sentences,
    open_project,
    task_views,
    unlanded_work,
)
from runner.cli.options import settings_options
from runner.core.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_TASKS_FAILED,
    UsageProblem,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.color import ColorSystem

    from runner.cli.watch import WatchedTasks
    from runner.config.settings import FlagValue, Settings
    from runner.core.reports import DeliveryRow, RunRow
    from runner.local.delivered import Delivered
    from runner.local.event_reader import EventReader
    from runner.local.journal import Journal
    from runner.local.journal_state import WaitingWork
    from runner.local.run_history import PastRun, RunHistory
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView
    from runner.repo.repository import Repository
    from runner.ui.plan_json import TaskFacts

_WATCH_INTERVAL = 1.0  # seconds
_CLEAR = "\x1b[H\x1b[2J"
_MAX_JOBS = 12  # that fit on a screen together with the rest


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
        repo, settings = open_project(repo_path, flags)
        tasks = read_tasks(repo, settings)
        _print_json(repo, settings, tasks)
        views = tasks.views
    else:
        views = _print_status(repo_path, flags, every=every)
    if any(view.state in {"failed", "blocked"} for view in views):
        return EXIT_TASKS_FAILED
    return EXIT_DONE


class BranchNow(NamedTuple):
    """The tasks as a branch has them, without what runs are doing.

    `settings` name the branch if it is one of a run's own. The rest as in `TasksNow`.
    """

    settings: Settings
    snapshot: Snapshot
    views: list[TaskView]
    own_work: WaitingWork | None
    other_work: list[WaitingWork]
    delivered: Delivered | None


class TasksNow(NamedTuple):
    """The tasks as they stand, and the finished work that waits: for the branch that
    work lands on, and for others.
    """

    snapshot: Snapshot
    views: list[TaskView]
    journal: Journal
    own_work: WaitingWork | None
    other_work: list[WaitingWork]
    delivered: Delivered | None
    # The other branches that a run works for.
    busy_branches: list[str]


def read_tasks(repo: Repository, settings: Settings) -> TasksNow:
    """The tasks as they stand now, on the branch that has the work."""
    from runner.local.journal import Journal

    journal = Journal(repo.git_dir)
    # Before the branch: what lands in between is then completed, as it is.
    unfinished = unfinished_runs(journal, settings.plan.path)
    return with_runs(repo, read_branch(repo, settings), journal, unfinished)


def read_branch(repo: Repository, settings: Settings) -> BranchNow:
    """The tasks as the branch that has the work knows them."""
    delivered = _delivered(repo, settings)
    if delivered is not None and delivered.is_here:
        settings = settings.model_copy(update={"branch": delivered.branch})
    own_work, other_work = unlanded_work(repo, settings)
    snapshot = branch_snapshot(repo, settings, own_work.branch if own_work else None)
    views = task_views(snapshot, settings)
    return BranchNow(settings, snapshot, views, own_work, other_work, delivered)


class UnfinishedRuns(NamedTuple):
    """The runs that work on tasks or did not finish, each with what will finish it.

    `open_run` is the one that the journal has no end of.
    """

    open_run: str | None
    runs: list[tuple[PastRun, str]]


def with_runs(
    repo: Repository,
    branch_tasks: BranchNow,
    journal: Journal,
    unfinished: UnfinishedRuns,
) -> TasksNow:
    """The tasks of the branch with what these runs do to them."""
    branch = branch_tasks.settings.branch or repo.current_branch()
    plan, views = branch_tasks.settings.plan.path, branch_tasks.views
    for past, heir in unfinished.runs:
        from runner.local.live_state import with_run

        views = with_run(views, past, plan, branch, unfinished.open_run, heir)
    busy_branches = []
    for past, _ in unfinished.runs:
        start = past.view.start
        if past.is_active and start and branch and start.branch != branch:
            busy_branches.append(start.branch)
    return TasksNow(
        branch_tasks.snapshot,
        views,
        journal,
        branch_tasks.own_work,
        branch_tasks.other_work,
        branch_tasks.delivered,
        busy_branches,
    )


def _delivered(repo: Repository, settings: Settings) -> Delivered | None:
    """The work that waits in a pull request, if runs deliver by one."""
    if not settings.own_branch:
        return None
    from runner.local.delivered import delivered_work

    return delivered_work(repo, settings)


def unfinished_runs(
    journal: Journal, plan: str, reader: EventReader | None = None
) -> UnfinishedRuns:
    """The runs that have not finished now; `reader` as for `RunHistory`."""
    open_run = journal.state().run
    # Most of the time there is none, and no events need be read.
    if open_run is None and journal.holder() is None:
        return UnfinishedRuns(open_run, [])
    from runner.local.run_history import RunHistory

    history = RunHistory(journal, plan, reader)
    past = history.latest()
    if past is None:
        return UnfinishedRuns(open_run, [])
    runs = [(past, "the next fanin run")]
    earlier = None
    if open_run not in {None, past.run}:
        earlier = history.run(open_run or "")
    if earlier is not None:
        # The last run still finishes the work of that one.
        heir = "the run in progress" if past.is_active else "the next fanin run"
        runs.insert(0, (earlier, heir))
    return UnfinishedRuns(open_run, runs)


def _print_json(repo: Repository, settings: Settings, tasks: TasksNow) -> None:
    from runner.local.run_history import RunHistory
    from runner.ui import plan_json

    history = RunHistory(tasks.journal, settings.plan.path)
    report = plan_json.status_report(
        tasks.views,
        tasks.snapshot.graph,
        list(tasks.journal.requests.read().values()),
        _facts(repo, tasks, history),
        _run_row(history.latest()),
        _delivery_row(repo, tasks.delivered),
    )
    click.echo(report)


def _facts(
    repo: Repository, tasks: TasksNow, history: RunHistory
) -> dict[str, TaskFacts]:
    """Task id → what this machine knows of it beside the branch."""
    import time

    from runner.core.message_text import one_line
    from runner.local.github_pages import job_url
    from runner.local.kept_work import kept_work
    from runner.local.live_state import unrecorded_failure
    from runner.local.run_history import chosen_attempt
    from runner.ui.plan_json import TaskFacts

    kept_refs = {work.task: work.ref for work in kept_work(repo)}
    remote = repo.remote_url("origin")
    facts = {}
    for view in tasks.views:
        task_id, job = view.task.id, view.record.job
        attempts = history.all_attempts().get(task_id, [])
        chosen = chosen_attempt(attempts, None)
        log = history.log(chosen) if chosen else None
        failure = unrecorded_failure(view, attempts[-1]) if attempts else None
        is_at_work = chosen is not None and view.state == "in_progress"
        facts[task_id] = TaskFacts(
            failure=failure.kind if failure else None,
            elapsed=chosen.elapsed(time.time()) if chosen and is_at_work else None,
            log=str(log) if log is not None and log.exists() else None,
            kept=kept_refs.get(one_line(task_id)),
            job_url=job_url(remote, job) if job else None,
        )
    return facts


def _run_row(past: PastRun | None) -> RunRow | None:
    from runner.core.reports import RunRow

    if past is None:
        return None
    start = past.view.start
    return RunRow(
        run=past.run,
        active=past.is_active,
        started=start.time if start else None,
        plan=start.plan if start else None,
        branch=start.branch if start else None,
    )


def _delivery_row(repo: Repository, delivered: Delivered | None) -> DeliveryRow | None:
    from runner.core.reports import DeliveryRow
    from runner.local.delivered import with_pull

    if delivered is None:
        return None
    _, pull = with_pull(repo, delivered, os.environ)
    return DeliveryRow(
        branch=delivered.branch,
        base=delivered.base,
        pull_request=pull.url if pull else None,
        state=pull.state if pull else None,
    )


def _print_status(
    repo_path: str, flags: Mapping[str, FlagValue | None], *, every: bool
) -> list[TaskView]:
    from runner.core.documents import clean
    from runner.ui.status_table import status_lines

    repo, settings = open_project(repo_path, flags)
    tasks = read_tasks(repo, settings)
    width, colours = _terminal()
    for line in status_lines(tasks.views, width=width, every=every):
        click.echo(line.painted(colours), color=True)
    if tasks.delivered is not None:
        from runner.local.delivered import with_pull

        click.echo(clean(with_pull(repo, tasks.delivered, os.environ)[0]))
    for text in _notices(repo, settings, tasks):
        click.echo(text)
    return tasks.views


def _terminal() -> tuple[int | None, ColorSystem | None]:
    """The columns of standard output and its colours; None for a file."""
    from runner.ui.console import RunConsole

    console = RunConsole(environ=os.environ)
    return console.width if console.is_terminal else None, console.colours


def _notices(repo: Repository, settings: Settings, tasks: TasksNow) -> list[str]:
    """What there is to know beside the tasks: work that waits, jobs, requests, limits."""
    checked_out = repo.current_branch()
    waiting = []
    if tasks.own_work or tasks.other_work:
        from runner.local.unlanded_work import waiting_sentence

        works = [tasks.own_work] if tasks.own_work else []
        works += tasks.other_work
        waiting = [waiting_sentence(each, checked_out) for each in works]
    branch = settings.branch or checked_out
    if tasks.delivered is not None and tasks.delivered.is_here:
        branch = tasks.delivered.branch
    waiting += [_busy_sentence(name) for name in tasks.busy_branches]
    return [
        *waiting,
        *_doubts(tasks.journal),
        *_jobs(repo, tasks.views),
        *_requests(tasks.journal, branch),
        *_limits(tasks.journal),
        *flaky_sentences(repo),
    ]


def _busy_sentence(branch: str) -> str:
    from runner.core.documents import clean

    shown = f"fanin status --branch {shlex.quote(branch)}"
    return clean(f"a run is at work for {branch}; to see it:  {shown}")


def _doubts(journal: Journal) -> list[str]:
    """The commits that a person has to decide about before anything lands on them."""
    doubts = journal.state().doubts
    if not doubts:
        return []
    from runner.core.documents import clean
    from runner.local import doubt

    return [clean(str(doubt.question(each))) for each in doubts]


def _watch(
    repo_path: str, flags: Mapping[str, FlagValue | None], *, every: bool
) -> int:
    """Draw the table again and again in a terminal; else print a line for a change."""
    import time

    from runner.cli.watch import WatchedTasks

    watched = WatchedTasks(repo_path, flags)
    try:
        if not sys.stdout.isatty():
            return _print_changes(watched)
        while True:
            _draw(*watched.now(), every=every)
            time.sleep(_WATCH_INTERVAL)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _draw(
    repo: Repository, settings: Settings, tasks: TasksNow, *, every: bool
) -> None:
    """Draw what fits on the screen; with `every`, all of it."""
    from runner.local.delivered import where_it_is
    from runner.ui.console import RunConsole
    from runner.ui.shown_text import Line
    from runner.ui.status_table import status_lines, status_screen

    console = RunConsole(environ=os.environ)
    texts = [where_it_is(tasks.delivered)] if tasks.delivered else []
    texts += _notices(repo, settings, tasks)
    notices = [Line.of(text) for text in texts]
    if every:
        lines = status_lines(tasks.views, width=console.width)
    else:
        # the cursor has a row of its own
        room = console.height - len(notices) - 1
        lines = status_screen(tasks.views, console.width, room)
    painted = [line.painted(console.colours, console.width) for line in lines]
    painted += [line.painted(console.colours) for line in notices]
    # In one piece, once all is read: no moment without a table.
    click.echo(_CLEAR + "\n".join(painted), color=True)


def _print_changes(watched: WatchedTasks) -> int:
    import time
    from datetime import datetime

    from runner.core.message_text import visible

    before: dict[str, str] = {}
    while True:
        _, _, tasks = watched.now()
        for view in tasks.views:
            shown = f"{view.state}: {view.reason}" if view.reason else view.state
            shown = " ".join(visible(shown).split())
            if before.get(view.task.id) != shown:
                now = datetime.now().astimezone()
                click.echo(f"{now:%H:%M:%S} {visible(view.task.id)} {shown}")
                before[view.task.id] = shown
        sys.stdout.flush()
        time.sleep(_WATCH_INTERVAL)


def _jobs(repo: Repository, views: list[TaskView]) -> Iterator[str]:
    """Where attempts of unfinished tasks ran on GitHub, and what has their logs."""
    ran = [view for view in views if view.record.job and view.state != "completed"]
    if not ran:
        return
    from runner.core.message_text import visible
    from runner.local.github_pages import job_page

    remote = repo.remote_url("origin")
    for view in ran[:_MAX_JOBS]:
        line = (
            f"{view.task.id} ran on GitHub: {job_page(remote, view.record.job or '')}"
        )
        if view.record.artifact:
            line += f", artifact {view.record.artifact}"
        yield visible(line)
    if len(ran) > _MAX_JOBS:
        yield f"… {len(ran) - _MAX_JOBS} more ran there:  fanin status --json"


def _requests(journal: Journal, branch: str | None) -> Iterator[str]:
    """What people have asked for and no run has taken yet."""
    requests = journal.requests.read()
    if not requests:
        return
    from runner.core.documents import clean
    from runner.plan.requests import describe

    for request in requests.values():
        what = describe(request)
        if request.branch != branch:
            what += f" on {request.branch}"
        yield clean(f"asked for: {what}; done when a run next chooses tasks")


def _limits(journal: Journal) -> Iterator[str]:
    """Until when usage limits stop agents."""
    limits = journal.state().limits.limits
    if not limits:
        return
    from datetime import UTC, datetime

    from runner.core.clock import local_time
    from runner.core.documents import clean

    now = datetime.now(UTC)
    for agent, limit in limits.items():
        if now < limit.until:
            until = local_time(limit.until, now)
            yield (
                f"the usage limit of {clean(agent)} is reached: fanin run waits "
                f"until {until}"
            )


COMMANDS = (status,)
