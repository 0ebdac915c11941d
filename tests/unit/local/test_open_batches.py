"""How far the batches of a rolling run are, from start to merge."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.core.clock import SystemClock
from runner.core.manifest import Manifest
from runner.core.result import Result
from runner.local.open_batches import OpenBatches
from runner.plan.graph import TaskGraph
from runner.plan.snapshot import Snapshot
from tests.support.builders import entry, manifest, task

TASKS = [task(task_id) for task_id in "ABC"]
A, B, C = (manifest(entry(each), round=n) for n, each in enumerate(TASKS, 1))
WORK = cast(Result, SimpleNamespace(succeeded=True))
NO_WORK = cast(Result, SimpleNamespace(succeeded=False))


class Landing:
    """What the landing queue says."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.is_due = False


@pytest.fixture
def landing() -> Landing:
    return Landing()


def started(landing: Landing, slots: int = 2) -> OpenBatches:
    context: Any = SimpleNamespace(
        settings=SimpleNamespace(slots=slots, max_concurrent=slots),
        lander=SimpleNamespace(verify_seconds=None),
        clock=SystemClock(),
        draining=threading.Event(),
    )
    batches = OpenBatches(context, cast(Any, landing))
    for each in (A, B, C):
        batches.start(each)
    return batches


def verify(batches: OpenBatches, *verified: Manifest, has_room: bool = True) -> None:
    batches.unmerged.remove(verified)
    merge: Any = SimpleNamespace(
        batches={each.batch for each in verified}, has_room_for=lambda _: has_room
    )
    batches.verifying = merge


def to_merge(batches: OpenBatches) -> list[str]:
    snapshot = SimpleNamespace(graph=TaskGraph(TASKS, "tasks.yml"))
    found = batches.to_merge(cast(Snapshot, snapshot))
    return [each.batch for each in found]


def test_a_slot_is_free_once_an_agent_has_exited_or_its_work_waits(
    landing: Landing,
) -> None:
    batches = started(landing)
    used = [batches.used_slots]
    batches.leave_slot(A)
    used.append(batches.used_slots)
    batches.add_result(A, WORK)  # once
    batches.add_result(B, WORK)
    used.append(batches.used_slots)
    batches.add_result(C, NO_WORK)
    used.append(batches.used_slots)
    batches.close(A)
    used.append(batches.used_slots)
    assert used == [3, 2, 1, 1, 1]


def test_with_one_slot_the_next_task_waits_for_the_merge(landing: Landing) -> None:
    batches = started(landing, slots=1)
    batches.add_result(A, WORK)
    verify(batches, A)
    assert (batches.used_slots, batches.used_slots_if_green) == (3, 2)
    batches.close(A)
    assert batches.used_slots == 2


def test_a_batch_is_at_work_until_it_has_a_result(landing: Landing) -> None:
    batches = started(landing)
    batches.add_result(A, WORK)
    batches.add_result(B, NO_WORK)
    batches.leave_slot(C)
    verify(batches, A)
    assert batches.at_work == {C.batch}
    assert batches.in_verify == {A.batch}
    assert batches.used_slots_if_green == 1  # B's, until its failure is recorded


def test_a_head_lacks_the_work_of_what_is_not_merged_in_it(landing: Landing) -> None:
    batches = started(landing)
    batches.leave_slot(C)
    batches.add_result(A, WORK)
    assert [each.id for each in batches.tasks_without(set())] == ["A", "B", "C"]
    assert batches.exited_without(set()) == ["A", "C"]
    assert [each.id for each in batches.tasks_without({A.batch})] == ["B", "C"]
    assert batches.exited_without({A.batch}) == ["C"]


def test_there_are_none_once_all_are_merged_and_nothing_is_verified(
    landing: Landing,
) -> None:
    batches = started(landing)
    verify(batches)
    for each in (A, B, C):
        batches.close(each)
    empty = [batches.is_empty]
    batches.verifying = None
    empty.append(batches.is_empty)
    assert empty == [False, True]


def test_nothing_is_merged_beside_what_has_no_room_or_before_a_landing_that_is_due(
    landing: Landing,
) -> None:
    batches = started(landing)
    assert to_merge(batches) == []
    batches.add_result(A, WORK)
    assert to_merge(batches) == [A.batch]
    verify(batches, B)
    assert to_merge(batches) == [A.batch]
    landing.is_due = True
    assert to_merge(batches) == []
    landing.is_due = False
    verify(batches, B, has_room=False)
    assert to_merge(batches) == []


def test_merges_lag_behind_once_twice_as_many_results_wait_as_there_are_slots(
    landing: Landing,
) -> None:
    batches = started(landing, slots=1)
    batches.add_result(A, WORK)
    lag = [batches.merges_lag_behind]
    batches.add_result(B, WORK)
    lag.append(batches.merges_lag_behind)
    assert lag == [False, True]
