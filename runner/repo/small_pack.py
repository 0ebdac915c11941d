"""Reads a small pack that nobody has checked, and says whether its objects are plain ones.

Plain is much less than what git accepts: whole blobs and trees, with names that are the
same to every file system. Of anything else, a broken pack as well, git is asked, which
has an error for it.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from runner.policy.change import EXECUTABLE, GITLINK, REGULAR, SYMLINK
from runner.repo.batch_process import Content
from runner.repo.objects import (
    FOLDER,
    Entry,
    encode_tree,
    object_id_of,
    parse_tree,
)
from runner.repo.pack_writer import HEADER, MAGIC, TYPES, VERSION

MAX_PACK_BYTES = 2**18
_MAX_BYTES = 2**21  # of all objects, inflated
_MAX_OBJECTS = 100
_KINDS = {number: kind for kind, number in TYPES.items() if kind != "commit"}
_MAX_SHIFT = 28  # a size with more bits is too large
_MODES = frozenset({REGULAR, EXECUTABLE, SYMLINK, GITLINK, FOLDER})
# Printable ASCII without what stands for something else on Windows: / : \ ~
_PLAIN_NAME = re.compile(rb"[ -.0-9;-\[\]-}]+")
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
    their files of attributes.
    """

    outside: dict[str, str]
    attributes: frozenset[str]


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
    offset, left = HEADER.size, _MAX_BYTES
    for _ in range(count):
        found = _read_object(pack, offset, end, left)
        if found is None:
            return None
        content, offset = found
        left -= len(content.data)
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
    for tree_id, (kind, data) in objects.items():
        entries = _plain_entries(data, len(tree_id) // 2) if kind == "tree" else []
        if entries is None:
            return None
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
    return Links(outside, frozenset(attributes))


def _plain_entries(data: bytes, id_length: int) -> list[tuple[bytes, Entry]] | None:
    """The entries of a tree, None if it is not a plain one."""
    try:
        entries = list(parse_tree(data, id_length))
    except ValueError:
        return None
    for name, (mode, object_id) in entries:
        if mode not in _MODES or len(object_id) != 2 * id_length:
            return None
        if not _is_plain(name, mode):
            return None
    # in git's order, and each name once
    return entries if encode_tree(dict(entries)) == data else None


def _is_plain(name: bytes, mode: str) -> bool:
    if not _PLAIN_NAME.fullmatch(name) or name in {b".", b".."}:
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
