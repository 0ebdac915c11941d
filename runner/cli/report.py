"""The text at the end of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runner.core.errors import EXIT_DONE, EXIT_TASKS_FAILED
from runner.core.fanin_commands import typed

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.core.events import UsageReport
    from runner.core.run_view import RunView
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView
    from runner.schedule.budget import UsageTotal
    from runner.ui.console import RunConsole

_UNFINISHED = {"failed", "blocked", "held"}
# Of more tasks in one of these states for the same reason there is a single line.
_FOLDED = {"blocked", "finished"}
_MAX_LINES = 3
_MAX_IDS = 12
_KEPT = "its work is kept, and the next fanin run lands it"
# A reason as it is told of several tasks.
_REASON_OF_MANY = {_KEPT: "their work is kept, and the next fanin run lands it"}
# The states of tasks that may still run.
_OPEN = frozenset({"ready", "gated", "asking", "pending"})
_COLOURS = dict.fromkeys(("finished", *_OPEN), "yellow")


def print_end(
    console: RunConsole,
    views: Sequence[TaskView],
    run: RunView,
    masked: Callable[[str], str] = str,
    *,
    own_branch: bool = False,
) -> int:
    """Print what did not complete and why, and the tally; return the run's exit code.

    `masked` hides the secrets in a text: unlike events, the views may hold some.
    `own_branch`: work lands on a branch that no person has checked out.
    """
    from runner.ui.run_summary import failure_details
    from runner.ui.status_table import tally

    folded = _folded(views)
    printed = set()
    for view in views:
        key = view.state, view.reason
        ids = folded.get(key)
        if ids:
            if key not in printed:
                reason = _REASON_OF_MANY.get(view.reason, view.reason)
                line = masked(f"{len(ids)} tasks {view.state}: {reason}: {_some(ids)}")
                colour = _COLOURS.get(view.state, "red")
                console.print(line, style=colour, markup=False)
            printed.add(key)
            continue
        if not _is_told(view, run):
            continue
        # The view has no failure that does not count.
        reason = view.reason or _failure_line(view, run)
        end = f": {reason}" if reason else ""
        line = masked(f"{view.task.id} {view.state}{end}")
        console.print(line, style=_COLOURS.get(view.state, "red"), markup=False)
        details = failure_details(run, view.task.id, own_branch=own_branch)
        for detail in details:
            console.print(detail.plain, markup=False, soft_wrap=True)
        if view.state == "failed" and not details:
            # In an earlier run.
            command = typed("show", [view.task.id])
            console.print(
                f"    to look at it:  {command}", markup=False, soft_wrap=True
            )
    print_outside_changes(console, run, masked)
    console.print(tally(views))
    if any(view.state == "failed" for view in views):
        advice = "to try the failed tasks again:  fanin retry --failed && fanin run"
        console.print(advice, markup=False)
    return exit_code_of(views)


def print_outside_changes(
    console: RunConsole, run: RunView, masked: Callable[[str], str]
) -> None:
    """Print what somebody else has changed in the repository during the run."""
    from runner.ui.run_lines import outside_text

    for event in run.outside:
        text = masked(outside_text(event))
        console.print(text, style="yellow", markup=False, soft_wrap=True)


def _folded(views: Sequence[TaskView]) -> dict[tuple[str, str], list[str]]:
    """State and reason → the ids of tasks, where more than a few have the same."""
    found: dict[tuple[str, str], list[str]] = {}
    for view in views:
        if view.state in _FOLDED:
            found.setdefault((view.state, view.reason), []).append(view.task.id)
    return {key: ids for key, ids in found.items() if len(ids) > _MAX_LINES}


def _some(ids: Sequence[str]) -> str:
    from runner.core.plurals import some_of

    return some_of(ids[:_MAX_IDS], len(ids))


def _is_told(view: TaskView, run: RunView) -> bool:
    """Whether the end has a line for the task: it did not complete, or it waits for an
    answer, for another attempt because one failed in this run, or for the next run.
    """
    from runner.core.run_view import AttemptState

    if view.state in {*_UNFINISHED, "finished", "asking"}:
        return True
    task = run.tasks.get(view.task.id)
    has_failed = task is not None and task.state is AttemptState.FAILED
    return has_failed and view.state in _OPEN


def with_unlanded(views: Sequence[TaskView], run: RunView) -> list[TaskView]:
    """The views of the tasks that an interrupted run was about; those whose work it has
    left for the next run are `finished`.
    """
    from runner.core.run_view import AttemptState

    unlanded = run.in_state(
        AttemptState.FINISHED, AttemptState.VERIFYING, AttemptState.MERGED
    )
    ids = {task.task for task in unlanded}
    found = []
    for view in views:
        planned = run.planned.get(view.task.id)
        if planned is not None and not planned.chosen:
            continue
        if view.task.id in ids and view.state in _OPEN:
            view = view._replace(state="finished", reason=_KEPT)
        elif view.state in {"ready", "pending"}:
            # The record may be of the attempt before.
            reason = _last_failure(view, run) or view.reason
            view = view._replace(reason=reason)
        found.append(view)
    return found


def _last_failure(view: TaskView, run: RunView) -> str:
    """Why the last attempt failed, which the branch may not record yet; "" if it did not,
    or not so that it counts.
    """
    task = run.tasks.get(view.task.id)
    attempt = task.last if task else None
    if attempt is None or attempt.failure is None or not attempt.failure.counted:
        return ""
    first = _failure_line(view, run)
    return f"attempt {attempt.attempt} {attempt.failure.verb}: {first}"


def _failure_line(view: TaskView, run: RunView) -> str:
    """The first line of the last attempt's failure; "" if it has none."""
    from runner.ui.shown_text import lines_of

    task = run.tasks.get(view.task.id)
    attempt = task.last if task else None
    if attempt is None or attempt.failure is None:
        return ""
    return (lines_of(attempt.failure.message) or [attempt.failure.kind.value])[0]


def print_usage(console: RunConsole, usage: UsageTotal | UsageReport) -> None:
    """Print what the attempts of a run reported, if there were any."""
    from runner.schedule.budget import UsageTotal

    if usage.attempts:
        total = UsageTotal(
            usage.attempts, usage.cost_usd, usage.tokens, usage.without_cost
        )
        console.print(total.describe(), markup=False)


def print_time(
    console: RunConsole, snapshot: Snapshot, run: RunView, settings: Settings
) -> None:
    """Print how long the run took, and how long it would have taken otherwise."""
    from runner.ui.run_summary import pooled_gain, seconds_of_task, time_line

    heights = snapshot.graph.heights(lambda task: seconds_of_task(run, task.id))
    chain = max(heights.values(), default=0.0)
    if line := time_line(run, chain, time.time()):
        console.print(line, markup=False)
    gains = [_rolling_gain(snapshot, run)]
    if settings.setup and settings.workspace == "fresh":
        gains.append(pooled_gain(run))
    for gain in filter(None, gains):
        console.print(gain, markup=False)


def _rolling_gain(snapshot: Snapshot, run: RunView) -> str | None:
    """What `schedule: rolling` would have saved; None for a run that is rolling."""
    from runner.core.run_view import AttemptState
    from runner.schedule.rolling_gain import PastAttempt, rolling_gain

    if run.start is None or run.start.schedule != "batch":
        return None
    past = []
    for task in run.tasks.values():
        for each in task.attempts:
            if each.seconds:
                landed = each.state is AttemptState.LANDED
                past.append(PastAttempt(each.task, each.seconds, landed))
    return rolling_gain(snapshot, past, max(1, run.start.max_concurrent))


def exit_code_of(views: Sequence[TaskView]) -> int:
    """The exit code of a run that left its tasks in these states."""
    if any(view.state in _UNFINISHED for view in views):
        return EXIT_TASKS_FAILED
    return EXIT_DONE


def print_waves(console: RunConsole, snapshot: Snapshot) -> None:
    """Print the graph, one line for all tasks that could run at the same time."""
    for wave in snapshot.graph.waves():
        tasks = []
        for task_id in wave:
            needs = snapshot.graph.dependencies(task_id)
            tasks.append(f"{task_id} ← {', '.join(needs)}" if needs else task_id)
        console.print(f"  {'   '.join(tasks)}", markup=False)
