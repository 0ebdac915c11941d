"""A merged batch on a newer head of the branch, without merging it again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from runner.config.settings import FILE
from runner.core import plan_paths
from runner.core.manifest import Manifest
from runner.fan_in.outcome import FanIn
from runner.fan_in.union import overlaps
from runner.policy.change import Change
from runner.policy.paths import Spellings
from runner.repo.repository import Repository


def replay(
    repo: Repository, manifest: Manifest, fan_in: FanIn, head: str
) -> FanIn | None:
    """The same fan-in on a newer head that changed other paths, None if the batch must
    be merged again.

    Fast, because a full merge may lose the race against rivals that push all the time.
    The commits equal those of a full merge: the paths are disjoint, and progress, plan
    and settings did not change. Never with a verification, which binds to the head.
    """
    if manifest.verify is not None or not fan_in.commits or fan_in.snapshot is None:
        return None
    parents = (fan_in.head, *fan_in.commits[:-1])
    changes_by_commit = {
        commit: repo.changes(parent, commit)
        for parent, commit in zip(parents, fan_in.commits, strict=True)
    }
    rival_paths = repo.changed_paths(fan_in.head, head)
    if not _can_replay(manifest, changes_by_commit.values(), rival_paths):
        return None
    commits = []
    parent = head
    for commit, changes in changes_by_commit.items():
        blobs = {change.path: change.new for change in changes}
        tree = repo.write_tree(parent, blobs)
        parent = repo.commit_tree(tree, [parent], repo.message(commit))
        commits.append(parent)
    snapshot = fan_in.snapshot._replace(commit=parent)
    return replace(fan_in, head=head, commits=tuple(commits), snapshot=snapshot)


def _can_replay(
    manifest: Manifest,
    changes_by_commit: Iterable[Sequence[Change]],
    rival_paths: Sequence[str],
) -> bool:
    """Whether the rival's paths have nothing to do with these changes."""
    for state_path in (manifest.plan.path, manifest.progress, FILE):
        if any(plan_paths.covers(state_path, path) for path in rival_paths):
            return False
    changes = list(itertools.chain.from_iterable(changes_by_commit))
    if overlaps(changes, rival_paths):
        return False
    clashes = Spellings(rival_paths).clashes(changes)
    return not any(clashes)
