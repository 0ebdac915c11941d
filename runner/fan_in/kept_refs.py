"""The refs that keep work which did not land: their names, and which of them a task has.

    refs/fanin/kept/<task>/a<attempt>-<batch>

`<task>` is the id as far as a ref may have it, and a digest: another branch or another
plan may have a task of the same id.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from runner.core.documents import digest_of
from runner.core.manifest import BatchEntry, Manifest
from runner.core.patterns import lazy_pattern
from runner.core.task import Status

if TYPE_CHECKING:
    from runner.fan_in.outcome import FanIn

ROOT = "refs/fanin/kept"
_OTHER = lazy_pattern(r"[^A-Za-z0-9_-]+")
_BATCH = lazy_pattern(r"/a\d+-(?P<run>[^/]+?)\.\d+(?:\.\d+)?$")
_MAX_ID = 40  # characters
_DIGEST = 8  # characters


def name(manifest: Manifest, entry: BatchEntry) -> str:
    """The ref that keeps the work of an entry's attempt."""
    folder = folder_of(manifest, entry.task.id)
    return f"{folder}/a{entry.attempt}-{manifest.batch}"


def folder_of(manifest: Manifest, task_id: str, branch: str | None = None) -> str:
    """The folder of refs that keep the work of a task's attempts.

    `branch` is the one that they were for, None for the batch's own.
    """
    return folder(branch or manifest.branch, manifest.plan.path, task_id)


def folder(branch: str, plan_path: str, task_id: str) -> str:
    """The same for the plan at a path."""
    readable = _OTHER().sub("-", task_id).strip("-")[:_MAX_ID] or "task"
    digest = digest_of([branch, plan_path, task_id])[:_DIGEST]
    return f"{ROOT}/{readable}-{digest}"


def runs(refs: Iterable[str]) -> set[str]:
    """The ids of the runs whose batches made these refs."""
    ids = set()
    for ref in refs:
        match = _BATCH().search(ref)
        if match:
            ids.add(match["run"])
    return ids


def completed(manifest: Manifest, fan_in: FanIn) -> list[BatchEntry]:
    """The entries whose task is completed by their attempt, now or when the batch was
    merged before. What was kept of their tasks is of no more use.
    """
    if fan_in.snapshot is None:
        return []
    records = fan_in.snapshot.progress.records
    entries = []
    for entry in manifest.entries:
        record = records.get(entry.task.id)
        # The work of a result that came too late has just been kept.
        if record is None or entry.task.id in fan_in.failed:
            continue
        if record.status is Status.COMPLETED:
            entries.append(entry)
    return entries
