"""What a run takes of the requests that wait, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.core.task import Plan, PlanSettings, Status
from runner.local.journal import Journal
from runner.local.request_context import TakenRequests
from runner.local.requests import take_requests
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.requests import Request, RetryRequest, SkipRequest
from runner.plan.snapshot import Snapshot
from tests.support.builders import task

PLAN = PlanSettings(path="tasks.yml")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def snapshot(**records: Record) -> Snapshot:
    plan = Plan(path="tasks.yml", source="native", tasks=(task("A"), task("B")))
    graph = TaskGraph(plan.tasks, plan.path)
    return Snapshot("c0", plan, graph, Progress("tasks.yml", records))


def skip(*ids: str, branch: str = "main", progress: str = "p.json") -> SkipRequest:
    return SkipRequest(branch=branch, plan=PLAN, progress=progress, tasks=ids)


def retry(*ids: str) -> RetryRequest:
    return RetryRequest(branch="main", plan=PLAN, progress="p.json", tasks=ids)


def take(journal: Journal, before: Snapshot, *running: str) -> TakenRequests:
    return take_requests(journal, before, "main", "p.json", 3, running)


def left(journal: Journal) -> list[Request]:
    return list(journal.requests.read().values())


def skipped(taken: TakenRequests, task_id: str) -> bool:
    progress = taken.snapshot.progress
    return bool(progress.record(taken.snapshot.graph.tasks[task_id]).skipped)


def test_a_request_moves_from_the_folder_to_the_journal(journal: Journal) -> None:
    before = snapshot()
    request_id = journal.requests.add(skip("A"))
    taken = take(journal, before)
    assert skipped(taken, "A")
    assert [changes.id for changes in taken.changes] == [request_id]
    assert taken.notes == ("as asked for: skip A",)
    assert left(journal) == []
    [unrecorded] = journal.state().unrecorded
    assert unrecorded.changes == taken.changes[0]
    assert take(journal, before).changes == ()


def test_what_is_for_another_branch_or_plan_is_left(journal: Journal) -> None:
    requests = [skip("A", branch="other"), skip("A", progress="other.json")]
    for request in requests:
        journal.requests.add(request)
    assert take(journal, snapshot()).changes == ()
    assert left(journal) == requests


def test_what_is_for_a_branch_goes_where_its_work_waits(journal: Journal) -> None:
    journal.record("waiting", branch="main", on="fanin/r1")
    journal.requests.add(skip("A"))
    assert take(journal, snapshot()).changes == ()
    taken = take_requests(journal, snapshot(), "fanin/r1", "p.json", 3)
    assert skipped(taken, "A")


def test_a_request_for_a_running_task_waits_and_later_ones_do_not_overtake_it(
    journal: Journal,
) -> None:
    requests: list[Request] = [skip("A", "B"), retry("B")]
    for request in requests:
        journal.requests.add(request)
    held = take(journal, snapshot(), "A")
    assert held.changes == ()
    assert left(journal) == requests
    taken = take(journal, snapshot())
    assert skipped(taken, "A")
    assert not skipped(taken, "B")


def test_what_cannot_be_done_any_more_is_a_note(journal: Journal) -> None:
    journal.requests.add(skip("A"))
    done = Record(status=Status.COMPLETED, attempts=1)
    taken = take(journal, snapshot(A=done))
    assert taken.notes == ("not done, as asked for: skip A: A is completed",)
    assert taken.changes == ()
    assert left(journal) == []
    assert journal.state().unrecorded == ()


def test_one_that_the_journal_has_already_is_only_removed(journal: Journal) -> None:
    """The run was killed before it removed the file."""
    journal.requests.add(skip("A"))
    file = next(journal.requests.folder.glob("*.json"))
    text = file.read_bytes()
    take(journal, snapshot())
    file.write_bytes(text)
    assert take(journal, snapshot()).changes == ()
    assert left(journal) == []
    assert len(journal.state().unrecorded) == 1
