"""The tasks that may run next, most urgent first, updated as tasks start and finish.

For a loop that starts a task whenever a slot is free. In a plan of thousands of tasks,
asking the whole graph each time would take longer than merging a result.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from heapq import merge

from runner.core.task import Standing, Task
from runner.plan.graph import TaskGraph
from runner.plan.progress import PastConflicts, Progress
from runner.plan.snapshot import Snapshot
from runner.schedule import selection
from runner.schedule.selection import MayStart, PastConflictsOf
from runner.schedule.task_choice import EVERY_TASK, TaskChoice

# The smallest rank is the most urgent.
Rank = Callable[[str], tuple[float, ...]]


class ReadyQueue:
    """The ready tasks of a run, carried from one snapshot to the next.

    Only those of `choice` are ever ready.
    """

    def __init__(self, max_attempts: int, choice: TaskChoice = EVERY_TASK) -> None:
        self._max_attempts, self._choice = max_attempts, choice
        self._graph: TaskGraph | None = None
        self._progress: Progress | None = None

    def sync(self, snapshot: Snapshot, running: Iterable[str]) -> None:
        """Continue from this snapshot, with the tasks `running` started already.

        The plan is only scanned if the snapshot is not the one that `mark_done` led to.
        """
        if snapshot.progress is self._progress and snapshot.graph is self._graph:
            return
        tasks = snapshot.graph.tasks
        heights = snapshot.graph.heights(snapshot.progress.expected_seconds)
        standings = self._choice.standings(snapshot, self._max_attempts)

        def rank(task_id: str) -> tuple[float, ...]:
            return selection.rank(tasks[task_id], heights)

        self._frontier = Frontier(snapshot.graph, standings, rank)
        self._tasks = tasks
        self._graph = snapshot.graph
        self._progress = snapshot.progress
        self._has_conflicts = any(
            record.conflict_paths for record in snapshot.progress.records.values()
        )
        for task_id in running:
            if task_id in tasks:
                self._frontier.mark_started(task_id)

    def copy(self) -> ReadyQueue:
        """Another queue in the same state, at a small part of the cost of `sync`."""
        other = copy(self)
        other._frontier = self._frontier.copy()
        return other

    def mark_started(self, task_id: str) -> None:
        """Take a task out of the queue because it now runs."""
        self._frontier.mark_started(task_id)

    def mark_done(self, task_id: str, progress: Progress) -> None:
        """Record that a task has run. `progress` may differ in this task only."""
        if task := self._tasks.get(task_id):
            standing = progress.standing(task, self._max_attempts)
            self._frontier.mark_done(task_id, standing)
        record = progress.records.get(task_id)
        if record is not None and record.conflict_paths:
            self._has_conflicts = True
        self._progress = progress

    @property
    def ready(self) -> int:
        """The number of ready tasks that do not run."""
        return len(self._frontier)

    @property
    def waiting(self) -> int:
        """The number of open tasks that do not run, ready or not."""
        return self._frontier.waiting

    def pick(
        self,
        slots: int,
        running: Sequence[Task],
        may_start: MayStart = selection.any_task,
    ) -> list[Task]:
        """At most `slots` ready tasks that may run beside each other and `running`."""
        ready = filter(may_start, self._as_tasks(self._frontier))
        return selection.take(ready, slots, running, self._past_conflicts)

    def pick_batch(
        self, slots: int, may_start: MayStart = selection.any_task
    ) -> list[Task]:
        """The next batch while nothing runs: at most `slots` tasks, in plan order."""
        picked = self.pick(slots, (), may_start)
        return sorted(picked, key=self._position)

    def pick_for_slot(
        self,
        slots: int,
        running: Sequence[Task],
        exited: Sequence[str] = (),
        may_start: MayStart = selection.any_task,
    ) -> list[Task]:
        """The task that starts now beside those `running`, as a list of one, or [].

        `exited` are the ids of those of them whose agent has exited and whose result is
        not merged yet: they use none of the `slots`.
        """
        free = slots - len(running) + len(exited)
        if free <= 0:
            return []
        if not exited:
            return self.pick(1, running, may_start)
        return self.pick_during_merge(exited, free, running, may_start)

    def pick_during_merge(
        self,
        merging: Sequence[str],
        slots: int,
        running: Sequence[Task],
        may_start: MayStart = selection.any_task,
    ) -> list[Task]:
        """The most urgent ready task as a list of one; [] to wait for the merge.

        A task that starts now holds its slot for a long time. So it must not take the
        slot of a more urgent task that becomes ready with this merge.
        """
        # A task may have been removed from the plan while it ran.
        merging = [task_id for task_id in merging if task_id in self._tasks]
        after_merge = self._frontier.ready_after(merging)
        candidates = filter(may_start, self._as_tasks(after_merge))
        selected = selection.take(candidates, slots, running, self._past_conflicts)
        for task in selected:
            if self._frontier.is_available(task.id):
                return [task]
        return []

    @property
    def _past_conflicts(self) -> PastConflictsOf:
        return self._conflicts_of if self._has_conflicts else selection.no_conflicts

    def _conflicts_of(self, task: Task) -> PastConflicts:
        assert self._progress is not None
        return self._progress.past_conflicts(task, self._max_attempts)

    def _position(self, task: Task) -> int:
        assert self._graph is not None
        return self._graph.position(task.id)

    def _as_tasks(self, task_ids: Iterable[str]) -> Iterator[Task]:
        return (self._tasks[task_id] for task_id in task_ids)


class Frontier:
    """The ready tasks of a graph in order. An update costs only a task's dependents."""

    def __init__(
        self, graph: TaskGraph, states: Mapping[str, Standing], rank: Rank
    ) -> None:
        self._graph = graph
        self._states = dict(states)
        self._running: set[str] = set()
        # The least urgent first: the most urgent task is the last of a sorted list, where
        # taking it out is cheap. Numbers, since comparing ranks takes longer than all else.
        # Of equal ranks, the first in the plan is more urgent.
        self._by_urgency = sorted(graph.tasks, key=rank)[::-1]
        self._urgency = {each: place for place, each in enumerate(self._by_urgency)}
        # How many dependencies of each task are not completed.
        self._unmet = graph.unmet(states)
        available = list(filter(self.is_available, graph.tasks))
        self._ready: list[int] = sorted(map(self._urgency.__getitem__, available))
        self._listed = set(available)
        self._open = sum(state is Standing.OPEN for state in self._states.values())

    def copy(self) -> Frontier:
        """Another one in the same state."""
        other = copy(self)
        other._states = dict(self._states)
        other._running = set(self._running)
        other._unmet = dict(self._unmet)
        other._ready = list(self._ready)
        other._listed = set(self._listed)
        return other

    def __len__(self) -> int:
        return len(self._ready)

    def __iter__(self) -> Iterator[str]:
        """Ids of the ready tasks that do not run, most urgent first."""
        return map(self._by_urgency.__getitem__, reversed(self._ready))

    @property
    def waiting(self) -> int:
        """The number of open tasks that do not run."""
        running = sum(
            self._states[task_id] is Standing.OPEN for task_id in self._running
        )
        return self._open - running

    def ready_after(self, task_ids: Iterable[str]) -> Iterator[str]:
        """The tasks that would be ready with these completed, most urgent first."""
        newly_met: dict[str, int] = {}
        for task_id in task_ids:
            if self._states[task_id] is not Standing.COMPLETED:
                for dependent in self._graph.dependents(task_id):
                    newly_met[dependent] = newly_met.get(dependent, 0) + 1
        unlocked = []
        for task_id, count in newly_met.items():
            if self._unmet[task_id] == count and self._may_run(task_id):
                unlocked.append(self._urgency[task_id])
        if not unlocked:
            return iter(self)
        unlocked.sort(reverse=True)
        merged = merge(reversed(self._ready), unlocked, reverse=True)
        return map(self._by_urgency.__getitem__, merged)

    def mark_started(self, task_id: str) -> None:
        """Leave the task out until `mark_done`."""
        self._running.add(task_id)
        self._update(task_id)

    def mark_done(self, task_id: str, standing: Standing) -> list[str]:
        """Set the state of a task that has run.

        Returns the ids that became ready by it, in plan order.
        """
        before = self._states[task_id]
        self._states[task_id] = standing
        self._running.discard(task_id)
        self._open += (standing is Standing.OPEN) - (before is Standing.OPEN)
        affected = [task_id]
        # A completed task may also become open again, e.g. after a retry.
        change = (before is Standing.COMPLETED) - (standing is Standing.COMPLETED)
        if change:
            for dependent in self._graph.dependents(task_id):
                unmet = self._unmet[dependent]
                self._unmet[dependent] = unmet + change
                # Others still wait, as they did before.
                if not unmet or not unmet + change:
                    affected.append(dependent)
        became_ready = [
            changed_id for changed_id in affected if self._update(changed_id)
        ]
        return sorted(became_ready, key=self._graph.position)

    def is_available(self, task_id: str) -> bool:
        """Whether the task is ready and does not run."""
        return not self._unmet[task_id] and self._may_run(task_id)

    def _may_run(self, task_id: str) -> bool:
        """Whether the task itself may start, whatever its dependencies."""
        return self._states[task_id] is Standing.OPEN and task_id not in self._running

    def _update(self, task_id: str) -> bool:
        """Add or remove the task as its state demands. Returns whether it was added."""
        available = self.is_available(task_id)
        # Most updates change nothing, and a search takes longer than all else here.
        if available is (task_id in self._listed):
            return False
        urgency = self._urgency[task_id]
        index = bisect_left(self._ready, urgency)
        if available:
            self._listed.add(task_id)
            self._ready.insert(index, urgency)
        else:
            self._listed.remove(task_id)
            del self._ready[index]
        return available
