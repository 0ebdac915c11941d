"""Finds files that a task added in a folder which another task moved.

Pure. The file stays where its task put it: git's guess that it should move as well is
off, so a person is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from runner.policy.change import Change


def left_behind(
    changes_by_owner: Mapping[str, Sequence[Change]],
    base_paths: Callable[[], Iterable[str]],
) -> list[str]:
    """A sentence for each file that one owner added in a folder that another moved.

    An owner is a task id, or "" for the branch. `base_paths` lists the files that all
    of them started from; it is called only if a folder seems to have moved.
    """
    sentences = []
    for mover, mover_changes in changes_by_owner.items():
        for old, new in _moved_folders(mover_changes, base_paths).items():
            for owner, changes in changes_by_owner.items():
                if owner == mover:
                    continue
                for change in changes:
                    is_inside = change.path.rpartition("/")[0] == old
                    if change.is_added and is_inside:
                        who = mover or "the branch"
                        sentences.append(
                            f"{change.path} was added in {old}/, which {who} moved to "
                            f"{new}/; it stays in {old}/"
                        )
    return sentences


def _moved_folders(
    changes: Sequence[Change], base_paths: Callable[[], Iterable[str]]
) -> dict[str, str]:
    """Folders without any file left of the base → where most of their files are now."""
    added: dict[tuple[str, str], list[str]] = {}  # (mode, object id) → paths
    for change in changes:
        if change.is_added and change.new is not None:
            added.setdefault(change.new, []).append(change.path)
    votes: dict[str, Counter[str]] = {}
    deleted = set()
    for change in changes:
        if change.old is None or change.new is not None:
            continue
        deleted.add(change.path)
        for target in added.get(change.old, ()):
            for old, new in _folders_above(change.path, target):
                votes.setdefault(old, Counter())[new] += 1
    if not votes:
        return {}
    kept = {
        folder
        for path in base_paths()
        if path not in deleted
        for folder in _parents(path)
    }
    return {
        old: counts.most_common(1)[0][0]
        for old, counts in votes.items()
        if old not in kept
    }


def _folders_above(old: str, new: str) -> Iterable[tuple[str, str]]:
    """The folders that have moved if `old` is `new` now: as long as the rest below them
    is the same.
    """
    while True:
        old, _, old_name = old.rpartition("/")
        new, _, new_name = new.rpartition("/")
        if not old or not new or old == new or old_name != new_name:
            return
        yield old, new


def _parents(path: str) -> Iterable[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
