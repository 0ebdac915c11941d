"""When an attempt ran, and what it waited for before that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from runner.core.events import (
    AttemptEnded,
    AttemptStarted,
    CommitLanded,
    ResultRefused,
    RunEnded,
    RunEvent,
    RunStarted,
    Waiting,
)
from runner.core.result import Failure, FailureKind
from runner.core.run_view import AttemptView
from runner.report import timeline

_FAILURE = Failure(kind=FailureKind.VERIFY, message="red")


def _time(seconds: float) -> str:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds")


def _begin(slots: int, schedule: Any = "rolling") -> RunStarted:
    about = {"run": "r", "branch": "main", "plan": "p", "tasks": 2}
    return RunStarted(**about, schedule=schedule, max_concurrent=slots, time=_time(0))


def _attempt(
    task: str,
    start: float,
    end: float,
    attempt: int = 1,
    failure: Failure | None = None,
) -> list[RunEvent]:
    of: dict[str, Any] = {"batch": f"r.{task}", "task": task, "attempt": attempt}
    about = {**of, "title": task, "agent": "a"}
    events: list[RunEvent] = [
        AttemptStarted(**about, time=_time(start)),
        AttemptEnded(**about, seconds=end - start, failure=failure, time=_time(end)),
    ]
    if failure is not None:
        events.append(ResultRefused(**of, failure=failure, time=_time(end)))
    return events


def _landed(task: str, at: float) -> CommitLanded:
    return CommitLanded(branch="main", commit="c", tasks=(task,), time=_time(at))


def _waits(
    events: list[RunEvent],
    needs: dict[str, tuple[str, ...]],
    task: str,
    attempt: int = 1,
) -> list[tuple[float, float, str]]:
    view, times = timeline.read(sorted(events, key=lambda event: event.time))
    found = timeline.waits(view, times, needs)
    start = times.start or 0.0
    return [
        (each.start - start, each.end - start, each.why)
        for each in found[f"r.{task}", task, attempt]
    ]


def test_a_task_waits_for_the_last_of_its_needs_to_land() -> None:
    events = [_begin(2), *_attempt("A", 0, 5), *_attempt("B", 0, 8)]
    events += [_landed("A", 5), _landed("B", 9), *_attempt("C", 9, 12)]
    assert _waits(events, {"C": ("A", "B")}, "C") == [
        (0, 9, "for B to land, the last of 2 tasks")
    ]


def test_then_it_waits_for_a_free_slot() -> None:
    events = [_begin(1), *_attempt("A", 0, 5), _landed("A", 5)]
    events += [*_attempt("B", 5, 20), *_attempt("C", 20, 21)]
    assert _waits(events, {"C": ("A",)}, "C") == [
        (0, 5, "for A to land"),
        (5, 20, "for a free slot"),
    ]


def test_in_batches_it_waits_for_the_batch_before_it() -> None:
    events = [_begin(3, "batch"), *_attempt("A", 0, 9), *_attempt("B", 10, 12)]
    assert _waits(events, {}, "B") == [(0, 10, "for the batch before it to land")]


def test_a_pause_of_the_run_ends_with_the_next_start() -> None:
    events: list[RunEvent] = [_begin(1), *_attempt("A", 0, 5), _landed("A", 5)]
    events += [Waiting(seconds=30, reason="usage limit", time=_time(6))]
    events += [*_attempt("B", 36, 40)]
    assert _waits(events, {"B": ("A",)}, "B") == [
        (0, 5, "for A to land"),
        (5, 6, "for a free slot, or for tasks that change the same files"),
        (6, 36, "usage limit"),
    ]


def test_a_second_attempt_waits_from_the_end_of_the_first() -> None:
    events = [_begin(1), *_attempt("A", 0, 5, failure=_FAILURE)]
    events += _attempt("A", 9, 12, attempt=2)
    assert _waits(events, {}, "A", attempt=2) == [
        (5, 9, "for the next attempt to be chosen")
    ]


def test_the_end_of_a_run_ends_its_pause() -> None:
    events: list[RunEvent] = [
        _begin(1),
        Waiting(seconds=9, reason="limit", time=_time(1)),
    ]
    events.append(RunEnded(run="r", branch="main", outcome="stopped", time=_time(4)))
    _, times = timeline.read(events)
    assert [(each.end - each.start, each.why) for each in times.pauses] == [
        (3, "limit")
    ]


def test_attempts_that_overlap_never_share_a_lane() -> None:
    spans = [(0, 5, 0), (1, 3, 0), (4, 6, 0), (5, 9, 0), (5, 7, 1)]
    attempts = [
        AttemptView(f"T{n}", 1, "b", started=start, seconds=end - start, slot=slot)
        for n, (start, end, slot) in enumerate(spans, 1)
    ]
    found = timeline.lanes(attempts, 9)
    assert [found["b", f"T{n}", 1] for n in range(1, 6)] == [0, 1, 1, 0, 2]
