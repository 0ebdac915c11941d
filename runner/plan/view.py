"""The state of each task as users see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from runner.core.fanin_commands import typed
from runner.core.task import Plan, Standing, Status, Task
from runner.plan.progress import Progress
from runner.plan.records import Record

if TYPE_CHECKING:  # a leg of the matrix uses this module without networkx
    from runner.core.reports import Phase
    from runner.plan.graph import Blockers, TaskGraph

_REMAINING = {"ready", "gated", "asking", "pending", "in_progress"}
_MAX_QUESTION = 300  # characters in a reason


class TaskView(NamedTuple):
    """A task with its state, and the reason if it cannot run or runs again.

    `state` is one of completed, failed, in_progress, ready, gated, asking, pending,
    blocked, skipped and held. A gated task waits for a person's approval and nothing else,
    an asking one for the answer to its agent's question. While a
    run goes on, and after one was killed, it may be finished or interrupted as well, and
    `phase` says what is being done for the task.
    """

    task: Task
    state: str
    record: Record
    reason: str
    phase: Phase | None = None


def views(
    plan: Plan,
    graph: TaskGraph,
    progress: Progress,
    max_attempts: int,
    running: Sequence[str] = (),
) -> list[TaskView]:
    """The view of every task, in plan order. `running` are the ids that run now."""
    standings = progress.standings(plan, max_attempts)
    # Tasks that wait for no other one → their state.
    reached = dict.fromkeys(graph.ready(standings), "ready")
    for standing in (Standing.GATED, Standing.ASKING):
        reached |= dict.fromkeys(graph.ready(standings, standing), standing.value)
    blocked = graph.blocked(standings)
    task_views = []
    for task in plan.tasks:
        record = progress.record(task)
        state, reason = _state(task, record, standings[task.id], reached, blocked)
        if progress.has_changed_since(task):
            reason = "changed in the plan since"
        if task.id in running:
            state = "in_progress"
        task_views.append(TaskView(task, state, record, reason))
    return task_views


def _state(
    task: Task,
    record: Record,
    standing: Standing,
    reached: Mapping[str, str],
    blocked: Mapping[str, Blockers],
) -> tuple[str, str]:
    """The state of the task and its reason."""
    if record.status is Status.COMPLETED:
        return "completed", _how_completed(record)
    if record.skipped:
        return "skipped", task.skip_reason if task.skipped else ""
    if record.held:
        return "held", f"its work waits on {record.held}"
    if task.blocker:
        return "blocked", f"by {task.blocker}"
    if standing is Standing.STUCK:
        return "failed", _first_line(record)
    if task.id in blocked:
        return "blocked", f"by {blocked[task.id]}"
    state = reached.get(task.id, "pending")
    return state, "; ".join(_reasons(task, record, standing, state))


def _how_completed(record: Record) -> str:
    """What a person has answered for where nothing else has."""
    if record.skipped:
        return "skipped as satisfied"
    if record.accepted == "unverified":
        return "accepted by a person, not verified"
    return ""


def _reasons(task: Task, record: Record, standing: Standing, state: str) -> list[str]:
    """Why a task that may run does not run yet, or runs again."""
    reasons = []
    if standing is Standing.GATED:
        command = typed("approve", [task.id])
        waits = f"waits for approval: {command}"
        reasons.append(waits if state == "gated" else "then waits for approval")
    if record.open_question is not None:
        question = " ".join(record.open_question.text.split())
        if len(question) > _MAX_QUESTION:
            question = question[: _MAX_QUESTION - 1] + "…"
        asks = f"“{question}”"
        reasons.append(asks if state == "asking" else f"asks {asks}")
    if record.status is Status.FAILED:
        reasons.append(f"attempt {record.attempts} failed: {_first_line(record)}")
    return reasons


def _first_line(record: Record) -> str:
    """The first line of the record's error, or nothing."""
    lines = record.error.message.splitlines() if record.error else []
    return lines[0] if lines else ""


def counts(task_views: Sequence[TaskView]) -> dict[str, int]:
    """State → number of tasks, in order of appearance, without states that no task has."""
    tally: dict[str, int] = {}
    for view in task_views:
        tally[view.state] = tally.get(view.state, 0) + 1
    return tally


def batches(task_views: Sequence[TaskView], graph: TaskGraph) -> list[tuple[str, ...]]:
    """The batches that the graph still allows if there were no limit on their size.

    Tasks that are done or can no longer run are left out.
    """
    remaining = [view.task.id for view in task_views if view.state in _REMAINING]
    return graph.waves(remaining)
