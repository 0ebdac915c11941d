"""What rolling would have saved is told from what the attempts of a run took."""

from __future__ import annotations

import pytest

from runner.core.task import Status
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.schedule.rolling_gain import PastAttempt, rolling_gain
from tests.support.builders import task
from tests.support.queue_snapshots import snapshot

MIN = 60.0
# A long task beside a chain.
TASKS = (
    task("BEFORE"),
    task("LONG", depends_on=("BEFORE",)),
    task("A"),
    task("B", depends_on=("A",), max_attempts=1),
    task("C", depends_on=("B",)),
)
DONE = {each.id: Record(status=Status.COMPLETED, attempts=1) for each in TASKS}
AFTER = snapshot(*TASKS, progress=Progress("p", DONE))


def ran(*attempts: tuple[str, float, bool]) -> list[PastAttempt]:
    return [
        PastAttempt(task_id, minutes * MIN, landed)
        for task_id, minutes, landed in attempts
    ]


def test_the_gain_goes_by_the_attempts_of_the_run_with_their_failures() -> None:
    attempts = ran(
        ("LONG", 19, True),
        ("A", 5, True),
        ("B", 1, False),
        ("B", 9, True),
        ("C", 3, True),
    )
    # batch: 19 (LONG, A) + 1 + 9 + 3; rolling: LONG beside all others
    assert rolling_gain(AFTER, attempts, 2) == "rolling: about 19 min instead of 32"
    assert rolling_gain(AFTER, attempts, 1) is None


@pytest.mark.parametrize(
    ("minutes", "gain"),
    [
        (3, "rolling: about 20 min instead of 23"),
        (1, None),  # less than a tenth
    ],
)
def test_a_small_gain_is_not_worth_a_line(minutes: float, gain: str | None) -> None:
    attempts = ran(("LONG", 20, True), ("A", 1, True), ("B", minutes, True))
    assert rolling_gain(AFTER, attempts, 2) == gain


def test_a_gain_of_seconds_is_not_worth_a_line() -> None:
    assert rolling_gain(AFTER, ran(("LONG", 0.4, True), ("A", 0.1, True)), 2) is None
    short = ran(("LONG", 0.4, True), ("A", 0.1, True), ("B", 0.3, True))
    assert rolling_gain(AFTER, short, 2) is None


def test_what_failed_for_good_ends_there_and_what_left_the_plan_is_left_out() -> None:
    attempts = ran(
        ("GONE", 99, True), ("LONG", 9, True), ("A", 5, False), ("A", 4, False)
    )
    assert rolling_gain(AFTER, attempts, 2) == "rolling: about 9 min instead of 13"
    assert rolling_gain(AFTER, [], 2) is None
