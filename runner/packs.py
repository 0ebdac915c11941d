"""Several git packs joined to one, so that one `index-pack` checks them all.

A pack is a header with the number of objects, the objects, and a digest of all that. Offsets inside it are relative,
so the objects of several packs stand in one as they are.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct(">4sII")


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
