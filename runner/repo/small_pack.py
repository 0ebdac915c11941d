"""Reads a small pack that nobody has checked, and says whether its objects are plain ones.

Plain is much less than what git accepts: whole blobs and trees, with names that are the
same to every file system. Of anything else, a broken pack as well, git is asked, which
has an error for it.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from runner.policy.change import EXECUTABLE, GITLINK, REGULAR, SYMLINK
from runner.repo.batch_process import Content
from runner.repo.objects import (
    FOLDER,
    Entry,
    Tree,
    object_id_of,
    parse_tree,
    sort_key,
)
from runner.repo.pack_writer import HEADER, MAGIC, TYPES, VERSION

MAX_PACK_BYTES = 2**18
_MAX_BYTES = 2**21  # of all objects, inflated
_MAX_OBJECTS = 100
_KINDS = {number: kind for kind, number in TYPES.items() if kind != "commit"}
_MAX_SHIFT = 28  # a size with more bits is too large
_MODES = frozenset({REGULAR, EXECUTABLE, SYMLINK, GITLINK, FOLDER})
# Printable ASCII without what stands for something else on Windows: / : \ ~
_PLAIN_NAMES = re.compile(rb"(?:[ -.0-9;-\[\]-}]+/)*")
# Of the names that begin so, git checks some.
_GIT_NAME = b".git"
ATTRIBUTES = b".gitattributes"
_PLAIN_GIT_FOLDER = b".github"
_PLAIN_GIT_NAMES = frozenset(
    {ATTRIBUTES, b".gitignore", b".gitkeep", b".gitlab-ci.yml"}
)
# git ignores longer lines of attributes, and refuses them from others
_MAX_ATTRIBUTE_LINE = 2000


class Links(NamedTuple):
    """What trees name: the type of each object that is none of theirs, and the ids of
    their files of attributes. `trees` are they themselves.
    """

    outside: dict[str, str]
    attributes: frozenset[str]
    trees: dict[str, Tree]

    def unchanged(self, base: str, tree: str, read: Callable[[str], Tree]) -> set[str]:
        """The ids that `tree` has where tree `base` has them as well.

        `read` gives the trees that `base` reaches. A tree counts at its first place alone:
        anyone could put a large one at every place.
        """
        found: set[str] = set()
        waiting = [(base, tree)]
        seen = {tree}
        while waiting:
            old, new = waiting.pop()
            entries = self.trees.get(new)
            if entries is None:
                continue
            before = read(old)
            found.update(entries[name][1] for name in entries.same(before))
            for name in entries.different(before):
                mode, each = entries.get(name, ("", ""))
                old_mode, below = before.get(name, ("", ""))
                if mode == old_mode == FOLDER and each not in seen:
                    seen.add(each)
                    waiting.append((below, each))
        return found


def read(pack: bytes, algorithm: str) -> dict[str, Content] | None:
    """The objects of a pack by their ids; None if git should be asked about it."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    end = len(pack) - digest.digest_size
    if len(pack) > MAX_PACK_BYTES or end < HEADER.size:
        return None
    magic, version, count = HEADER.unpack_from(pack)
    if (magic, version) != (MAGIC, VERSION) or count > _MAX_OBJECTS:
        return None
    digest.update(pack[:end])
    if digest.digest() != pack[end:]:
        return None
    objects: dict[str, Content] = {}
    offset, remaining = HEADER.size, _MAX_BYTES
    for _ in range(count):
        found = _read_object(pack, offset, end, remaining)
        if found is None:
            return None
        content, offset = found
        remaining -= len(content.data)
        objects[object_id_of(content.kind, content.data, algorithm)] = content
    return objects if offset == end and len(objects) == count else None


def _read_object(
    pack: bytes, offset: int, end: int, max_bytes: int
) -> tuple[Content, int] | None:
    """The object at the offset, and where the next one begins."""
    byte = pack[offset] if offset < end else 0
    kind, size, shift = _KINDS.get(byte >> 4 & 7), byte & 15, 4
    while byte & 0x80:
        offset += 1
        if offset >= end or shift > _MAX_SHIFT:
            return None
        byte = pack[offset]
        size |= (byte & 0x7F) << shift
        shift += 7
    if kind is None or size > max_bytes:
        return None
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(memoryview(pack)[offset + 1 : end], size + 1)
    except zlib.error:
        return None
    if not inflater.eof or len(data) != size:
        return None
    return Content(kind, data), end - len(inflater.unused_data)


def links(objects: Mapping[str, Content]) -> Links | None:
    """What the trees among the objects name; None if git should be asked about them."""
    outside: dict[str, str] = {}
    attributes: set[str] = set()
    trees: dict[str, Tree] = {}
    for tree_id, (kind, data) in objects.items():
        if kind != "tree":
            continue
        entries = _plain_entries(data, len(tree_id) // 2)
        if entries is None:
            return None
        trees[tree_id] = Tree.parse(data, len(tree_id) // 2)
        for name, (mode, object_id) in entries:
            if mode == GITLINK:
                continue
            linked = "tree" if mode == FOLDER else "blob"
            inside = objects.get(object_id)
            known = inside.kind if inside else outside.setdefault(object_id, linked)
            if known != linked:
                return None
            if name == ATTRIBUTES:
                attributes.add(object_id)
    return Links(outside, frozenset(attributes), trees)


def _plain_entries(data: bytes, id_length: int) -> list[tuple[bytes, Entry]] | None:
    """The entries of a tree, None if it is not a plain one."""
    try:
        entries = parse_tree(data, id_length)
    except ValueError:
        return None
    names = b"".join([name + b"/" for name, _ in entries])
    if not _PLAIN_NAMES.fullmatch(names) or names.count(b"/") != len(entries):
        return None
    for name, (mode, _) in entries:
        if mode not in _MODES:
            return None
        if name.startswith(b".") and not _is_plain_dot_name(name, mode):
            return None
    # in git's order, and each name once
    keys = [sort_key(entry) for entry in entries]
    if keys != sorted(set(keys)) or len(dict(entries)) != len(entries):
        return None
    return entries


def _is_plain_dot_name(name: bytes, mode: str) -> bool:
    if name in {b".", b".."}:
        return False
    if not name.lower().startswith(_GIT_NAME):
        return True
    if mode == FOLDER:
        return name == _PLAIN_GIT_FOLDER
    return name in _PLAIN_GIT_NAMES and mode in {REGULAR, EXECUTABLE}


def are_plain_attributes(data: bytes) -> bool:
    """Whether git takes a file of attributes from others."""
    if len(data) > MAX_PACK_BYTES:
        return False
    return all(len(line) <= _MAX_ATTRIBUTE_LINE for line in data.split(b"\n"))
