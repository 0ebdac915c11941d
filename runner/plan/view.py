"""How each task of a plan stands, as people see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.core.task import Plan, Standing, Status, Task
from runner.plan.progress import Progress, Record

if TYPE_CHECKING:  # a matrix leg tells of its task without networkx being installed
    from runner.plan.graph import TaskGraph


@dataclass(frozen=True)
class TaskView:
    """One task as people see it: `state` adds ready, blocked, skipped and held to the
    four stored ones.
    """

    task: Task
    state: str
    record: Record
    reason: str


def views(
    plan: Plan,
    graph: TaskGraph,
    progress: Progress,
    max_attempts: int,
    running: Sequence[str] = (),
) -> list[TaskView]:
    """How every task of the plan stands now, in plan order, each with the reason if it
    cannot run.
    """
    standings = progress.standings(plan, max_attempts)
    ready, blocked = set(graph.ready(standings)), graph.blocked(standings)
    found = []
    for task in plan.tasks:
        record = progress.record(task)
        state, reason = _state(task, record, standings[task.id], ready, blocked)
        found.append(
            TaskView(
                task, "in_progress" if task.id in running else state, record, reason
            )
        )
    return found


def _state(
    task: Task,
    record: Record,
    standing: Standing,
    ready: set[str],
    blocked: Mapping[str, Sequence[str]],
) -> tuple[str, str]:
    error = next(iter(record.error.message.splitlines()), "") if record.error else ""
    if record.status is Status.COMPLETED:
        return "completed", "skipped as satisfied" if record.skipped else ""
    if record.skipped or record.held:
        return (
            ("skipped", "")
            if record.skipped
            else ("held", f"its work waits on {record.held}")
        )
    if standing is Standing.STUCK:
        return "failed", error
    if task.id in blocked:
        return "blocked", f"by {', '.join(blocked[task.id])}"
    again = (
        f"attempt {record.attempts} failed: {error}"
        if record.status is Status.FAILED
        else ""
    )
    return ("ready" if task.id in ready else "pending"), again


def counts(found: Sequence[TaskView]) -> dict[str, int]:
    """How many tasks are in each state, the states that occur only."""
    tally: dict[str, int] = {}
    for view in found:
        tally[view.state] = tally.get(view.state, 0) + 1
    return tally


def batches(found: Sequence[TaskView], graph: TaskGraph) -> list[tuple[str, ...]]:
    """What the graph would still allow, batch after batch, with no cap: done, stuck and
    blocked tasks left out.
    """
    return graph.waves(
        [
            view.task.id
            for view in found
            if view.state in {"ready", "pending", "in_progress"}
        ]
    )
