"""When things happened in a run, and why an attempt did not start earlier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from runner.core.events import (
    AttemptEnded,
    AttemptStarted,
    BatchChosen,
    CommitLanded,
    PhaseChanged,
    ResultRefused,
    RunEnded,
    RunEvent,
    VerifyEnded,
    VerifyStarted,
    Waiting,
)
from runner.core.plurals import pluralize
from runner.core.run_view import AttemptView, RunView, instant

# (batch, task, attempt)
AttemptKey = tuple[str, str, int]

_SHORTEST_WAIT = 1.0  # seconds; less is the time that git takes
_TOUCHING = 0.1  # seconds by which attempts of one lane may overlap


@dataclass(frozen=True)
class Wait:
    """From `start` to `end`, in seconds since 1970, something waited; `why` is for what."""

    start: float
    end: float
    why: str


@dataclass
class Timeline:
    """Times of a run, in seconds since 1970, that `RunView` does not keep.

    `phases` has the starts of an attempt's phases, `landed` when a task's work landed,
    `over` when an attempt was refused. `verifies` are (start, end of the command).
    """

    start: float | None = None
    end: float = 0.0
    phases: dict[AttemptKey, list[tuple[str, float]]] = field(default_factory=dict)
    landed: dict[str, float] = field(default_factory=dict)
    over: dict[AttemptKey, float] = field(default_factory=dict)
    verifies: list[tuple[float, VerifyEnded]] = field(default_factory=list)
    pauses: list[Wait] = field(default_factory=list)
    _verifying: dict[tuple[str, int], float] = field(default_factory=dict)
    _pause: tuple[float, str] | None = None

    def apply(self, event: RunEvent) -> None:
        """Take in the next event of the run."""
        now = instant(event.time)
        self.start = now if self.start is None else min(self.start, now)
        self.end = max(self.end, now)
        match event:
            case PhaseChanged():
                key = event.batch, event.task, event.attempt
                self.phases.setdefault(key, []).append((event.phase, now))
            case ResultRefused() | AttemptEnded():
                self.over[event.batch, event.task, event.attempt] = now
            case VerifyStarted():
                self._verifying[event.batch, event.step] = now
            case VerifyEnded():
                started = self._verifying.pop((event.batch, event.step), None)
                start = now - event.seconds if started is None else started
                self.verifies.append((start, event))
            case CommitLanded():
                self.landed.update(dict.fromkeys(event.tasks, now))
            case _:
                self._follow_pause(event, now)

    def _follow_pause(self, event: RunEvent, now: float) -> None:
        ends = isinstance(event, AttemptStarted | BatchChosen | RunEnded | Waiting)
        if self._pause is not None and ends:
            start, why = self._pause
            self.pauses.append(Wait(start, now, why))
            self._pause = None
        if isinstance(event, Waiting):
            self._pause = now, event.reason


def read(events: Iterable[RunEvent]) -> tuple[RunView, Timeline]:
    """The run that these events tell, oldest first, and its times."""
    view, timeline = RunView(), Timeline()
    for event in events:
        view.apply(event)
        timeline.apply(event)
    return view, timeline


def waits(
    view: RunView, timeline: Timeline, depends_on: Mapping[str, Sequence[str]]
) -> dict[AttemptKey, list[Wait]]:
    """For each attempt that has started, what it waited for before that."""
    found: dict[AttemptKey, list[Wait]] = {}
    busy = _Busy(view)
    for task in view.tasks.values():
        ready = timeline.start or 0.0
        for attempt in task.attempts:
            key = attempt.batch, attempt.task, attempt.attempt
            if attempt.started is not None:
                needs = depends_on.get(attempt.task, ())
                found[key] = _waits_of(attempt, ready, needs, timeline, busy)
            ready = timeline.over.get(key, ready)
    return found


def _waits_of(
    attempt: AttemptView,
    ready: float,
    needs: Sequence[str],
    timeline: Timeline,
    busy: _Busy,
) -> list[Wait]:
    started = attempt.started or 0.0
    landings = [
        (timeline.landed[need], need) for need in needs if need in timeline.landed
    ]
    landings = [pair for pair in landings if ready < pair[0] <= started]
    steps: list[Wait] = []
    if landings:
        at, last = max(landings)
        why = f"for {last} to land"
        if len(landings) > 1:
            why += f", the last of {pluralize(len(landings), 'task')}"
        steps.append(Wait(ready, at, why))
        ready = at
    for pause in timeline.pauses:
        if ready < pause.end and pause.start < started:
            if pause.start > ready:
                steps.append(busy.reason(attempt, ready, pause.start))
            ready = min(pause.end, started)
            steps.append(
                Wait(max(pause.start, steps[-1].end if steps else 0), ready, pause.why)
            )
    steps.append(busy.reason(attempt, ready, started))
    return [step for step in steps if step.end - step.start >= _SHORTEST_WAIT]


class _Busy:
    """How many attempts ran at a moment."""

    def __init__(self, view: RunView) -> None:
        self._slots = view.start.max_concurrent if view.start else 0
        self._is_batch = view.start is not None and view.start.schedule == "batch"
        self._intervals = [
            (each.started, each.started + each.seconds)
            for task in view.tasks.values()
            for each in task.attempts
            if each.started is not None and each.seconds is not None
        ]

    def reason(self, attempt: AttemptView, start: float, end: float) -> Wait:
        """Why a task that nothing else holds up did not start."""
        middle = (start + end) / 2
        count = sum(first <= middle < last for first, last in self._intervals)
        if attempt.attempt > 1 and not count:
            why = "for the next attempt to be chosen"
        elif self._slots and count >= self._slots:
            why = "for a free slot"
        elif self._is_batch:
            why = "for the batch before it to land"
        else:
            why = "for a free slot, or for tasks that change the same files"
        return Wait(start, end, why)


def lanes(attempts: Iterable[AttemptView], now: float) -> dict[AttemptKey, int]:
    """A row for each attempt that has started, such that no two overlap in one.

    That of its slot where it is free: attempts on other machines have the same slot.
    """
    started = [(each.started, each) for each in attempts if each.started is not None]
    free_from: dict[int, float] = {}
    found: dict[AttemptKey, int] = {}
    for start, attempt in sorted(started, key=lambda pair: pair[0]):
        lane = attempt.slot
        if free_from.get(lane, start) > start + _TOUCHING:
            lane = 0
            while free_from.get(lane, start) > start + _TOUCHING:
                lane += 1
        free_from[lane] = start + attempt.elapsed(now)
        found[attempt.batch, attempt.task, attempt.attempt] = lane
    return found
