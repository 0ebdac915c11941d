"""The tasks that may run next, most urgent first, updated as tasks start and finish.

For a loop that starts a task whenever a slot is free. In a plan of thousands of tasks,
asking the whole graph each time would take longer than merging a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from heapq import merge
from itertools import islice

from runner.core.task import Standing, Status, Task
from runner.plan.graph import TaskGraph
from runner.plan.progress import PastConflicts, Progress
from runner.plan.snapshot import Snapshot
from runner.schedule import selection
from runner.schedule.selection import MayStart, PastConflictsOf
from runner.schedule.sorted_numbers import SortedNumbers
from runner.schedule.task_choice import EVERY_TASK, TaskChoice

# Of more tasks than these, a scan of the plan takes no longer.
_MAX_CHANGED = 200

# The smallest rank is the most urgent.
Rank = Callable[[str], tuple[float, ...]]


class ReadyQueue:
    """The ready tasks of a run, carried from one snapshot to the next.

    Only those of `choice` are ever ready.
    """

    def __init__(self, max_attempts: int, choice: TaskChoice = EVERY_TASK) -> None:
        self._max_attempts, self._choice = max_attempts, choice
        self._frontier: Frontier
        self._graph: TaskGraph | None = None
        self._progress: Progress | None = None

    def sync(self, snapshot: Snapshot, running: Iterable[str]) -> None:
        """Continue from this snapshot, with the tasks `running` started already.

        The plan is only scanned if more than the records of a few tasks has changed.
        """
        if snapshot.progress is self._progress and snapshot.graph is self._graph:
            return
        changed = self._changed_since(snapshot)
        if changed is not None:
            for task_id in changed:
                self.mark_done(task_id, snapshot.progress)
            for task_id in changed & set(running):
                self._frontier.mark_started(task_id)
            self._progress = snapshot.progress
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

    def _changed_since(self, snapshot: Snapshot) -> set[str] | None:
        """The tasks whose records are others now; None if the plan must be scanned."""
        before, after = self._progress, snapshot.progress
        if before is None or snapshot.graph is not self._graph:
            return None
        if after.reopened != before.reopened or self._choice != EVERY_TASK:
            return None
        if not before.records.keys() <= after.records.keys():
            return None
        changed = set(after.changed_since(before))
        if len(changed) > _MAX_CHANGED:
            return None
        for task_id in changed & self._tasks.keys():
            # How long a task takes that is still to run decides what is most urgent.
            task = self._tasks[task_id]
            is_known = after.expected_seconds(task) == before.expected_seconds(task)
            if not is_known and after.record(task).status is not Status.COMPLETED:
                return None
        return changed

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

    def mark_completed(self, task_id: str) -> None:
        """The same for a task whose work landed, where nobody reads its record."""
        self._frontier.mark_done(task_id, Standing.COMPLETED)

    @property
    def ready(self) -> int:
        """The number of ready tasks that do not run."""
        return len(self._frontier)

    def ready_after(self, running: Iterable[str], most: int) -> int:
        """How many tasks could start if these had completed, counted up to `most`."""
        ids = [task_id for task_id in running if task_id in self._tasks]
        return sum(1 for _ in islice(self._frontier.ready_after(ids), most))

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
        ready = self._that_may_start(self._frontier, may_start)
        return selection.take(ready, slots, running, self._past_conflicts)

    def pick_batch(
        self, slots: int, may_start: MayStart = selection.any_task
    ) -> list[Task]:
        """The next batch while nothing runs: at most `slots` tasks, in plan order."""
        picked = self.pick(slots, (), may_start)
        if len(picked) > 1:
            picked.sort(key=self._position)
        return picked

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
        candidates = self._that_may_start(after_merge, may_start)
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

    def _that_may_start(
        self, task_ids: Iterable[str], may_start: MayStart
    ) -> Iterator[Task]:
        tasks = map(self._tasks.__getitem__, task_ids)
        return tasks if may_start is selection.any_task else filter(may_start, tasks)


class Frontier:
    """The ready tasks of a graph in order. An update costs only a task's dependents.

    Inside, a task is a number: its position in the order of urgency, from the least urgent.
    Comparing ranks, and looking up ids, would take longer than all else.
    """

    def __init__(
        self, graph: TaskGraph, states: Mapping[str, Standing], rank: Rank
    ) -> None:
        self._graph = graph
        # Of equal ranks, the first in the plan is more urgent.
        self._ids = sorted(graph.tasks, key=rank)[::-1]
        self._positions = {
            task_id: position for position, task_id in enumerate(self._ids)
        }
        # Shared by all copies; None until somebody asks.
        self._dependents: list[tuple[int, ...] | None] = [None] * len(self._ids)
        self._states = [states[task_id] for task_id in self._ids]
        # How many dependencies of each task are not completed.
        unmet = graph.unmet(states)
        self._unmet = [unmet[task_id] for task_id in self._ids]
        self._running: set[int] = set()
        # 1 for a task that may start as far as it is concerned: open and not running.
        self._startable = bytearray(state is Standing.OPEN for state in self._states)
        self._ready = SortedNumbers(
            position
            for position in range(len(self._ids))
            if self._is_available(position)
        )

    def copy(self) -> Frontier:
        """Another one in the same state."""
        other = copy(self)
        other._states = list(self._states)
        other._unmet = list(self._unmet)
        other._running = set(self._running)
        other._startable = bytearray(self._startable)
        other._ready = self._ready.copy()
        return other

    def __len__(self) -> int:
        return len(self._ready)

    def __iter__(self) -> Iterator[str]:
        """Ids of the ready tasks that do not run, most urgent first."""
        return map(self._ids.__getitem__, self._ready)

    @property
    def waiting(self) -> int:
        """The number of open tasks that do not run."""
        return self._startable.count(1)

    def ready_after(self, task_ids: Iterable[str]) -> Iterator[str]:
        """The tasks that would be ready with these completed, most urgent first."""
        newly_met: dict[int, int] = {}
        for position in map(self._positions.__getitem__, task_ids):
            if self._states[position] is not Standing.COMPLETED:
                for dependent in self._dependents_of(position):
                    newly_met[dependent] = newly_met.get(dependent, 0) + 1
        unlocked = [
            position
            for position, count in newly_met.items()
            if self._unmet[position] == count and self._startable[position]
        ]
        if not unlocked:
            return iter(self)
        unlocked.sort(reverse=True)
        return map(self._ids.__getitem__, merge(self._ready, unlocked, reverse=True))

    def mark_started(self, task_id: str) -> None:
        """Leave the task out until `mark_done`."""
        position = self._positions[task_id]
        self._take_out(position)
        self._running.add(position)

    def mark_done(self, task_id: str, standing: Standing) -> None:
        """Set the state of a task that has run."""
        position = self._positions[task_id]
        if position in self._running:
            self._running.remove(position)
        else:
            self._take_out(position)
        before = self._states[position]
        self._states[position] = standing
        if standing is Standing.OPEN:
            self._startable[position] = 1
            if not self._unmet[position]:
                self._ready.add(position)
        if standing is Standing.COMPLETED and before is not Standing.COMPLETED:
            self._meet_dependency(position)
        elif before is Standing.COMPLETED and standing is not Standing.COMPLETED:
            self._reopen_dependency(position)

    def is_available(self, task_id: str) -> bool:
        """Whether the task is ready and does not run."""
        return self._is_available(self._positions[task_id])

    def _take_out(self, position: int) -> None:
        """The task itself may no longer start, for now or for good."""
        if self._is_available(position):
            self._ready.remove(position)
        self._startable[position] = 0

    def _meet_dependency(self, position: int) -> None:
        """The task is completed: its dependents wait for one task less."""
        for dependent in self._dependents_of(position):
            unmet = self._unmet[dependent] - 1
            self._unmet[dependent] = unmet
            if not unmet and self._startable[dependent]:
                self._ready.add(dependent)

    def _reopen_dependency(self, position: int) -> None:
        """The task is no longer completed, e.g. after a retry."""
        for dependent in self._dependents_of(position):
            if self._is_available(dependent):
                self._ready.remove(dependent)
            self._unmet[dependent] += 1

    def _dependents_of(self, position: int) -> tuple[int, ...]:
        dependents = self._dependents[position]
        if dependents is None:
            ids = self._graph.dependents(self._ids[position])
            dependents = tuple(map(self._positions.__getitem__, ids))
            self._dependents[position] = dependents
        return dependents

    def _is_available(self, position: int) -> bool:
        return self._startable[position] == 1 and not self._unmet[position]
