"""The choice among ready tasks by a scan of all of them: what the ready queue must give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.core.task import Task
from runner.schedule import selection


def choose(
    ready: Sequence[Task],
    slots: int,
    heights: Mapping[str, float],
    running: Sequence[Task] = (),
) -> list[Task]:
    """The most urgent of the tasks that may run beside each other and `running`, in
    plan order.
    """
    position = {task.id: index for index, task in enumerate(ready)}

    def urgency(task: Task) -> tuple[float, float, int]:
        return *selection.rank(task, heights), position[task.id]

    chosen = selection.take(sorted(ready, key=urgency), slots, running)
    return sorted(chosen, key=lambda task: position[task.id])
