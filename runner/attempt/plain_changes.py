"""Makes the tree of a checkout from its changed files, without an index.

Only where git would store the files as they are; else git should add them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import NamedTuple

from runner.attempt.captured_tree import NewObjects
from runner.attempt.workspace import Workspace, read_regular
from runner.core.errors import GitFailed
from runner.policy.change import EXECUTABLE, GITLINK, REGULAR, SYMLINK
from runner.policy.paths import refused_by_git
from runner.repo.batch_process import ObjectReader
from runner.repo.object_database import folders_of
from runner.repo.objects import (
    FOLDER,
    Entry,
    Objects,
    commit_links,
    object_id_of,
)

# More of them, and more bytes, git adds and packs faster.
_MAX_FILES, _MAX_BYTES = 500, 2**18
_ATTRIBUTES = ".gitattributes"
# In the names of attributes that change more than line ends: `filter`, `ident` and
# `working-tree-encoding`.
_CONVERSIONS = (b"filter", b"ident", b"encoding")
# Git has these in an index. It replaces others, which old versions wrote to trees.
_MODES = frozenset({REGULAR, EXECUTABLE, SYMLINK, GITLINK, FOLDER})
# Settings with which `git init` says that a file system does not keep what it is given.
_LIMITATIONS = (b"symlinks", b"ignorecase", b"precomposeunicode")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would hold us


class MadeTree(NamedTuple):
    """A tree, None if it is the base's, and the objects that were made for it."""

    tree: str | None
    new_objects: NewObjects | None = None


class _NotPlain(Exception):
    """Git should add the files."""


class _File(NamedTuple):
    """A regular file of the checkout."""

    mode: str
    data: bytes


def make_tree(
    workspace: Workspace,
    index_tree: str,
    paths: Sequence[bytes],
    trees: Mapping[str, bytes] = MappingProxyType({}),
) -> MadeTree | None:
    """The base's tree with what the checkout has at these paths; None if git should add
    them to the index, whose tree is `index_tree`. `trees` are known: id → content.
    """
    if not paths:
        return MadeTree(None)
    if len(paths) > _MAX_FILES or not keeps_what_it_is_given(workspace):
        return None
    try:
        root = os.open(workspace.checkout, _FOLDER_FLAGS)
    except OSError:
        return None
    try:
        with closing(ObjectReader(workspace.git)) as reader:
            maker = _Maker(workspace, reader, root, trees)
            return maker.make(index_tree, [os.fsdecode(path) for path in paths])
    except (_NotPlain, GitFailed, KeyError):  # KeyError: an object is not there
        return None
    finally:
        os.close(root)


def may_be_plain(workspace: Workspace) -> bool:
    """Whether the changes may be plain as far as the file system and the attributes at
    the top of the checkout say. Cheap: no process is started in vain for most others.
    """
    attributes = read_regular(workspace.checkout / _ATTRIBUTES, _MAX_BYTES) or b""
    has_conversions = any(each in attributes for each in _CONVERSIONS)
    return keeps_what_it_is_given(workspace) and not has_conversions


def keeps_what_it_is_given(workspace: Workspace) -> bool:
    """Whether the file system keeps modes and names as git stores them."""
    config = workspace.seed.files["config"]
    if b"filemode = true" not in config:
        return False
    return not any(limitation in config for limitation in _LIMITATIONS)


class _Maker:
    """Makes one tree of the files below `root`, the open checkout."""

    def __init__(
        self,
        workspace: Workspace,
        reader: ObjectReader,
        root: int,
        trees: Mapping[str, bytes],
    ) -> None:
        self._workspace, self._reader, self._root = workspace, reader, root
        self._known_trees = trees
        self._algorithm = workspace.object_format
        self._made: dict[str, tuple[str, bytes]] = {}
        self._objects = Objects(self._algorithm, self._read_objects, self._made.update)
        self._attributes: dict[str, bytes | None] = {}

    def make(self, base_tree: str, paths: Sequence[str]) -> MadeTree:
        """As `make_tree`. _NotPlain or KeyError if git should be asked."""
        if base_tree != (self._workspace.tree or self._tree_of_base()):
            raise _NotPlain
        changes: dict[str, Entry | None] = {}
        remaining = _MAX_BYTES
        max_bytes = self._workspace.limits.max_bytes
        if max_bytes is not None:
            remaining = min(max_bytes, remaining)
        for path in paths:
            old = self._entry(base_tree, path)
            file = _read(self._root, path, remaining)
            new = None
            if file is not None:
                remaining -= len(file.data)
                self._refuse_conversions(base_tree, path, file)
                new = file.mode, object_id_of("blob", file.data, self._algorithm)
            if new != old:
                changes[path] = new
                if file is not None:
                    self._objects.write("blob", file.data)
        if not changes:
            return MadeTree(None)
        tree = self._objects.edited(base_tree, changes)
        if tree == base_tree:
            return MadeTree(None)
        return MadeTree(tree, NewObjects(in_memory=self._made))

    def _tree_of_base(self) -> str:
        ((_, data),) = self._read_objects([self._workspace.base])
        return dict(commit_links(data))["tree"]

    def _read_objects(self, object_ids: Sequence[str]) -> list[tuple[str, bytes]]:
        missing = [each for each in object_ids if each not in self._known_trees]
        read: dict[str, tuple[str, bytes]] = {}
        if missing:
            contents = self._reader.contents(missing)
            for object_id, content in zip(missing, contents, strict=True):
                if content is None:
                    raise KeyError(object_id)
                read[object_id] = content
        known = self._known_trees
        return [read.get(each) or ("tree", known[each]) for each in object_ids]

    def _entry(self, tree: str, path: str) -> Entry | None:
        """What the tree has at the path, in folders that git would write the same."""
        if refused_by_git(path):  # such as a repository, whose path ends with a slash
            raise _NotPlain
        entry: Entry | None = (FOLDER, tree)
        for name in os.fsencode(path).split(b"/"):
            if entry is None or entry[0] != FOLDER:
                return None
            entries = self._objects.tree(entry[1])
            if not _MODES.issuperset(mode for mode, _ in entries.values()):
                raise _NotPlain
            entry = entries.get(name)
        if entry is not None and entry[0] in {FOLDER, GITLINK}:
            raise _NotPlain
        return entry

    def _refuse_conversions(self, tree: str, path: str, file: _File) -> None:
        """_NotPlain if attributes may say that git stores other bytes."""
        for folder in folders_of(path):
            if folder not in self._attributes:
                self._attributes[folder] = self._attributes_in(tree, folder)
            attributes = self._attributes[folder]
            if attributes is None:
                continue
            # Git changes the ends of lines to what most files have anyway.
            if b"\r" in file.data or any(each in attributes for each in _CONVERSIONS):
                raise _NotPlain

    def _attributes_in(self, tree: str, folder: str) -> bytes | None:
        """The attributes that git would read in a folder, None if there are none."""
        path = f"{folder}{_ATTRIBUTES}"
        file = _read(self._root, path, _MAX_BYTES)
        if file is not None:
            return file.data
        # git reads them in the index where the file is gone
        entry = self._find_file(tree, path)
        return self._objects.content(entry[1]) if entry is not None else None

    def _find_file(self, tree: str, path: str) -> Entry | None:
        entry = self._objects.find(tree, path)
        return None if entry is None or entry[0] == FOLDER else entry


def _read(root: int, path: str, max_bytes: int) -> _File | None:
    """The file at the path, None if nothing is there. _NotPlain if it is no regular
    file of at most that size, or is behind a link.
    """
    *folders, name = path.split("/")
    opened: list[int] = []
    try:
        parent = root
        for folder in folders:
            parent = os.open(folder, _FOLDER_FLAGS, dir_fd=parent)
            opened.append(parent)
        file = os.open(name, _FILE_FLAGS, dir_fd=parent)
        with open(file, "rb") as stream:  # noqa: PTH123
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
                raise _NotPlain
            data = stream.read(max_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError:
        raise _NotPlain from None
    finally:
        for descriptor in opened:
            os.close(descriptor)
    if len(data) > max_bytes:  # it grows
        raise _NotPlain
    mode = EXECUTABLE if status.st_mode & stat.S_IXUSR else REGULAR
    return _File(mode, data)
