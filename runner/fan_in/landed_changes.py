"""Records what each task of a batch that lands has changed, if its commits and the
progress in them do not say it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from runner.core import result_folder
from runner.core.manifest import Manifest
from runner.core.result_folder import Reading
from runner.fan_in import landing_record
from runner.fan_in.importing import PackImporter
from runner.fan_in.own_files import own_files
from runner.fan_in.undo import Landed, Step, changes_by_task
from runner.plan.progress import Progress
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository

if TYPE_CHECKING:
    from runner.fan_in.outcome import FanIn

MergedBatch: TypeAlias = (
    "tuple[Manifest, Path, FanIn]"  # with the folder of its results
)


def record_landing(
    repo: Repository,
    batches: Sequence[MergedBatch],
    progress: Progress,
    head: str,
    commits: Sequence[str],
) -> list[str]:
    """Record what the tasks of these batches have changed, by commits on `head`, if
    `progress`, which lands with them, does not say it. The refs of the record.
    """
    record = landing_commit(repo, batches, progress, head, commits[-1])
    if record is None:
        return []
    refs = [landing_record.name(commit) for commit in commits]
    refs = [ref for ref in refs if repo.set_ref(ref, record)]
    repo.sync_refs(refs)
    return refs


def landing_commit(
    repo: Repository,
    batches: Sequence[MergedBatch],
    progress: Progress,
    head: str,
    tip: str,
) -> str | None:
    """The commit that records what the tasks have changed between `head` and `tip`; None
    if `progress` says it, or if a folder of results is gone.
    """
    landed = [task for _, _, fan_in in batches for task in fan_in.landed]
    if len(landed) < 2:
        return None
    manifest = batches[0][0]
    before, after = repo.tree(head), repo.tree(tip)
    is_own = own_files(manifest.never, manifest.progress)
    changes = [
        change for change in repo.changes(before, after) if not is_own(change.path)
    ]
    changed = {task: progress.records[task].changed for task in landed}
    if changes_by_task(changes, changed) is not None:
        return None
    with repo.quarantine() as quarantine:
        steps: list[Step] = []
        for batch in batches:
            steps += _steps(repo, quarantine, *batch)
        if len(steps) < len(landed):
            return None
        record = landing_record.write(quarantine, Landed(before, after, tuple(steps)))
        quarantine.adopt([record], [])
    return record


def _steps(
    repo: Repository,
    quarantine: Quarantine,
    manifest: Manifest,
    results: Path,
    fan_in: FanIn,
) -> Iterable[Step]:
    """The own changes of the batch's tasks, in the order in which they were merged."""
    base = repo.tree(manifest.base)
    importer = PackImporter(quarantine, base, manifest.limits.size)
    readings = {
        entry.task.id: result_folder.read(results, manifest, entry)
        for entry in manifest.entries
    }
    for task in fan_in.landed:
        tree = _tree(importer, readings[task], base)
        if tree is None:
            continue
        left_out = dict.fromkeys(fan_in.left_out.get(task, ()))
        if left_out:
            trees = quarantine.tree_reader()
            blobs = {path: trees.find(base, path) for path in left_out}
            tree = quarantine.write_tree(tree, blobs)
        yield Step(task, base, tree)


def _tree(importer: PackImporter, reading: Reading, base: str) -> str | None:
    if reading.result is None:
        return None
    if reading.result.tree is None:
        return base
    if importer.import_one(reading) is not None:
        return None
    return reading.result.tree
