"""Git objects, read and written without a process for each.

A tree is rewritten along the changed paths only, so that uniting results costs what
they changed, not what the repository holds. Old trees are asked for level by level and
new ones handed over together, because a question and an answer between two processes
take longer than the work.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from runner.core.errors import GitFailed
from runner.policy.paths import refused_by_git
from runner.repo.environment import AUTHOR

Entry = tuple[str, str]  # mode and object id
Entries = dict[bytes, Entry]  # name → what a tree has there
# object ids → their types and contents; KeyError for one that is not there
Read = Callable[[Sequence[str]], list[tuple[str, bytes]]]
# object id → its type and content
NewObjects = Mapping[str, tuple[str, bytes]]
Store = Callable[[NewObjects], object]  # adds objects
StorePack = Callable[[bytes], object]  # adds the objects of a pack
WriteFile = Callable[[Path, bytes], object]  # makes a file with that content
FOLDER = "40000"
_SHA1_DIGITS = 40  # of an id, in hexadecimal
_MAX_CACHED = 2**17  # entries of trees that stay in memory, some 30 MB
_MAX_LOOSE = 8  # this many new objects become files of their own, more of them a pack


def _entry_pattern(id_length: int) -> re.Pattern[bytes]:
    """Matches an entry of a tree: MODE, space, name, NUL, binary id. The groups are all
    of it and its name.

    What is none matches whole to the end: from each later place it would take as long
    again to see that.
    """
    entry = rb"[^ \0]* ([^\0]*)\0.{%d}" % id_length
    return re.compile(rb"(?s)(%s)|(.+)" % entry)


_ENTRY = {length: _entry_pattern(length) for length in (20, 32)}


class _Edit:
    """The changes at one name, and below it.

    If `is_target`, the name gets `entry`, or is removed where that is None.
    `adds_below`: some name below it gets an entry. `made` is the tree with the changes
    below it, once that is written; None for an empty one.
    """

    def __init__(self) -> None:
        self.below: dict[bytes, _Edit] = {}
        self.is_target = False
        self.entry: Entry | None = None
        self.adds_below = False
        self.made: str | None = None


class Tree(Mapping[bytes, Entry]):
    """What a tree has at each name.

    The entries are kept as git writes them, because few of them are ever looked at.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: dict[bytes, bytes] | None = None) -> None:
        """`raw` is name → entry as it is in the data, in its order."""
        self._raw = raw or {}

    @classmethod
    def parse(cls, data: bytes, id_length: int) -> Tree:
        """The tree with this content. ValueError if that is no tree."""
        return cls({name: raw for raw, name, _ in _raw_entries(data, id_length)})

    def __getitem__(self, name: bytes) -> Entry:
        return _decode(name, self._raw[name])

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def different(self, other: Tree) -> set[bytes]:
        """The names at which the two have not the same."""
        return {name for name, _ in self._raw.items() ^ other._raw.items()}

    def same(self, other: Tree) -> set[bytes]:
        """The names at which both have the same."""
        return {name for name, _ in self._raw.items() & other._raw.items()}

    def edited(self, changes: Mapping[bytes, Entry | None]) -> Tree:
        """The tree with each name set to an entry, or removed where that is None."""
        raw = dict(self._raw)
        is_in_order = True
        for name, entry in changes.items():
            old = self.get(name)
            if entry is None:
                raw.pop(name, None)
                continue
            raw[name] = _encode(name, entry)
            # a folder has another place than a file of its name
            is_in_order &= old is not None and (old[0] == FOLDER) == (
                entry[0] == FOLDER
            )
        if not is_in_order:
            new = Tree(raw)
            raw = {name: raw[name] for name, _ in sorted(new.items(), key=sort_key)}
        return Tree(raw)

    def data(self) -> bytes:
        """The content of the tree."""
        return b"".join(self._raw.values())


class TreeCache:
    """Trees that have been read. An object never changes."""

    def __init__(self) -> None:
        self._trees: dict[str, Tree] = {}
        self._size = 0  # entries of all trees

    def __contains__(self, tree: str) -> bool:
        return tree in self._trees

    def __getitem__(self, tree: str) -> Tree:
        return self._trees[tree]

    def __setitem__(self, tree: str, entries: Tree) -> None:
        if tree not in self._trees:
            self._size += len(entries)
        self._trees[tree] = entries

    def trim(self) -> None:
        """Forget the trees if they are many. What reads several does so before it."""
        if self._size > _MAX_CACHED:
            self._trees.clear()
            self._size = 0


class TreeReader:
    """Reads trees, and what is in them, through `read`."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.trees = TreeCache()

    def content(self, object_id: str) -> bytes:
        """The content of an object. Raises KeyError if it is not there."""
        ((_, data),) = self._read([object_id])
        return data

    def tree(self, object_id: str) -> Tree:
        """The entries of a tree. Raises KeyError if there is no such tree."""
        self.trees.trim()
        self._load([object_id])
        return self.trees[object_id]

    def _load(self, object_ids: Sequence[str]) -> None:
        """Read those of the trees that are not in memory."""
        distinct = dict.fromkeys(object_ids)
        missing = [tree for tree in distinct if tree not in self.trees]
        if not missing:
            return
        for object_id, (kind, data) in zip(missing, self._read(missing), strict=True):
            if kind != "tree":
                raise KeyError(object_id)
            self.trees[object_id] = Tree.parse(data, len(object_id) // 2)

    def find(self, tree: str, path: str) -> Entry | None:
        """The entry at `path`; None if it does not exist."""
        entry: Entry | None = (FOLDER, tree)
        for name in os.fsencode(path).split(b"/"):
            if entry is None or entry[0] != FOLDER:
                return None
            entry = self.tree(entry[1]).get(name)
        return entry


class Objects(TreeReader):
    """Also makes new objects: `store` gets them, many at once where they are made
    together.

    `algorithm` is the repository's object format.
    """

    def __init__(self, algorithm: str, read: Read, store: Store) -> None:
        super().__init__(read)
        self._algorithm, self._store = algorithm, store
        self._new: dict[str, tuple[str, bytes]] = {}

    def write(self, kind: str, data: bytes) -> str:
        """Write an object of this type and content, and return its id."""
        object_id = self._add(kind, data)
        self._flush()
        return object_id

    def _add(self, kind: str, data: bytes) -> str:
        """The id of a new object, which is written by the next `_flush`."""
        object_id = object_id_of(kind, data, self._algorithm)
        self._new[object_id] = (kind, data)
        return object_id

    def _flush(self) -> None:
        new, self._new = self._new, {}
        self._store(new)

    def commit(self, tree: str, *parents: str) -> str:
        """A commit for merge-tree to look at. It has no date and no author of its own,
        so that the same trees always make the same commit.
        """
        who = f"{AUTHOR['GIT_AUTHOR_NAME']} <{AUTHOR['GIT_AUTHOR_EMAIL']}> 0 +0000"
        lines = [
            f"tree {tree}",
            *(f"parent {parent}" for parent in parents),
            f"author {who}",
            f"committer {who}",
        ]
        text = "\n".join(lines) + "\n\nside\n"
        return self.write("commit", text.encode())

    def edited(self, base: str, changes: Mapping[str, Entry | None]) -> str:
        """The tree of `base` with each path set to (mode, object id), or removed where
        the value is None.

        Raises GitFailed for a path that git would not take, or that would be both a
        file and a folder.
        """
        root = _edit_of(changes)
        self.trees.trim()
        # The deepest trees first, without recursion: nobody limits the depth of a tree.
        for edit, tree in reversed(self._trees_to_change(base, root)):
            edit.made = self._apply(tree, edit)
        result = root.made or self._add("tree", b"")
        self._flush()
        return result

    def _trees_to_change(
        self, base: str, root: _Edit
    ) -> list[tuple[_Edit, str | None]]:
        """Every edit with changes below it and the tree that they change, None for a
        new one; parents first. The trees are read one level at a time.
        """
        found: list[tuple[_Edit, str | None]] = []
        level: list[tuple[_Edit, str | None]] = [(root, base)]
        while level:
            self._load([tree for _, tree in level if tree is not None])
            found += level
            next_level: list[tuple[_Edit, str | None]] = []
            for edit, tree in level:
                entries = self.trees[tree] if tree is not None else Tree()
                for name, child in edit.below.items():
                    if child.below and child.entry is None:
                        next_level.append((child, _folder(entries.get(name))))
            level = next_level
        return found

    def _apply(self, tree: str | None, edit: _Edit) -> str | None:
        """The tree with the changes below `edit`, whose trees are written already; None
        for an empty one, which git does not keep inside of another.
        """
        before = self.trees[tree] if tree is not None else Tree()
        after = before.edited(
            {
                name: _changed(name, before.get(name), child)
                for name, child in edit.below.items()
            }
        )
        if not after:
            return None
        object_id = self._add("tree", after.data())
        self.trees[object_id] = after
        return object_id


def _changed(name: bytes, old: Entry | None, edit: _Edit) -> Entry | None:
    """The entry that replaces `old`. As in an index, a new file replaces a folder of its
    name, and a new folder a file.
    """
    folder = _folder(old)
    if edit.entry is not None:
        if edit.adds_below:
            path = os.fsdecode(name)
            raise GitFailed(["mktree"], 1, f"{path!r} would be a file and a folder")
        return edit.entry
    inside = edit.made if edit.below else folder
    if inside is not None:
        return FOLDER, inside
    if edit.is_target or folder:
        return None
    return old


def _folder(entry: Entry | None) -> str | None:
    """The tree of an entry, None if it is no folder."""
    return entry[1] if entry is not None and entry[0] == FOLDER else None


def _edit_of(changes: Mapping[str, Entry | None]) -> _Edit:
    """The changes as a tree of names."""
    root = _Edit()
    for path, entry in changes.items():
        if entry is not None and (reason := refused_by_git(path)):
            raise GitFailed(["mktree"], 1, f"{path!r} {reason}")
        edit = root
        for name in os.fsencode(path).split(b"/"):
            edit.adds_below |= entry is not None
            edit = edit.below.setdefault(name, _Edit())
        edit.is_target, edit.entry = True, entry
    return root


def file_of(folder: Path, object_id: str) -> Path:
    """Where a folder of objects has the object as a file of its own."""
    return folder / object_id[:2] / object_id[2:]


def stored_in(
    folder: Path,
    algorithm: str,
    store_pack: StorePack,
    write_file: WriteFile | None = None,
) -> Store:
    """A store that gives objects files of their own below `folder`, or hands them to
    `store_pack` where they are many.

    `write_file` makes the file of an object; where other processes read, it must do so
    atomically and durably.
    """

    def store(objects: NewObjects) -> None:
        # a file takes an inode and an fsync, a pack a git process
        if len(objects) > _MAX_LOOSE:
            from runner.repo import pack_writer

            store_pack(pack_writer.make_pack(list(objects.values()), algorithm))
            return
        for object_id, (kind, data) in objects.items():
            write_loose(folder, object_id, kind, data, write_file)

    return store


def write_loose(
    folder: Path,
    object_id: str,
    kind: str,
    data: bytes,
    write_file: WriteFile | None = None,
) -> None:
    """Give the object a file of its own below the folder of objects, if it has none."""
    path = file_of(folder, object_id)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        # level 1: most of these objects live for one batch
        whole = zlib.compress(_with_header(kind, data), 1)
        (write_file or _write_new_file)(path, whole)


def _write_new_file(path: Path, data: bytes) -> None:
    """Enough in a quarantine, which no other process reads."""
    with open(path, "xb", opener=read_only) as file:
        file.write(data)


def read_only(path: str, flags: int) -> int:
    """Open a new file with the mode that git gives to objects."""
    return os.open(path, flags, 0o444)


def _with_header(kind: str, data: bytes) -> bytes:
    return b"%s %d\0%s" % (kind.encode(), len(data), data)


def format_of(object_id: str) -> str:
    """`sha1` or `sha256`, of which an id is: they differ in length."""
    return "sha1" if len(object_id) == _SHA1_DIGITS else "sha256"


def object_id_of(kind: str, data: bytes, algorithm: str) -> str:
    """The id of an object of this type and content."""
    whole = _with_header(kind, data)
    return hashlib.new(algorithm, whole, usedforsecurity=False).hexdigest()


def parse_tree(data: bytes, id_length: int) -> list[tuple[bytes, Entry]]:
    """Name and entry of each. ValueError if that is no tree."""
    return [
        (name, _decode(name, raw)) for raw, name, _ in _raw_entries(data, id_length)
    ]


def _raw_entries(data: bytes, id_length: int) -> list[tuple[bytes, bytes, bytes]]:
    """Each entry of a tree as it is, its name, and b""."""
    found = _ENTRY[id_length].findall(data)
    if found and found[-1][2]:
        raise ValueError("an entry of a tree ends early")
    return found


def _decode(name: bytes, raw: bytes) -> Entry:
    space = raw.index(b" ")
    return raw[:space].decode(), raw[space + len(name) + 2 :].hex()


def commit_links(data: bytes) -> list[tuple[str, str]]:
    """What a commit's header names: ("tree", its id), then ("parent", its id) for each."""
    header = data.partition(b"\n\n")[0].decode("ascii", "replace")
    fields = [line.partition(" ") for line in header.splitlines()]
    return [(name, each) for name, _, each in fields if name in {"tree", "parent"}]


def encode_tree(entries: Entries) -> bytes:
    """The content of a tree."""
    ordered = sorted(entries.items(), key=sort_key)
    return b"".join(_encode(name, entry) for name, entry in ordered)


def _encode(name: bytes, entry: Entry) -> bytes:
    mode, object_id = entry
    return b"%s %s\0%s" % (mode.encode(), name, bytes.fromhex(object_id))


def sort_key(item: tuple[bytes, Entry]) -> bytes:
    """Git's order: a folder's name counts as if a slash followed it."""
    name, (mode, _) = item
    return name + b"/" if mode == FOLDER else name
