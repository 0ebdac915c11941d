"""Git packs made without git: of new objects, or of several packs, so that one
`index-pack` takes them all in.

A pack is a header with the number of objects, the objects, and a digest of all that.
Offsets inside it are relative, so the objects of several packs can be copied into one
as they are.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct(">4sII")  # "PACK", version, number of objects
_MAGIC, _VERSION = b"PACK", 2
_TYPES = {"commit": 1, "tree": 2, "blob": 3}


def make_pack(objects: Sequence[tuple[str, bytes]], algorithm: str) -> bytes:
    """A pack of objects, each given by its type and content.

    `algorithm` is the repository's object format, here and below.
    """
    parts = [_HEADER.pack(_MAGIC, _VERSION, len(objects))]
    for kind, data in objects:
        parts += [_object_header(kind, len(data)), zlib.compress(data, 1)]
    pack = b"".join(parts)
    return pack + _digest(pack, algorithm)


def _object_header(kind: str, size: int) -> bytes:
    """Type and size: four bits of the size beside the type, then seven in each byte.
    The highest bit says that another byte follows.
    """
    byte, size = _TYPES[kind] << 4 | size & 15, size >> 4
    header = bytearray()
    while size:
        header.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    header.append(byte)
    return bytes(header)


def join_packs(
    packs: Sequence[tuple[Path, int]], sink: BinaryIO, algorithm: str
) -> int:
    """Write several packs as one to `sink`, and return its size in bytes.

    `packs` are files with their greatest sizes in bytes. Raises ValueError if one of
    them is larger, damaged, or not a pack.
    """
    bodies = [_body(path, max_size, algorithm) for path, max_size in packs]
    count = sum(objects for objects, _ in bodies)
    digest = hashlib.new(algorithm, usedforsecurity=False)
    size = 0
    for part in (
        _HEADER.pack(_MAGIC, _VERSION, count),
        *(body for _, body in bodies),
    ):
        digest.update(part)
        size += sink.write(part)
    return size + sink.write(digest.digest())


def _body(path: Path, max_size: int, algorithm: str) -> tuple[int, bytes]:
    """The number of objects in a pack, and their bytes."""
    with path.open("rb") as stream:
        pack = stream.read(max_size + 1)
    end = len(pack) - len(_digest(b"", algorithm))
    if len(pack) > max_size or end < _HEADER.size:
        raise ValueError(f"{path.name} does not have the size of a pack")
    magic, version, count = _HEADER.unpack_from(pack)
    if magic != _MAGIC or version != _VERSION:
        raise ValueError(f"{path.name} is not a pack")
    if _digest(pack[:end], algorithm) != pack[end:]:
        raise ValueError(f"{path.name} is damaged")
    return count, pack[_HEADER.size : end]


def _digest(data: bytes, algorithm: str) -> bytes:
    return hashlib.new(algorithm, data, usedforsecurity=False).digest()
