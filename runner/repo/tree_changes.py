"""Compares trees with another one without a process: only folders that differ are read,
one level at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from runner.policy.change import EXECUTABLE, GITLINK, REGULAR, SYMLINK, Change
from runner.repo.batch_process import Content, ObjectInfo
from runner.repo.objects import FOLDER, Entry, Tree, TreeCache

# Where more has to be read, git is faster.
_MAX_BYTES, _MAX_TREES = 2**18, 512
_MAX_UNASKED = 4  # trees that are read without a question for their sizes
# Git shows the modes that old versions wrote as one of these.
_MODES = frozenset({REGULAR, EXECUTABLE, SYMLINK, GITLINK, FOLDER})


class Database(NamedTuple):
    """The questions that are asked: type and size of objects, and their contents.

    `trees` has those of which neither is asked, and gets all that are read.
    """

    infos: Callable[[Sequence[str]], Sequence[ObjectInfo | None]]
    contents: Callable[[Sequence[str]], Sequence[Content | None]]
    trees: TreeCache


class _Pair(NamedTuple):
    """The trees that two versions have at a folder; None: no folder is there. `number` is
    that of the comparison which this is part of.
    """

    number: int
    folder: bytes
    old: str | None
    new: str | None


def tree_changes(
    database: Database, old: str, trees: Sequence[str]
) -> list[list[Change]] | None:
    """The changes from tree `old` to each of the trees in the order of git, without sizes;
    None if git should be asked.
    """
    cache = database.trees
    cache.trim()
    changes: list[list[Change]] = [[] for _ in trees]
    pairs = [_Pair(number, b"", old, new) for number, new in enumerate(trees)]
    count = 0
    while pairs:
        ids = {each for pair in pairs for each in (pair.old, pair.new) if each}
        count += len(ids)
        if count > _MAX_TREES or not _read(database, sorted(ids)):
            return None
        below: list[_Pair] = []
        for pair in pairs:
            for path, before, after in _different(pair, cache):
                if any(entry and entry[0] not in _MODES for entry in (before, after)):
                    return None
                changes[pair.number] += _change(path, before, after)
                below += _below(pair.number, path, before, after)
        pairs = below
    return [
        sorted(each, key=lambda change: os.fsencode(change.path)) for each in changes
    ]


def _read(database: Database, ids: Sequence[str]) -> bool:
    """Read those of the trees that are not in memory. False if git should be asked."""
    trees = database.trees
    missing = [each for each in ids if each not in trees]
    if len(missing) > _MAX_UNASKED:
        infos = database.infos(missing)
        if any(info is None or info.kind != "tree" for info in infos):
            return False
        if sum(info.size for info in infos if info is not None) > _MAX_BYTES:
            return False
    read: dict[str, bytes] = {}
    for object_id, content in zip(missing, database.contents(missing), strict=True):
        if content is None or content.kind != "tree":
            return False
        read[object_id] = content.data
    if sum(map(len, read.values())) > _MAX_BYTES:
        return False
    for object_id, data in read.items():
        trees[object_id] = Tree.parse(data, len(object_id) // 2)
    return True


def _different(
    pair: _Pair, trees: TreeCache
) -> list[tuple[bytes, Entry | None, Entry | None]]:
    """Each path in the folder that differs, with both of its entries."""
    old = trees[pair.old] if pair.old else Tree()
    new = trees[pair.new] if pair.new else Tree()
    return [
        (pair.folder + name, old.get(name), new.get(name))
        for name in old.different(new)
    ]


def _change(path: bytes, before: Entry | None, after: Entry | None) -> list[Change]:
    """The change of the file at the path, if there was or is one."""
    old = before if before and before[0] != FOLDER else None
    new = after if after and after[0] != FOLDER else None
    return [Change(os.fsdecode(path), old, new)] if old or new else []


def _below(
    number: int, path: bytes, before: Entry | None, after: Entry | None
) -> list[_Pair]:
    """The folders at the path, if there was or is one."""
    old = before[1] if before and before[0] == FOLDER else None
    new = after[1] if after and after[0] == FOLDER else None
    return [_Pair(number, path + b"/", old, new)] if old or new else []
