"""What of a plan may run next, the most urgent first, kept up to date as tasks begin
and end one by one.

For a loop that starts a task whenever a slot is free: looking through a plan of
thousands of tasks each time would take longer than many a merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.core.task import Task
from runner.plan.progress import Progress
from runner.plan.snapshot import Snapshot
from runner.schedule import selection


class ReadyQueue:
    """The ready tasks of a run that goes on from one snapshot to the next."""

    def __init__(self, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self._graph: object = None
        self._progress: Progress | None = None

    def sync(self, snapshot: Snapshot, running: Iterable[str]) -> None:
        """Go on from this snapshot. Looks through the plan only if the snapshot is not
        where `settle` has led.
        """
        if snapshot.progress is self._progress and snapshot.graph is self._graph:
            return
        tasks = snapshot.graph.tasks
        heights = snapshot.graph.heights(snapshot.progress.expected_seconds)
        standings = snapshot.progress.standings(snapshot.plan, self._max_attempts)
        self._frontier = snapshot.graph.frontier(
            standings, lambda task_id: selection.rank(tasks[task_id], heights)
        )
        self._tasks, self._graph, self._progress = (
            tasks,
            snapshot.graph,
            snapshot.progress,
        )
        for task_id in running:
            if task_id in tasks:
                self._frontier.begin(task_id)

    def mark_started(self, task_id: str) -> None:
        """The task runs from now on."""
        self._frontier.begin(task_id)

    def mark_done(self, task_id: str, progress: Progress) -> None:
        """The task has run, and stands as this progress says, which says nothing new of
        any other that did not run.
        """
        if task := self._tasks.get(task_id):
            self._frontier.settle(task_id, progress.standing(task, self._max_attempts))
        self._progress = progress

    @property
    def ready(self) -> int:
        """How many tasks are ready and do not run."""
        return len(self._frontier)

    def pick(self, slots: int, running: Sequence[Task]) -> list[Task]:
        """At most `slots` ready tasks, no two that overlap each other or a running one."""
        return selection.take(
            (self._tasks[task_id] for task_id in self._frontier), slots, running
        )

    def pick_during_merge(
        self, ending: Sequence[str], slots: int, running: Sequence[Task]
    ) -> list[Task]:
        """The most urgent ready task, if it has a place among the `slots` although
        tasks are `ending`.

        What starts now holds its slot for long: none is taken from a more urgent task
        whose dependency has run and is being merged.
        """
        # a person may have taken one out of the plan
        known = [task_id for task_id in ending if task_id in self._tasks]
        hoped = selection.take(
            (self._tasks[task_id] for task_id in self._frontier.after(known)),
            slots,
            running,
        )
        return [task for task in hoped if self._frontier.offers(task.id)][:1]

    @property
    def waiting(self) -> int:
        """How many tasks may still run, ready or not, beside those that run now."""
        return self._frontier.waiting
