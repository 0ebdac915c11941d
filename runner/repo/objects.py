"""Git objects of a quarantine, read and written without a process for each.

A tree is rewritten along the changed paths only, so that uniting results costs what
they changed, not what the repository holds. Old trees are asked for level by level and
new ones handed over together, because a question and an answer between two processes
take longer than the work.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.core.errors import GitFailed
from runner.policy.paths import unusable_name
from runner.repo import pack_writer
from runner.repo.command import AUTHOR

Blob = tuple[str, str]  # mode and object id
# object ids → their types and contents
Read = Callable[[Sequence[str]], list[tuple[str, bytes]]]
Store = Callable[[bytes], object]  # takes a pack in
Put = Callable[[Path, bytes], object]  # makes a file with that content
Entries = dict[bytes, Blob]
FOLDER = "40000"
_KEPT_TREES = 4096  # trees kept in memory between two edits
_FEW = 8  # this many new objects become files of their own, more of them a pack


@dataclass
class _Step:
    """One name on the way to changed paths: `leaf` is what shall stand there (None:
    nothing) if `said`.
    """

    below: dict[bytes, _Step] = field(default_factory=dict)
    said: bool = False
    leaf: Blob | None = None

    def adds_below(self) -> bool:
        return any(
            child.leaf is not None or child.adds_below()
            for child in self.below.values()
        )


class Objects:
    """Reads through `read`, writes below `folder` or through `store`; `algorithm` is
    the repository's object format.

    `put` makes a file of its own of an object, where others read too: whole, and on the
    disk when it returns.
    """

    def __init__(
        self,
        folder: Path,
        algorithm: str,
        read: Read,
        store: Store,
        *,
        put: Put | None = None,
    ) -> None:
        self._put = put or _put
        self._folder, self._algorithm, self._read, self._store = (
            folder,
            algorithm,
            read,
            store,
        )
        self._trees: dict[str, Entries] = {}
        self._new: dict[str, tuple[str, bytes]] = {}

    def write(self, kind: str, data: bytes) -> str:
        """The id of the object of this type and content, which is there afterwards."""
        object_id = self._add(kind, data)
        self._flush()
        return object_id

    def _add(self, kind: str, data: bytes) -> str:
        """The id of a new object, which is there after the next `_flush`."""
        whole = b"%s %d\0%s" % (kind.encode(), len(data), data)
        object_id = hashlib.new(
            self._algorithm, whole, usedforsecurity=False
        ).hexdigest()
        self._new[object_id] = (kind, data)
        return object_id

    def _flush(self) -> None:
        if len(self._new) > _FEW:
            self._store(pack_writer.of(list(self._new.values()), self._algorithm))
        else:
            for object_id, (kind, data) in self._new.items():
                self._write_loose(
                    object_id, b"%s %d\0%s" % (kind.encode(), len(data), data)
                )
        self._new.clear()

    def _write_loose(self, object_id: str, whole: bytes) -> None:
        path = self._folder / object_id[:2] / object_id[2:]
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            self._put(path, zlib.compress(whole, 1))

    def content(self, object_id: str) -> bytes:
        return self._read([object_id])[0][1]

    def commit(self, tree: str, *parents: str) -> str:
        """A commit that only lends merge-tree its shape: of nobody, at no time, so the
        same one every time.
        """
        who = f"{AUTHOR['GIT_AUTHOR_NAME']} <{AUTHOR['GIT_AUTHOR_EMAIL']}> 0 +0000"
        above = "".join(f"parent {parent}\n" for parent in parents)
        return self.write(
            "commit",
            f"tree {tree}\n{above}author {who}\ncommitter {who}\n\nside\n".encode(),
        )

    def tree(self, object_id: str) -> Entries:
        """What a tree holds: name → mode and object id. KeyError if there is no such
        tree.
        """
        self._load([object_id])
        return self._trees[object_id]

    def _load(self, ids: Sequence[str]) -> None:
        unknown = [
            object_id
            for object_id in dict.fromkeys(ids)
            if object_id not in self._trees
        ]
        for object_id, (kind, data) in zip(
            unknown, self._read(unknown) if unknown else (), strict=True
        ):
            if kind != "tree":
                raise KeyError(object_id)
            self._trees[object_id] = dict(_entries(data, len(object_id) // 2))

    def find(self, tree: str, path: str) -> Blob | None:
        """Mode and object id of what stands at `path`, None if nothing does."""
        found: Blob | None = (FOLDER, tree)
        for name in os.fsencode(path).split(b"/"):
            if found is None or found[0] != FOLDER:
                return None
            found = self.tree(found[1]).get(name)
        return found

    def edited(self, base: str, changes: Mapping[str, Blob | None]) -> str:
        """The tree that is `base` with each path set to (mode, object id), or removed
        where None.

        GitFailed for a path that git would not take, or that shall be a file and a
        folder at once.
        """
        root = _Step()
        for path, new in changes.items():
            if new is not None and (reason := unusable_name(path)):
                raise GitFailed(["mktree"], 1, f"{path!r} {reason}")
            step = root
            for name in os.fsencode(path).split(b"/"):
                step = step.below.setdefault(name, _Step())
            step.said, step.leaf = True, new
        if len(self._trees) > _KEPT_TREES:
            self._trees.clear()
        self._load_along(base, root)
        tree = self._apply(base, root) or self._add("tree", b"")
        self._flush()
        return tree

    def _load_along(self, base: str, root: _Step) -> None:
        """Read every tree that the changes pass through, one level at a time."""
        level = [(base, root)]
        while level:
            self._load([tree for tree, _ in level])
            below = []
            for tree, step in level:
                entries = self._trees[tree]
                for name, child in step.below.items():
                    here = entries.get(name)
                    if child.below and here is not None and here[0] == FOLDER:
                        below.append((here[1], child))
            level = below

    def _apply(self, tree: str | None, step: _Step) -> str | None:
        """The tree with the changes below `step`; None for an empty one, which git does
        not keep in another.
        """
        entries = dict(self.tree(tree)) if tree is not None else {}
        for name, child in step.below.items():
            here = entries.pop(name, None)
            new = self._changed(name, here, child)
            if new is not None:
                entries[name] = new
        if not entries:
            return None
        object_id = self._add("tree", _encoded(entries))
        self._trees[object_id] = entries
        return object_id

    def _changed(self, name: bytes, here: Blob | None, child: _Step) -> Blob | None:
        """What stands at the name after the change, where `here` stood before: as in an
        index, the new replaces it.
        """
        folder = here[1] if here and here[0] == FOLDER else None
        inside = self._apply(folder, child) if child.below else folder
        if child.leaf is not None:
            if child.adds_below():
                raise GitFailed(
                    ["mktree"], 1, f"{os.fsdecode(name)!r} would be a file and a folder"
                )
            return child.leaf
        if inside is not None:
            return FOLDER, inside
        return None if child.said or folder else here


def _put(path: Path, data: bytes) -> None:
    """As it is good enough in a quarantine, which is this process's alone."""
    with open(path, "xb", opener=read_only) as file:
        file.write(data)


def read_only(path: str, flags: int) -> int:
    """Open a new file with the mode that git gives to objects."""
    return os.open(path, flags, 0o444)


def _entries(data: bytes, width: int) -> Iterator[tuple[bytes, Blob]]:
    at = 0
    while at < len(data):
        space, end = data.index(b" ", at), data.index(b"\0", at)
        yield (
            data[space + 1 : end],
            (data[at:space].decode(), data[end + 1 : end + 1 + width].hex()),
        )
        at = end + 1 + width


def _encoded(entries: Entries) -> bytes:
    """In git's order: by name, a folder's as if a slash ended it."""
    ordered = sorted(
        entries.items(),
        key=lambda item: item[0] + b"/" if item[1][0] == FOLDER else item[0],
    )
    return b"".join(
        b"%s %s\0%s" % (mode.encode(), name, bytes.fromhex(oid))
        for name, (mode, oid) in ordered
    )
