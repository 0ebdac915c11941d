"""A simulated run starts what the run's own queue gives, when its clock says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from runner.core.result import Failure, FailureKind
from runner.core.task import Task
from runner.schedule.simulation import (
    ExpectedAttempt,
    ScheduleName,
    SimulatedRun,
    Simulation,
    scheduled_batches,
)
from runner.schedule.task_choice import TaskChoice
from tests.support.builders import task
from tests.support.queue_snapshots import snapshot

FAILED = Failure(kind=FailureKind.AGENT_ERROR, message="no")
FINAL = FAILED.model_copy(update={"retryable": False})


def simulated(
    tasks: Sequence[Task],
    schedule: ScheduleName,
    slots: int,
    failures: Mapping[tuple[str, int], Failure] | None = None,
    choice: TaskChoice | None = None,
) -> SimulatedRun:
    """The run of these tasks, whose estimates are right."""

    def attempt_of(task: Task, attempt: int) -> ExpectedAttempt:
        failure = (failures or {}).get((task.id, attempt))
        return ExpectedAttempt(task.estimate or 1.0, failure)

    simulation = Simulation(snapshot(*tasks), 3, attempt_of, choice or TaskChoice())
    return simulation.run(schedule, slots)


def starts(run: SimulatedRun) -> list[tuple[str, float, float]]:
    return [(each.task, each.started, each.finished) for each in run.attempts]


# A long task beside a short chain: where a batch waits for the longest of it.
UNEVEN = (
    task("LONG", estimate=10.0),
    task("A", estimate=1.0),
    task("B", estimate=2.0, depends_on=("A",)),
    task("C", estimate=3.0, depends_on=("B",)),
)


def test_a_batch_waits_for_its_longest_task_and_rolling_does_not() -> None:
    batch = simulated(UNEVEN, "batch", 2)
    assert starts(batch) == [
        ("LONG", 0, 10),
        ("A", 0, 1),
        ("B", 10, 12),
        ("C", 12, 15),
    ]
    assert batch.batches == [("LONG", "A"), ("B",), ("C",)]
    assert batch.batch_count == 3
    assert (batch.seconds, batch.idle_seconds, batch.most_at_once) == (15, 14, 2)
    rolling = simulated(UNEVEN, "rolling", 2)
    assert starts(rolling) == [("LONG", 0, 10), ("A", 0, 1), ("B", 1, 3), ("C", 3, 6)]
    assert (rolling.seconds, rolling.idle_seconds) == (10, 4)


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_one_slot_takes_as_long_as_all_attempts_together(
    schedule: ScheduleName,
) -> None:
    run = simulated(UNEVEN, schedule, 1)
    assert (run.seconds, run.idle_seconds, run.most_at_once) == (16, 0, 1)


def test_a_failed_attempt_is_tried_again_and_its_dependents_wait() -> None:
    tasks = (task("A", estimate=2.0), task("B", estimate=1.0, depends_on=("A",)))
    run = simulated(tasks, "rolling", 2, {("A", 1): FAILED})
    assert [(each.task, each.attempt, each.started) for each in run.attempts] == [
        ("A", 1, 0),
        ("A", 2, 2),
        ("B", 1, 4),
    ]


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_what_depends_on_a_task_that_failed_for_good_never_starts(
    schedule: ScheduleName,
) -> None:
    tasks = (task("A"), task("B", depends_on=("A",)), task("C"))
    run = simulated(tasks, schedule, 2, {("A", 1): FINAL})
    assert {each.task for each in run.attempts} == {"A", "C"}
    every = {("A", attempt): FAILED for attempt in (1, 2, 3)}
    run = simulated(tasks, schedule, 2, every)
    assert [each.task for each in run.attempts].count("A") == 3
    assert "B" not in {each.task for each in run.attempts}


def test_tasks_that_overlap_never_run_at_the_same_time() -> None:
    tasks = [task(name, files=("x",), estimate=1.0) for name in "ABC"]
    for schedule in ("batch", "rolling"):
        run = simulated(tasks, schedule, 3)
        assert (run.most_at_once, run.seconds) == (1, 3)


def test_only_chosen_tasks_start() -> None:
    run = simulated(UNEVEN, "batch", 2, choice=TaskChoice(frozenset("A")))
    assert [each.task for each in run.attempts] == ["A"]


def test_nothing_to_run_takes_no_time() -> None:
    run = simulated([], "batch", 2)
    assert (run.seconds, run.idle_seconds, run.batches) == (0, 0, [])


def test_the_batches_are_those_that_the_slots_and_the_files_allow() -> None:
    tasks = [task(name, files=("x",) if name in "AB" else None) for name in "ABCDE"]
    assert scheduled_batches(snapshot(*tasks), 3, 3) == [("A", "C", "D"), ("B", "E")]
