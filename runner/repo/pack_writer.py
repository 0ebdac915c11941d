"""Git packs made without git: of new objects, or of several packs, so that one
`index-pack` takes them all in.

A pack is a header with the number of objects, the objects, and a digest of all that.
Offsets inside it are relative, so the objects of several packs stand in one as they
are.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct(">4sII")


_KINDS = {"commit": 1, "tree": 2, "blob": 3}


def of(objects: Sequence[tuple[str, bytes]], algorithm: str) -> bytes:
    """A pack of objects, each given by its type and content."""
    whole = _HEADER.pack(b"PACK", 2, len(objects)) + b"".join(
        _head(kind, len(data)) + zlib.compress(data, 1) for kind, data in objects
    )
    return whole + hashlib.new(algorithm, whole, usedforsecurity=False).digest()


def _head(kind: str, size: int) -> bytes:
    """Type and size: four bits of the size beside the type, then seven in each byte,
    the highest bit says go on.
    """
    first, size = _KINDS[kind] << 4 | size & 15, size >> 4
    head = bytearray()
    while size:
        head.append(first | 128)
        first, size = size & 127, size >> 7
    return bytes([*head, first])


def join(packs: Sequence[tuple[Path, int]], sink: BinaryIO, algorithm: str) -> int:
    """Write the packs, each of at most so many bytes, as one; how many bytes that is.

    ValueError if one of them is no whole pack.
    """
    bodies = [_body(path, limit, algorithm) for path, limit in packs]
    digest = hashlib.new(algorithm, usedforsecurity=False)
    written = 0
    head = _HEADER.pack(b"PACK", 2, sum(count for count, _ in bodies))
    for part in (head, *(body for _, body in bodies)):
        digest.update(part)
        written += sink.write(part)
    return written + sink.write(digest.digest())


def _body(path: Path, limit: int, algorithm: str) -> tuple[int, bytes]:
    """How many objects the pack says it holds, and their bytes."""
    with path.open("rb") as stream:
        data = stream.read(limit + 1)
    end = len(data) - hashlib.new(algorithm, usedforsecurity=False).digest_size
    if len(data) > limit or end < _HEADER.size:
        raise ValueError(f"{path.name} is not as long as a pack may be")
    magic, version, count = _HEADER.unpack_from(data)
    if magic != b"PACK" or version != 2:
        raise ValueError(f"{path.name} is no pack")
    if hashlib.new(algorithm, data[:end], usedforsecurity=False).digest() != data[end:]:
        raise ValueError(f"{path.name} is damaged")
    return count, data[_HEADER.size : end]
