"""What a run has spent, when its rounds are merged again: each agent counts once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runner.actions.merge_report import LandedBatch, MergeReport
from runner.actions.open_run import RunAtHead
from runner.actions.round_state import RoundState
from runner.core.result import Failure, FailureKind, Question, Result, Usage
from runner.core.task import AgentSettings
from runner.fan_in.outcome import FanIn
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.snapshot import Snapshot
from tests.support import builders

MANIFEST = builders.manifest(builders.entry(), run="1", round=2)


def result(kind: FailureKind | None, run_attempt: int) -> Result:
    usage = Usage(cost_usd=1.0)
    if kind is None:
        return builders.result(run_attempt=run_attempt, usage=usage)
    failure = Failure(kind=kind, message="m")
    return builders.result(run_attempt=run_attempt, usage=usage, failure=failure)


def state_after(
    kind: FailureKind | None,
    merged: dict[str, int],
    *,
    run_attempt: int = 1,
    github_run: str = "1",
) -> RoundState:
    """The state after round 2 with one result of `run_attempt`, in GitHub's attempt 3.

    `kind` is its failure in the merge. The run had spent $5.
    """
    fan_in = FanIn("0" * 40, results=(result(kind, run_attempt),))
    if kind is not None:
        failed = {"T1": Failure(kind=kind, message="m")}
        fan_in = FanIn("0" * 40, results=fan_in.results, failed=failed)
    state = RoundState(run="1", round=2, spent_usd=5.0, slots=8, merged=merged)
    batch = LandedBatch("main", fan_in, RunAtHead(state))
    report = MergeReport(MANIFEST, state, batch, github_run, run_attempt=3)
    return report.next_state


KINDS = [
    None,
    FailureKind.TIMEOUT,
    FailureKind.STALE,
    FailureKind.USAGE_LIMIT,
    FailureKind.RATE_LIMIT,
    FailureKind.BASE_RED,
    FailureKind.INTERRUPTED,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("merged", "run_attempt", "spent"),
    [
        ({}, 1, 6.0),
        # What an agent writes about its run attempt hides no cost.
        ({}, 0, 6.0),
        ({"1.1": 1, "1.3": 2}, 1, 6.0),
        ({"1.2": 1}, 1, 5.0),
        ({"1.2": 2}, 1, 5.0),
        ({"1.2": 1}, 2, 6.0),
        ({"1.2": 1}, 3, 6.0),
        ({"1.2": 3}, 3, 5.0),
    ],
)
def test_a_result_is_paid_for_by_the_first_merge_that_has_it(
    kind: FailureKind | None, merged: dict[str, int], run_attempt: int, spent: float
) -> None:
    state = state_after(kind, merged, run_attempt=run_attempt)
    assert state.spent_usd == spent
    assert state.merged == {**merged, "1.2": 3}


def test_a_batch_that_lost_its_round_to_that_of_another_workflow_run_is_paid_for() -> (
    None
):
    # Run 9 of the workflow went on with run 1 and landed a batch of its round 2.
    state = state_after(FailureKind.STALE, {"9.2": 1})
    assert state.spent_usd == 6.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_round_that_is_merged_again_changes_the_pace_only_if_an_agent_has_run(
    kind: FailureKind | None,
) -> None:
    is_limit = kind is FailureKind.RATE_LIMIT
    again = state_after(kind, {"1.2": 2})
    assert (again.slots, again.limited) == (8, 0)
    new = state_after(kind, {"1.2": 2}, run_attempt=3)
    assert (new.slots, new.limited) == ((4, 1) if is_limit else (9, 0))
    assert again.limits == {}
    assert bool(new.limits) == (kind is FailureKind.USAGE_LIMIT)


CLAUDE, CODEX = "claude", "codex"


@pytest.mark.parametrize(
    ("agents", "own_agent", "again"),
    [
        ([CLAUDE], None, False),
        ([CLAUDE, CODEX], None, True),
        ([CLAUDE], CODEX, True),
        ([CLAUDE], CLAUDE, False),
    ],
    ids=["limited", "fallback", "another agent", "the same agent"],
)
def test_no_round_follows_where_every_ready_task_waits_for_a_usage_limit(
    agents: list[str], own_agent: str | None, again: bool
) -> None:
    now = datetime(2026, 7, 19, 18, 0, tzinfo=UTC)
    limited = Failure(
        kind=FailureKind.USAGE_LIMIT, message="m", resets_at="2026-07-19T20:30:00Z"
    )
    entry = builders.entry(agent=AgentSettings.model_validate(agents).each[0])
    own = AgentSettings(preset=own_agent) if own_agent else None
    plan = builders.plan(builders.task("T2", agent=own))
    fan_in = FanIn(
        "0" * 40,
        failed={"T1": limited},
        results=(builders.result(failure=limited),),
        snapshot=Snapshot(
            "0" * 40, plan, TaskGraph(plan.tasks, plan.path), Progress("tasks.yml")
        ),
    )
    state = RoundState(run="1", round=2)
    report = MergeReport(
        builders.manifest(entry, run="1", round=2),
        state,
        LandedBatch("main", fan_in, RunAtHead(state)),
        "1",
        1,
        now,
    )
    outputs = report.outputs(again=report.again)
    record = report.run_record()
    until = "" if again else "2026-07-19T20:30:15.000Z"
    assert outputs["again"] == ("true" if again else "false")
    assert outputs["waiting"] == until
    assert (record.waits_until, record.ended) == (until or None, None)
    assert list(record.limits) == ["claude"]


ASKED = Record(attempts=1, questions=(Question(attempt=1, text="Which?"),))


@pytest.mark.parametrize(
    ("record", "failed", "exit_code", "waiting"),
    [
        (Record(), False, 0, "approval"),
        (Record(), True, 1, "approval"),
        (ASKED, False, 0, "answer"),
    ],
    ids=["gates alone", "a failure", "a question"],
)
def test_what_is_left_waits_for_a_person(
    record: Record, failed: bool, exit_code: int, waiting: str
) -> None:
    gated = builders.task("T2", gate=True)
    plan = builders.plan(gated, builders.task("T3", depends_on=("T2",)))
    if failed:
        plan = builders.plan(*plan.tasks, builders.task("T4"))
    records = {"T2": record, "T4": Record(skipped=None, final=failed)}
    progress = Progress("tasks.yml", records)
    graph = TaskGraph(plan.tasks, plan.path)
    fan_in = FanIn(
        "0" * 40,
        landed=("T1",),
        results=(builders.result(),),
        snapshot=Snapshot("0" * 40, plan, graph, progress),
    )
    state = RoundState(run="1", round=2)
    batch = LandedBatch("main", fan_in, RunAtHead(state))
    report = MergeReport(MANIFEST, state, batch, "1", 1)
    assert not report.again
    assert report.outputs(again=False)["waiting"] == waiting
    assert report.run_record().ended == "what is left waits for a person"
    assert report.exit_code() == exit_code
