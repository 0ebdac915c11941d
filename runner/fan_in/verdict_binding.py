"""Decides whether a verdict is about the tree that is to land.

It binds to the batch, the head and the merged tree. A head that has moved since does not
void it where only the progress and the plan's marks differ: what a person asks for, such
as `hold` or `approve`, is such a commit, and a batch must not wait for another one.
"""

from __future__ import annotations

from collections.abc import Collection

from runner.core.errors import FaninError
from runner.core.manifest import Manifest
from runner.core.result import Verdict
from runner.plan.snapshot import Snapshot, read_snapshot, write_progress_blobs
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository


def is_verified(
    repo: Repository,
    quarantine: Quarantine,
    manifest: Manifest,
    verdict: Verdict,
    snapshot: Snapshot,
    tree: str,
) -> bool:
    """Whether the verdict is about `tree`, the batch merged on the snapshot's commit.

    The commit that was verified need not be in the repository: then it is not.
    """
    if verdict.manifest != manifest.digest:
        return False
    if verdict.head == snapshot.commit:
        return verdict.tree == tree
    recorded = _recorded_since(repo, quarantine, manifest, verdict.head, snapshot)
    if recorded is None:
        return False
    trees = quarantine.tree_reader()
    before = repo.tree(verdict.head)
    as_then = {path: trees.find(before, path) for path in recorded}
    return quarantine.write_tree(tree, as_then) == verdict.tree


def _recorded_since(
    repo: Repository,
    quarantine: Quarantine,
    manifest: Manifest,
    verified: str,
    snapshot: Snapshot,
) -> Collection[str] | None:
    """The files of the progress and of the plan's marks, if the snapshot's commit has
    nothing else that the commit `verified` has not; None if it has.
    """
    # The verdict comes from a job with foreign code: its head may be any text.
    if repo.commit(verified) != verified:
        return None
    try:
        before = read_snapshot(
            repo, verified, manifest.plan, manifest.progress, manifest.task_rules
        )
    except FaninError:
        return None
    blobs = write_progress_blobs(
        quarantine, before, snapshot.progress, manifest.progress
    )
    recorded = quarantine.write_tree(repo.tree(verified), blobs)
    return blobs.keys() if recorded == quarantine.tree(snapshot.commit) else None
