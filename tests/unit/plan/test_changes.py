"""Changes that the branch lacks yet count once, whatever the branch has of them."""

from __future__ import annotations

import pytest

from runner.core.errors import Problem
from runner.core.result import Failure, FailureKind
from runner.core.task import Plan, Status
from runner.plan.changes import (
    ChangeSet,
    FailedAttempt,
    apply_changes,
    parse_changes,
    unrecorded_failures,
)
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.snapshot import Snapshot
from tests.support.builders import task

WHY = Failure(kind=FailureKind.TIMEOUT, message="too slow")


def failed(attempt: int, task_id: str = "A") -> ChangeSet:
    change = FailedAttempt(task=task_id, attempt=attempt, failure=WHY)
    return ChangeSet(f"run.{task_id}{attempt}", (change,))


def snapshot(**records: Record) -> Snapshot:
    plan = Plan(path="tasks.yml", source="native", tasks=(task("A"), task("B")))
    graph = TaskGraph(plan.tasks, plan.path)
    return Snapshot("c0", plan, graph, Progress("tasks.yml", records))


def attempts(of: Snapshot, task_id: str = "A") -> int:
    return of.progress.record(of.graph.tasks[task_id]).attempts


def test_failed_attempts_count_in_their_order() -> None:
    before = snapshot()
    applied = apply_changes(before, [failed(1), failed(2)])
    assert applied.ids == ["run.A1", "run.A2"]
    assert attempts(applied.snapshot) == 2
    assert applied.snapshot.recorded is before.progress
    assert unrecorded_failures(applied.snapshot) == {"A": WHY}


@pytest.mark.parametrize("recorded", [1, 2, 3])
def test_what_the_branch_has_already_does_not_count_again(recorded: int) -> None:
    record = Record(status=Status.FAILED, attempts=recorded)
    applied = apply_changes(snapshot(A=record), [failed(1), failed(2)])
    assert applied.ids == ["run.A1", "run.A2"]
    assert attempts(applied.snapshot) == max(recorded, 2)


def test_what_follows_attempts_that_are_not_there_yet_waits() -> None:
    applied = apply_changes(snapshot(), [failed(2), failed(1, "B")])
    assert applied.ids == ["run.B1"]
    assert attempts(applied.snapshot) == 0
    again = apply_changes(applied.snapshot, [failed(1), failed(2)])
    assert attempts(again.snapshot) == 2


def test_the_order_of_sets_does_not_matter_where_one_follows_the_other() -> None:
    """A rolling run writes a request into the journal before the failure it follows."""
    applied = apply_changes(snapshot(), [failed(3), failed(1), failed(2)])
    assert applied.ids == ["run.A3", "run.A1", "run.A2"]
    assert attempts(applied.snapshot) == 3


def test_beside_a_broken_plan_a_task_that_is_gone_waits() -> None:
    problem = Problem("tasks.yml", 3, "broken", "")
    before = snapshot()._replace(problems=(problem,))
    applied = apply_changes(before, [failed(1), failed(1, "gone")])
    assert applied.ids == ["run.A1"]


def test_a_completed_task_and_one_that_is_gone_stay_as_they_are() -> None:
    done = Record(status=Status.COMPLETED, attempts=1)
    before = snapshot(A=done)
    applied = apply_changes(before, [failed(2), failed(1, "gone")])
    assert applied.ids == ["run.A2", "run.gone1"]
    assert applied.snapshot is before
    assert unrecorded_failures(before) == {}


def test_changes_are_read_as_they_were_written() -> None:
    [change] = failed(1).changes
    [again] = parse_changes([change.model_dump(mode="json")])
    assert again == change


@pytest.mark.parametrize("document", [None, 1, [{}], [{"task": "A", "attempt": "x"}]])
def test_other_documents_are_no_changes(document: object) -> None:
    with pytest.raises(TypeError):
        parse_changes(document)
