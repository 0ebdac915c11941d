"""Compares two trees without a process: only folders that differ are read, one level at a
time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from runner.policy.change import EXECUTABLE, GITLINK, REGULAR, SYMLINK, Change
from runner.repo.batch_process import Content, ObjectInfo
from runner.repo.objects import FOLDER, Entries, Entry, parse_tree

# Where more has to be read, git is faster.
_MAX_BYTES, _MAX_TREES = 2**18, 512
# Git shows the modes that old versions wrote as one of these.
_MODES = frozenset({REGULAR, EXECUTABLE, SYMLINK, GITLINK, FOLDER})


class Database(NamedTuple):
    """The questions that are asked: type and size of objects, and their contents."""

    infos: Callable[[Sequence[str]], Sequence[ObjectInfo | None]]
    contents: Callable[[Sequence[str]], Sequence[Content | None]]


class _Pair(NamedTuple):
    """The trees that two versions have at a folder; None: no folder is there."""

    folder: bytes
    old: str | None
    new: str | None


def tree_changes(database: Database, old: str, new: str) -> list[Change] | None:
    """The changes from one tree to another in the order of git, without sizes; None if
    git should be asked.
    """
    changes: list[Change] = []
    pairs = [_Pair(b"", old, new)]
    count = 0
    while pairs:
        ids = {each for pair in pairs for each in (pair.old, pair.new) if each}
        count += len(ids)
        trees = _read(database, sorted(ids)) if count <= _MAX_TREES else None
        if trees is None:
            return None
        below: list[_Pair] = []
        for pair in pairs:
            for path, before, after in _different(pair, trees):
                changes += _change(path, before, after)
                below += _below(path, before, after)
        pairs = below
    return sorted(changes, key=lambda change: os.fsencode(change.path))


def _read(database: Database, ids: Sequence[str]) -> dict[str, Entries] | None:
    infos = database.infos(ids)
    if any(info is None or info.kind != "tree" for info in infos):
        return None
    if sum(info.size for info in infos if info is not None) > _MAX_BYTES:
        return None
    trees = {}
    for object_id, content in zip(ids, database.contents(ids), strict=True):
        if content is None:
            return None
        entries = dict(parse_tree(content.data, len(object_id) // 2))
        if not _MODES.issuperset(mode for mode, _ in entries.values()):
            return None
        trees[object_id] = entries
    return trees


def _different(
    pair: _Pair, trees: dict[str, Entries]
) -> Iterator[tuple[bytes, Entry | None, Entry | None]]:
    """Each path in the folder that differs, with both of its entries."""
    old = trees[pair.old] if pair.old else {}
    new = trees[pair.new] if pair.new else {}
    for name in old.keys() | new.keys():
        before, after = old.get(name), new.get(name)
        if before != after:
            yield pair.folder + name, before, after


def _change(path: bytes, before: Entry | None, after: Entry | None) -> list[Change]:
    """The change of the file at the path, if there was or is one."""
    old = before if before and before[0] != FOLDER else None
    new = after if after and after[0] != FOLDER else None
    return [Change(os.fsdecode(path), old, new)] if old or new else []


def _below(path: bytes, before: Entry | None, after: Entry | None) -> list[_Pair]:
    """The folders at the path, if there was or is one."""
    old = before[1] if before and before[0] == FOLDER else None
    new = after[1] if after and after[0] == FOLDER else None
    return [_Pair(path + b"/", old, new)] if old or new else []
