"""A run stops where the tasks that began it failed at once and alike."""

from __future__ import annotations

from runner.core.result import Failure, FailureKind, Result
from runner.schedule.first_failures import FirstFailures

_GONE = Failure(kind=FailureKind.AGENT_ERROR, message="no such program")


def _result(task: str, seconds: int = 1) -> Result:
    return Result(
        batch="r.1",
        manifest="0" * 64,
        task=task,
        attempt=1,
        base="0" * 40,
        started="2026-01-01T00:00:00Z",
        finished=f"2026-01-01T00:00:{seconds:02}Z",
        agent="claude",
        succeeded=False,
        failure=_GONE,
    )


def _after(
    first: FirstFailures, *tasks: str, failure: Failure | None = _GONE, seconds: int = 1
) -> FirstFailures:
    failed = {}
    if failure is not None:
        failed = dict.fromkeys(tasks, failure)
    results = [_result(task, seconds) for task in tasks]
    return first.after(tasks, failed, results)


def test_a_whole_first_batch_that_fails_at_once_stops_the_run_with_its_reason() -> None:
    reason = _after(FirstFailures(), "A", "B").stop_reason(3)
    assert reason is not None
    assert "no such program" in reason


def test_a_single_task_may_fail_for_a_reason_of_its_own() -> None:
    once = _after(FirstFailures(), "A")
    assert once.stop_reason(1) is None
    assert _after(once, "A").stop_reason(1) is None
    assert _after(once, "B").stop_reason(1) is not None


def test_where_tasks_are_merged_one_by_one_as_many_as_run_at_once_must_fail() -> None:
    two = _after(_after(FirstFailures(), "A"), "B")
    assert two.stop_reason(3) is None
    assert _after(two, "C").stop_reason(3) is not None


def test_anything_else_shows_that_the_agent_works() -> None:
    other = Failure(kind=FailureKind.AGENT_ERROR, message="another one")
    conflict = Failure(kind=FailureKind.CONFLICT, message="no such program")
    first = _after(FirstFailures(), "A")
    for later in (
        _after(first, "B", failure=None),
        _after(first, "B", failure=other),
        _after(first, "B", failure=conflict),
        _after(first, "B", seconds=30),
    ):
        assert _after(later, "C", "D").stop_reason(2) is None


def test_only_the_first_batch_of_several_begins_a_run() -> None:
    """With twelve agents at once, three tasks of one batch are enough, and the last."""
    first = _after(FirstFailures(), "A", "B", "C")
    assert first.stop_reason(12) is not None
    assert _after(first, "D", "E").stop_reason(2) is None
    assert _after(first, "D").stop_reason(1) is None
