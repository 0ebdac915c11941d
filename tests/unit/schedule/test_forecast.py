"""The forecast: what durations it goes by, its rows, its knees and its limits."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.job_starts import starts
from runner.cli.job_options import MOST_ROUNDS_PER_RUN
from runner.core.forecast import Forecast
from runner.core.task import Status, Task
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.schedule.durations import GUESS
from runner.schedule.forecast import (
    ForecastOptions,
    forecast,
    job_starts,
)
from tests.support.builders import task
from tests.support.queue_snapshots import snapshot

# A long task beside a chain of short ones.
UNEVEN = (
    task("LONG", estimate=600.0),
    task("A", estimate=60.0),
    task("B", estimate=120.0, depends_on=("A",)),
    task("C", estimate=180.0, depends_on=("B",)),
)


def told(
    *tasks: Task, records: dict[str, Record] | None = None, **options: Any
) -> Forecast:
    progress = Progress("p", records or {})
    defaults = {
        "now": 2,
        "schedule": "batch",
        "max_attempts": 3,
        "max_rounds": 100,
    }
    return forecast(
        snapshot(*tasks, progress=progress), ForecastOptions(**{**defaults, **options})
    )


def done(**fields: Any) -> Record:
    return Record(status=Status.COMPLETED, attempts=1, **fields)


def test_both_schedules_are_simulated_for_every_number_of_agents() -> None:
    found = told(*UNEVEN, up_to=4)
    assert [
        (row.max_concurrent, row.batch.seconds, row.batch.batches, row.rolling.seconds)
        for row in found.rows
    ] == [(1, 960, 4, 960), (2, 900, 3, 600), (3, 900, 3, 600)]
    assert found.rows[1].batch.idle_seconds == 840
    assert found.rows[1].batch.idle == pytest.approx(840 / 1800, abs=0.001)
    assert (found.tasks, found.seconds, found.most_useful) == (4, 960, 2)
    assert found.longest_chain.tasks == ("LONG",)


def test_the_knee_is_the_smallest_number_within_a_tenth_of_the_shortest() -> None:
    tasks = [task(f"T{n}", estimate=100.0) for n in range(12)]
    batch, rolling = told(*tasks, now=3, up_to=6).knees
    assert batch == rolling.model_copy(update={"schedule": "batch"})
    assert (batch.max_concurrent, batch.seconds) == (6, 200)
    assert (batch.now, batch.seconds_now) == (3, 400)
    # 11 agents need two rounds as 6 do
    assert told(*tasks, now=3, up_to=11).knees[0].max_concurrent == 6


def test_a_duration_is_recorded_estimated_or_guessed_in_this_order() -> None:
    tasks = (
        task("DONE", estimate=5.0),
        task("REDO", estimate=5.0),
        task("ESTIMATED", estimate=7.0),
        task("UNKNOWN"),
        task("FAILED"),
    )
    records = {
        "DONE": done(seconds=30.0),
        "REDO": Record(attempts=1, seconds=50.0),
        "FAILED": Record(status=Status.FAILED, attempts=1),
    }
    found = told(*tasks, records=records)
    sources = found.durations
    assert (sources.recorded, sources.estimated, sources.guessed) == (1, 1, 2)
    assert (sources.guess, sources.guess_from) == (40, "median")
    assert found.seconds == 50 + 7 + 40 + 40
    assert told(*tasks, records=records, guess=1.0).durations.guess_from == "option"
    assert told(task("A")).durations.guess == GUESS


def test_completed_and_blocked_tasks_are_left_out_unless_the_whole_plan_is_asked() -> (
    None
):
    tasks = (
        task("DONE", source_status=Status.COMPLETED),
        task("SKIPPED", depends_on=("DONE",)),
        task("AFTER", depends_on=("SKIPPED",)),
        task("OPEN", depends_on=("DONE",)),
    )
    records = {"SKIPPED": Record(skipped=True), "DONE": done(seconds=9.0)}
    found = told(*tasks, records=records)
    assert (found.tasks, found.longest_chain.tasks) == (1, ("OPEN",))
    whole = told(*tasks, records=records, whole_plan=True)
    assert (whole.tasks, whole.longest_chain.tasks) == (2, ("DONE", "OPEN"))
    assert whole.durations.recorded == 1


def test_a_plan_with_nothing_left_has_a_forecast_of_nothing() -> None:
    found = told(task("A"), records={"A": done()})
    assert (found.tasks, found.seconds, found.rows[0].batch.seconds) == (0, 0, 0)


def test_the_cost_is_the_median_of_finished_tasks_for_each_one_left() -> None:
    tasks = [task(name) for name in "ABCD"]
    records = {
        "A": done(cost_usd=1.0),
        "B": Record(status=Status.COMPLETED, attempts=2, cost_usd=6.0),
    }
    assert told(*tasks, records=records).cost_usd == 4.0
    assert told(*tasks).cost_usd is None


def test_what_the_settings_say_is_in_the_table_and_what_is_left_out_in_notes() -> None:
    tasks = [task(f"T{n}", depends_on=(f"T{n - 1}",) if n else ()) for n in range(5)]
    found = told(*tasks, now=20, max_rounds=3, verify=True)
    assert [row.max_concurrent for row in found.rows] == [1, 2, 20]
    assert found.notes == (
        "limits.max_rounds ends a run by batches after 3 of its 5 batches",
        "verify is not in these times; rolling runs it more often",
    )


@pytest.mark.parametrize("verify", [False, True])
def test_job_starts_are_those_of_the_shipped_workflow_files(verify: bool) -> None:
    for rounds in (1, 5, 6, 11):
        assert job_starts(
            rounds, verify=verify, rounds_per_run=MOST_ROUNDS_PER_RUN
        ) == starts(rounds, verify=verify)


def test_actions_take_the_batches_and_their_job_starts() -> None:
    found = told(*UNEVEN, up_to=2, job_start=10.0, rounds_per_run=5)
    actions = found.rows[1].actions
    assert actions is not None
    assert (actions.seconds, actions.job_starts) == (970, 7)
    assert [knee.schedule for knee in found.knees] == ["batch", "rolling", "actions"]


@pytest.mark.parametrize("whole_plan", [False, True])
def test_what_waits_for_approval_is_not_in_the_times(whole_plan: bool) -> None:
    tasks = (
        task("A", estimate=60.0),
        task("B", estimate=120.0, depends_on=("A",), gate=True),
        task("C", estimate=180.0, depends_on=("B",)),
    )
    found = told(*tasks, whole_plan=whole_plan)
    assert (found.tasks, found.seconds) == (1, 60)
    [note] = found.notes
    assert note.startswith("B waits for approval; to let it start:  fanin approve B; ")
    approved = told(*tasks, records={"B": Record(gate=False)}, whole_plan=whole_plan)
    assert (approved.tasks, approved.notes) == (3, ())
