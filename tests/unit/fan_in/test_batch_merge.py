"""Whom a conflict with the branch is put down to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.core.task import Status
from runner.fan_in import batch_merge
from runner.fan_in.batch_merge import BatchMerge
from runner.fan_in.context import BatchContext
from runner.fan_in.inputs import BatchResults
from runner.plan.progress import Progress
from runner.plan.records import Record
from tests.support.builders import entry, manifest, task
from tests.support.queue_snapshots import snapshot

CHANGED = Record(status=Status.COMPLETED, attempts=1, changed=("x +1 -1",))


@pytest.mark.parametrize(
    ("is_in_base", "changed_by"),
    [(lambda task_id: task_id == "A", "B"), (lambda _: False, "A")],
)
def test_what_the_base_has_did_not_land_since(
    is_in_base: Callable[[str], bool],
    changed_by: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The file at the base says nothing of what a rolling run has merged before it.
    stale = Progress("tasks.yml")
    monkeypatch.setattr(batch_merge, "read_progress", lambda *_: stale)
    head = Progress("tasks.yml", {"B": CHANGED, "A": CHANGED})
    batch = BatchContext.__new__(BatchContext)
    batch.manifest = manifest(entry(task("C")))
    batch.repo = None  # type: ignore[assignment]
    batch.results = BatchResults(batch.manifest, Path(), is_in_base=is_in_base)
    batch.snapshot = snapshot(task("A"), task("B"), task("C"), progress=head)
    merge = BatchMerge(batch, None)  # type: ignore[arg-type]
    assert merge._landed_since_base == {"x": changed_by}
