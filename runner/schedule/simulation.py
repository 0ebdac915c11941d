"""Simulates a run: the choices of the run itself, with a clock that only attempts move.

What takes no time here: preparing checkouts, merging, `verify`, landing. An attempt
ends as `AttemptOf` says; the run's own functions (`ready_queue`, `plan.progress`)
decide everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from typing import Literal, NamedTuple

from runner.core.result import Failure
from runner.core.task import Task
from runner.plan.snapshot import Snapshot
from runner.schedule.ready_queue import ReadyQueue
from runner.schedule.task_choice import EVERY_TASK, TaskChoice

ScheduleName = Literal["batch", "rolling"]


class ExpectedAttempt(NamedTuple):
    """What an attempt takes, in seconds, and how it fails; None: its work lands.

    The failure is one that counts (`Failure.counted`).
    """

    seconds: float
    failure: Failure | None = None


# A task and the number of its attempt, from 1.
AttemptOf = Callable[[Task, int], ExpectedAttempt]


class SimulatedAttempt(NamedTuple):
    """One attempt: seconds since the start of the run, and the number of its batch.

    The rolling schedule makes a batch of every attempt.
    """

    task: str
    attempt: int
    started: float
    finished: float
    batch: int


class SimulatedRun(NamedTuple):
    """A run with so many slots; `attempts` are in the order in which they start."""

    slots: int
    attempts: Sequence[SimulatedAttempt]

    @property
    def seconds(self) -> float:
        """From the start of the run to the end of its last attempt."""
        return max((attempt.finished for attempt in self.attempts), default=0.0)

    @property
    def idle_seconds(self) -> float:
        """How long slots are free while the run lasts, all slots together."""
        busy = sum(attempt.finished - attempt.started for attempt in self.attempts)
        # Sums of floats may differ in their last digit.
        return max(0.0, self.slots * self.seconds - busy)

    @property
    def batch_count(self) -> int:
        """The number of batches."""
        return self.attempts[-1].batch if self.attempts else 0

    @property
    def batches(self) -> list[tuple[str, ...]]:
        """The ids of the tasks of each batch, in the order of the run."""
        batches: list[list[str]] = []
        for attempt in self.attempts:
            if attempt.batch > len(batches):
                batches.append([])
            batches[-1].append(attempt.task)
        return list(map(tuple, batches))

    @property
    def most_at_once(self) -> int:
        """The largest number of attempts that run at the same time."""
        ends = sorted([attempt.finished for attempt in self.attempts])
        ended = most = 0
        # The attempts are in the order of their starts.
        for started, attempt in enumerate(self.attempts, 1):
            while ended < len(ends) and ends[ended] <= attempt.started:
                ended += 1
            most = max(most, started - ended)
        return most


@dataclass(frozen=True)
class Simulation:
    """What is to be simulated: the open tasks of `snapshot` that `choice` allows."""

    snapshot: Snapshot
    max_attempts: int
    attempt_of: AttemptOf
    choice: TaskChoice = EVERY_TASK

    @cached_property
    def queue(self) -> ReadyQueue:
        """The queue at the start of each run."""
        queue = ReadyQueue(self.max_attempts, self.choice)
        queue.sync(self.snapshot, running=())
        return queue

    def run(self, schedule: ScheduleName, slots: int) -> SimulatedRun:
        """The run by this schedule with at most `slots` agents at once."""
        # With one slot, both schedules start the same task next.
        if schedule == "rolling" and slots > 1:
            return _RollingRun(self, slots).run()
        return _BatchRun(self, slots).run()


def scheduled_batches(
    snapshot: Snapshot, slots: int, max_attempts: int, choice: TaskChoice = EVERY_TASK
) -> list[tuple[str, ...]]:
    """The batches of a run with so many agents at once in which every attempt succeeds."""
    simulation = Simulation(
        snapshot, max_attempts, lambda _task, _attempt: ExpectedAttempt(1.0), choice
    )
    return simulation.run("batch", slots).batches


class _Run:
    """The state of a simulated run that both schedules have."""

    def __init__(self, simulation: Simulation, slots: int) -> None:
        self._simulation, self._slots = simulation, slots
        snapshot = simulation.snapshot
        # Changed in place: to copy the records of a large plan for each attempt would
        # take longer than all else.
        self._records = dict(snapshot.progress.records)
        self._progress = snapshot.progress._replace(records=self._records)
        self._queue = simulation.queue.copy()
        self._attempts: list[SimulatedAttempt] = []
        # Task id → the number of its attempt and how that will fail, for those that run.
        self._running: dict[str, tuple[int, Failure | None]] = {}

    def _start(self, task: Task, now: float, batch: int) -> float:
        """Start the task's next attempt; when it ends."""
        record = self._records.get(task.id)
        number = record.attempts + 1 if record is not None else 1
        expected = self._simulation.attempt_of(task, number)
        finished = now + expected.seconds
        self._attempts.append(SimulatedAttempt(task.id, number, now, finished, batch))
        self._queue.mark_started(task.id)
        self._running[task.id] = number, expected.failure
        return finished

    def _finish(self, task: Task) -> None:
        """Record what the task's attempt has come to."""
        attempt, failure = self._running.pop(task.id)
        if failure is None:
            # Its record is asked for no more.
            self._queue.mark_completed(task.id)
            return
        records = {task.id: self._progress.record(task)}
        own = self._progress._replace(records=records)
        after = own.after_failure(task, attempt, failure, None)
        self._records[task.id] = after.records[task.id]
        self._queue.mark_done(task.id, self._progress)


class _BatchRun(_Run):
    """Batch by batch: the next one is chosen when all of the last one have ended."""

    def run(self) -> SimulatedRun:
        now, number = 0.0, 0
        while batch := self._queue.pick_batch(self._slots):
            number += 1
            now = max([self._start(task, now, number) for task in batch])
            for task in batch:
                self._finish(task)
        return SimulatedRun(self._slots, self._attempts)


class _RollingRun(_Run):
    """Whenever an agent exits: the next task that need not wait for its merge starts,
    then its result is merged.
    """

    def run(self) -> SimulatedRun:
        self._tasks: dict[str, Task] = {}
        # By end; of those that end together, the first that started comes first.
        self._ends: list[tuple[float, int, str]] = []
        self._start_ready(0.0)
        while self._ends:
            now, _, task_id = heappop(self._ends)
            # With one slot the next task starts from what this one made.
            if self._slots > 1:
                self._start_ready(now, exited=(task_id,))
            self._finish(self._tasks.pop(task_id))
            self._start_ready(now)
        return SimulatedRun(self._slots, self._attempts)

    def _start_ready(self, now: float, exited: Sequence[str] = ()) -> None:
        while picked := self._queue.pick_for_slot(
            self._slots, tuple(self._tasks.values()), exited
        ):
            for task in picked:
                number = len(self._attempts) + 1
                finished = self._start(task, now, number)
                self._tasks[task.id] = task
                heappush(self._ends, (finished, number, task.id))
