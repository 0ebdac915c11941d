"""Snapshots for the ready queue."""

from __future__ import annotations

from runner.core.task import Standing, Status, Task
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.snapshot import Snapshot
from tests.support.builders import plan

LIMIT = 2


OPEN, DONE, STUCK = Standing.OPEN, Standing.COMPLETED, Standing.STUCK


def snapshot(*tasks: Task, progress: Progress | None = None) -> Snapshot:
    native = plan(*tasks)
    return Snapshot(
        "0" * 40,
        native,
        TaskGraph(native.tasks, native.path),
        progress or Progress(native.path),
    )


def recorded(progress: Progress, task_id: str, status: Status) -> Progress:
    attempts = progress.records.get(task_id, Record()).attempts + 1
    return progress.with_records({task_id: Record(status=status, attempts=attempts)})
