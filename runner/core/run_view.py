"""A run as its events tell it: what `fanin run`, `status` and `report` show of one.

The only source is the events, from memory or from a file (`event_lines`). Some may be
missing: the file of a run that was killed ends anywhere, and a newer version has events
that this one does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    AttemptEvent,
    AttemptStarted,
    BatchChosen,
    CheckoutChanged,
    CommitLanded,
    Note,
    PhaseChanged,
    PlannedTask,
    PlanRead,
    ResultMerged,
    ResultRefused,
    RunEnded,
    RunEvent,
    RunStarted,
    UsageReport,
    VerifyEnded,
    VerifyStarted,
    Waiting,
)
from runner.core.result import Failure, FailureKind, Usage


class AttemptState(StrEnum):
    """What is known of an attempt.

    `finished`: its agent is done, and its work is neither merged nor refused yet.
    `merged`: its work is in a merged tree, but on no branch. `landed`: it is on the
    branch. `held`: it is on a branch of its own, because its own could not take it.
    `asked`: its agent has ended with a question.
    """

    CHOSEN = "chosen"
    RUNNING = "running"
    FINISHED = "finished"
    VERIFYING = "verifying"
    MERGED = "merged"
    LANDED = "landed"
    HELD = "held"
    FAILED = "failed"
    ASKED = "asked"
    INTERRUPTED = "interrupted"


_UNFINISHED = {AttemptState.CHOSEN, AttemptState.RUNNING}
_DONE = {AttemptState.LANDED, AttemptState.HELD}
_WAITS_TO_LAND = {
    AttemptState.FINISHED,
    AttemptState.VERIFYING,
    AttemptState.MERGED,
}
# A run is not expected to use less than this part of its slots: 1 / 4.
_FEWEST = 4
# of `PlannedTask.state`: what a run may still do
_OPEN = {"ready", "pending", "in_progress"}


@dataclass
class AttemptView:
    """One attempt of a task. Times are seconds since 1970, None if they are unknown.

    `phase` is what it is doing while it runs, `usage` the agent's own report.
    `preparing` is how many of its seconds were over before its agent began.
    `own_failure` is how the attempt itself failed, `failure` also how its work was
    refused later. `kept` is
    the ref that keeps work which did not land, `commit` the one on the branch that has
    what did. `acceptable`, `slot`, `log` and `final` are those of the events.
    """

    task: str
    attempt: int
    batch: str
    title: str = ""
    agent: str = ""
    state: AttemptState = AttemptState.CHOSEN
    phase: str = ""
    started: float | None = None
    seconds: float | None = None
    preparing: float = 0.0
    last_line: str = ""
    usage: Usage = field(default_factory=Usage)
    own_failure: Failure | None = None
    failure: Failure | None = None
    kept: str | None = None
    acceptable: bool = True
    commit: str | None = None
    slot: int = 0
    log: str = ""
    final: bool = False

    def elapsed(self, now: float) -> float:
        """Seconds that it has taken so far, or in all."""
        if self.seconds is not None:
            return self.seconds
        return 0.0 if self.started is None else max(0.0, now - self.started)


@dataclass
class TaskRun:
    """A task in this run, and its attempts, oldest first."""

    task: str
    title: str = ""
    attempts: list[AttemptView] = field(default_factory=list)
    landed: str | None = None  # the commit that has its work

    @property
    def last(self) -> AttemptView | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def state(self) -> AttemptState:
        """That of its last attempt; a task may land without one in this run."""
        if self.last is not None:
            return self.last.state
        return AttemptState.LANDED if self.landed else AttemptState.CHOSEN


class VerifyView(NamedTuple):
    """A merged tree that is being verified since `started`; the rest is the event's."""

    event: VerifyStarted
    started: float


class Progress(NamedTuple):
    """How many of the tasks that a run is about are in which state.

    `finished` have work that is neither on the branch nor refused yet. `failed` have
    failed for good.
    """

    total: int
    landed: int
    finished: int
    failed: int


@dataclass
class RunView:
    """What has happened in a run so far. `apply` takes the next event.

    `planned` is the plan at the start, `tasks` those that have run or landed since.
    `running`, `verifying` (by batch and step) and `wait` are what goes on now. `busy_seconds` is the sum of
    the durations of all attempts, `verify_seconds` that of all runs of verify on merged
    trees. `outside` is what somebody else changed meanwhile.
    """

    start: RunStarted | None = None
    end: RunEnded | None = None
    planned: dict[str, PlannedTask] = field(default_factory=dict)
    tasks: dict[str, TaskRun] = field(default_factory=dict)
    running: dict[tuple[str, str], AttemptView] = field(default_factory=dict)
    verifying: dict[tuple[str, int], VerifyView] = field(default_factory=dict)
    wait: Waiting | None = None
    notes: list[str] = field(default_factory=list)
    outside: list[CheckoutChanged] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)
    busy_seconds: float = 0.0
    verify_seconds: float = 0.0
    time: float = 0.0  # of the last event
    # of all events but output, so that a screen counts anew only after one
    _changes: int = 0
    _progress: tuple[int, Progress] | None = None
    _ends_at: tuple[int, float | None] | None = None
    _ended: UsageReport = field(default_factory=UsageReport)

    def apply(self, event: RunEvent) -> None:
        """Take in the next event of the run."""
        self.time = instant(event.time)
        if isinstance(event, AgentOutput):
            self._hear(event)
            return
        self._changes += 1
        match event:
            case AttemptStarted():
                self._begin(event)
            case PhaseChanged():
                self._change_phase(event)
            case AttemptEnded():
                self._finish(event)
            case ResultMerged():
                self._merge(event)
            case ResultRefused():
                self._refuse(event)
            case CheckoutChanged():
                self.outside.append(event)
            case _:
                self._apply_to_run(event)

    def _apply_to_run(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self.start = event
            case PlanRead():
                self.planned = {task.task: task for task in event.tasks}
            case BatchChosen():
                self._choose(event)
            case VerifyStarted():
                self._begin_verify(event)
            case VerifyEnded():
                self._end_verify(event)
            case CommitLanded():
                self._land(event)
            case Waiting():
                self.wait = event
            case Note():
                self.notes.append(event.message)
            case RunEnded():
                self.end = event
                self.interrupt_running()

    # -- what there is to know --

    @property
    def usage(self) -> UsageReport:
        """What all attempts reported, those at work included."""
        total = self._ended
        for attempt in self.running.values():
            if attempt.usage.cost_usd is not None or attempt.usage.tokens:
                total = _plus(total, attempt.usage)
        return total

    def in_state(self, *states: AttemptState) -> list[TaskRun]:
        """The tasks in one of these states, in the order in which they started."""
        return [task for task in self.tasks.values() if task.state in states]

    @property
    def progress(self) -> Progress:
        if self._progress is None or self._progress[0] != self._changes:
            self._progress = self._changes, self._count()
        return self._progress[1]

    def _count(self) -> Progress:
        landed = finished = failed = 0
        ids = {task.task for task in self.planned.values() if _is_open(task)}
        for task in self.tasks.values():
            ids.add(task.task)
            landed += task.state in _DONE
            finished += task.state in _WAITS_TO_LAND
            failed += task.last is not None and task.last.final
        return Progress(len(ids), landed, finished, failed)

    def elapsed(self, now: float) -> float:
        """Seconds since the run began, or between its begin and its end."""
        if self.start is None:
            return 0.0
        end = instant(self.end.time) if self.end else now
        return max(0.0, end - instant(self.start.time))

    def seconds_left(self, now: float) -> float | None:
        """About how long it takes until every task is done.

        None while no attempt has succeeded: what is expected of the others is corrected
        by how long those have taken.
        """
        if self._ends_at is None or self._ends_at[0] != self._changes:
            seconds = self._expected_seconds(now)
            self._ends_at = self._changes, None if seconds is None else now + seconds
        ends_at = self._ends_at[1]
        return None if ends_at is None else max(0.0, ends_at - now)

    def _expected_seconds(self, now: float) -> float | None:
        """As long as the work takes in all slots, but no less than the longest chain."""
        factor = self._factor()
        if factor is None:
            return None
        work = longest = 0.0
        chains: dict[str, float] = {}
        # A plan may name a task before those that it depends on. Then a chain is
        # estimated too short, which a rough figure can bear.
        for task in self.planned.values():
            seconds = self._seconds_left_of(task, factor, now)
            before = max((chains.get(each, 0.0) for each in task.depends_on), default=0)
            chains[task.task] = before + seconds
            work, longest = work + seconds, max(longest, before + seconds)
        return max(longest, work / self._agents_at_once(now))

    def _agents_at_once(self, now: float) -> float:
        """How many agents have been at work on average: while a batch waits for its last
        one, is merged or verified, slots are empty. A wait counts only so far.
        """
        slots = max(1, self.start.max_concurrent if self.start else 1)
        busy = sum(attempt.elapsed(now) for attempt in self.running.values())
        elapsed = self.elapsed(now)
        if not elapsed:
            return slots
        used = (self.busy_seconds + busy) / elapsed
        return min(slots, max(slots / _FEWEST, used))

    def _factor(self) -> float | None:
        """Seconds that attempts took for each second that was expected of them."""
        actual = expected = 0.0
        for task in self.tasks.values():
            planned, attempt = self.planned.get(task.task), task.last
            if planned is None or attempt is None or attempt.failure is not None:
                continue
            if attempt.seconds is not None:
                actual += attempt.seconds
                expected += planned.expected_seconds
        return actual / expected if expected else None

    def _seconds_left_of(self, task: PlannedTask, factor: float, now: float) -> float:
        run = self.tasks.get(task.task)
        if run is None:
            return task.expected_seconds * factor if _is_open(task) else 0.0
        attempt = run.last
        if run.state in _DONE | _WAITS_TO_LAND or attempt is None or attempt.final:
            return 0.0
        seconds = task.expected_seconds * factor
        if attempt.state is AttemptState.RUNNING:
            return max(0.0, seconds - attempt.elapsed(now))
        return seconds

    def interrupt_running(self) -> None:
        """Nothing runs any more: whatever had not finished is interrupted.

        For a run that has ended, and for one whose process is gone.
        """
        for task in self.tasks.values():
            for attempt in task.attempts:
                if attempt.state in _UNFINISHED:
                    attempt.state = AttemptState.INTERRUPTED
                elif attempt.state is AttemptState.VERIFYING:
                    attempt.state = AttemptState.FINISHED
        self.running.clear()
        self.verifying.clear()
        self.wait = None

    # -- one event each --

    def _choose(self, event: BatchChosen) -> None:
        self.wait = None
        for chosen in event.tasks:
            attempt = self._find(event.batch, chosen.task, chosen.attempt)
            self._name(attempt, chosen.title)

    def _begin(self, event: AttemptStarted) -> None:
        self.wait = None
        attempt = self._attempt(event)
        self._name(attempt, event.title)
        attempt.agent, attempt.started = event.agent, self.time
        attempt.slot, attempt.log = event.slot, event.log
        attempt.state = AttemptState.RUNNING
        self.running[event.batch, event.task] = attempt

    def _change_phase(self, event: PhaseChanged) -> None:
        attempt = self._attempt(event)
        attempt.phase = event.phase
        if event.phase == "working":
            attempt.preparing = attempt.elapsed(self.time)

    def _hear(self, event: AgentOutput) -> None:
        attempt = self._attempt(event)
        attempt.last_line = event.last_line
        if event.tokens is not None or event.cost_usd is not None:
            attempt.usage = Usage(tokens=event.tokens, cost_usd=event.cost_usd)

    def _finish(self, event: AttemptEnded) -> None:
        attempt = self._attempt(event)
        self._name(attempt, event.title)
        self.running.pop((event.batch, event.task), None)
        attempt.seconds, attempt.usage = event.seconds, event.usage
        attempt.own_failure = attempt.failure = event.failure
        attempt.state = _state_after(event.failure)
        attempt.agent = event.agent or attempt.agent
        attempt.slot, attempt.log = event.slot, event.log
        self.busy_seconds += event.seconds
        # The agent of an attempt that was not ready has not started.
        if event.failure is None or event.failure.kind is not FailureKind.NOT_READY:
            self._ended = _plus(self._ended, event.usage)

    def _begin_verify(self, event: VerifyStarted) -> None:
        self.verifying[event.batch, event.step] = VerifyView(event, self.time)
        self._change_states(event.tasks, AttemptState.FINISHED, AttemptState.VERIFYING)

    def _end_verify(self, event: VerifyEnded) -> None:
        self.verify_seconds += event.seconds
        view = self.verifying.pop((event.batch, event.step), None)
        others = {task for each in self.verifying.values() for task in each.event.tasks}
        task_ids = event.tasks if view is None else view.event.tasks
        over = [task for task in task_ids if task not in others]
        self._change_states(over, AttemptState.VERIFYING, AttemptState.FINISHED)

    def _merge(self, event: ResultMerged) -> None:
        attempt = self._attempt(event)
        attempt.state, attempt.kept = AttemptState.MERGED, event.kept

    def _change_states(
        self, task_ids: Sequence[str], old: AttemptState, new: AttemptState
    ) -> None:
        for task_id in task_ids:
            attempt = self.tasks[task_id].last if task_id in self.tasks else None
            if attempt and attempt.state is old:
                attempt.state = new

    def _refuse(self, event: ResultRefused) -> None:
        attempt = self._attempt(event)
        attempt.failure, attempt.kept = event.failure, event.kept
        attempt.acceptable = event.acceptable
        attempt.final, attempt.log = event.final, event.log or attempt.log
        attempt.state = _state_after(event.failure)
        self.tasks[event.task].landed = None

    def _land(self, event: CommitLanded) -> None:
        own_branch = self.start is None or event.branch == self.start.branch
        self.commits.append(event.commit)
        for task_id in event.tasks:
            task = self.tasks.setdefault(task_id, TaskRun(task_id))
            task.landed = event.commit
            if task.last is not None:
                task.last.commit = event.commit
                task.last.state = AttemptState.LANDED
                if not own_branch:
                    task.last.state = AttemptState.HELD

    def _attempt(self, event: AttemptEvent) -> AttemptView:
        return self._find(event.batch, event.task, event.attempt)

    def _find(self, batch: str, task_id: str, number: int) -> AttemptView:
        """The attempt, made if no event before this one has named it."""
        task = self.tasks.setdefault(task_id, TaskRun(task_id))
        for attempt in reversed(task.attempts):
            if (attempt.batch, attempt.attempt) == (batch, number):
                return attempt
        attempt = AttemptView(task_id, number, batch, task.title)
        task.attempts.append(attempt)
        return attempt

    def _name(self, attempt: AttemptView, title: str) -> None:
        attempt.title = self.tasks[attempt.task].title = title


def fold(events: Iterable[RunEvent]) -> RunView:
    """The view of the run that these events tell, oldest first."""
    view = RunView()
    for event in events:
        view.apply(event)
    return view


def instant(time: str) -> float:
    """The seconds since 1970 of a time of an event."""
    return datetime.fromisoformat(time).timestamp()


def _is_open(task: PlannedTask) -> bool:
    return task.chosen and task.state in _OPEN


def _state_after(failure: Failure | None) -> AttemptState:
    if failure is None:
        return AttemptState.FINISHED
    if failure.kind is FailureKind.INTERRUPTED:
        return AttemptState.INTERRUPTED
    if failure.kind is FailureKind.QUESTION:
        return AttemptState.ASKED
    return AttemptState.FAILED


def _plus(total: UsageReport, usage: Usage) -> UsageReport:
    return UsageReport(
        attempts=total.attempts + 1,
        cost_usd=total.cost_usd + (usage.cost_usd or 0.0),
        tokens=total.tokens + (usage.tokens or 0),
        without_cost=total.without_cost + (usage.cost_usd is None),
    )
