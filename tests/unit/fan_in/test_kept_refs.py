"""The refs that keep work: a task's are found by its id, and only its own."""

from __future__ import annotations

import pytest

from runner.core.result import Failure, FailureKind
from runner.core.task import Status
from runner.fan_in import kept_refs
from runner.fan_in.outcome import FanIn
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.snapshot import Snapshot
from tests.support.builders import BASE, entry, manifest, plan, task


@pytest.mark.parametrize(
    "task_id", ["T1", "feat/login", "a:b", "..", "Größe", "x" * 200]
)
def test_a_ref_has_a_plain_name_in_the_folder_of_its_task(task_id: str) -> None:
    batch = manifest(entry(task(task_id), attempt=3))
    ref = kept_refs.name(batch, batch.entries[0])
    folder = kept_refs.folder_of(batch, task_id)
    assert ref == f"{folder}/a3-{batch.batch}"
    assert folder.startswith("refs/fanin/kept/")
    assert folder.isascii()
    name = folder.rpartition("/")[2]
    assert len(name) <= 60
    assert not set(name) & set(" ~^:?*[\\.")


def test_another_id_plan_or_branch_has_another_folder() -> None:
    batch = manifest(entry())
    folders = {
        kept_refs.folder_of(batch, "a/b"),
        kept_refs.folder_of(batch, "a b"),
        kept_refs.folder_of(manifest(entry(), branch="other"), "a b"),
        kept_refs.folder_of(manifest(entry(), plan="other.yml"), "a b"),
    }
    assert len(folders) == 4
    assert kept_refs.folder_of(batch, "a b", "other") in folders


def test_only_what_is_kept_of_completed_tasks_is_of_no_more_use() -> None:
    tasks = [task(name) for name in ("landed", "before", "late", "open")]
    batch = manifest(*(entry(one, index=i) for i, one in enumerate(tasks)))
    done = Record(status=Status.COMPLETED, attempts=1)
    records = {"landed": done, "before": done, "late": done, "open": Record()}
    whole = plan(*tasks)
    graph = TaskGraph(tasks, "tasks.yml")
    snapshot = Snapshot(BASE, whole, graph, Progress("tasks.yml", records))
    stale = Failure(kind=FailureKind.STALE, message="the task is already completed")
    fan_in = FanIn(BASE, landed=("landed",), failed={"late": stale}, snapshot=snapshot)
    completed = kept_refs.completed(batch, fan_in)
    assert [each.task.id for each in completed] == ["landed", "before"]


def test_a_ref_tells_its_run() -> None:
    first = manifest(entry(), run="20260101-000000-ab12")
    again = first.model_copy(update={"run_attempt": 2})
    refs = [kept_refs.name(batch, batch.entries[0]) for batch in (first, again)]
    assert [kept_refs.runs([ref]) for ref in refs] == [{"20260101-000000-ab12"}] * 2
    assert kept_refs.runs(["refs/heads/main"]) == set()
