"""Git packs made without git: of new objects, with an index or without, or of several
packs, so that one `index-pack` takes them all in.

A pack is a header with the number of objects, the objects, and a digest of all that.
Offsets inside it are relative, so the objects of several packs can be copied into one
as they are.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

HEADER = struct.Struct(">4sII")  # "PACK", version, number of objects
MAGIC, VERSION = b"PACK", 2
TYPES = {"commit": 1, "tree": 2, "blob": 3}
_DELTA = 7  # an object that is made of another one, which the entry names by its id
_INDEX_START = b"\xfftOc\0\0\0\2"  # with the version of the format
_NUMBER = struct.Struct(">I")
_IDS_START = len(_INDEX_START) + 256 * _NUMBER.size  # where an index has the ids
_MAX_OFFSET = 2**31 - 1  # further ones are in another table


def make_pack(objects: Sequence[tuple[str, bytes]], algorithm: str) -> bytes:
    """A pack of objects, each given by its type and content.

    `algorithm` is the repository's object format, here and below.
    """
    parts = [HEADER.pack(MAGIC, VERSION, len(objects))]
    parts += [make_entry(kind, data) for kind, data in objects]
    pack = b"".join(parts)
    return pack + _digest(pack, algorithm)


def make_entry(kind: str, data: bytes) -> bytes:
    """An object as a pack has it."""
    # level 1: git compresses anew what it keeps
    return _object_header(TYPES[kind], len(data)) + zlib.compress(data, 1)


def make_delta_entry(base: str, delta: bytes) -> bytes:
    """An object as a pack has it that has its base too."""
    header = _object_header(_DELTA, len(delta)) + bytes.fromhex(base)
    return header + zlib.compress(delta)


class IndexedPack(NamedTuple):
    """A pack, its index, and the name that the files of both have."""

    name: str
    pack: bytes
    idx: bytes


def make_indexed_pack(entries: Mapping[str, bytes], algorithm: str) -> IndexedPack:
    """A pack of the entries, which are given by the ids of their objects. What is made of
    another object names it by its id, and the pack has it too.
    """
    ids = sorted(entries)
    parts = [HEADER.pack(MAGIC, VERSION, len(ids))]
    offset = HEADER.size
    offsets = []
    for object_id in ids:
        offsets.append(offset)
        parts.append(entries[object_id])
        offset += len(entries[object_id])
    if offset > _MAX_OFFSET:
        raise ValueError("the pack is too large for its index")
    pack = b"".join(parts)
    digest = _digest(pack, algorithm)
    checksums = [zlib.crc32(entries[object_id]) for object_id in ids]
    index = b"".join(
        [
            _INDEX_START,
            _fanout(ids),
            *map(bytes.fromhex, ids),
            _numbers(checksums),
            _numbers(offsets),
            digest,
        ]
    )
    return IndexedPack(digest.hex(), pack + digest, index + _digest(index, algorithm))


def read_entries(pack: bytes, index: bytes, algorithm: str) -> dict[str, bytes]:
    """The entries of a pack that `make_indexed_pack` has made.

    Raises ValueError if it is damaged.
    """
    length = len(_digest(b"", algorithm))
    if pack[-length:] != index[-2 * length : -length]:
        raise ValueError("the index is not that of the pack")
    if _digest(pack[:-length], algorithm) != pack[-length:]:
        raise ValueError("the pack is damaged")
    ids = ids_in(index, algorithm)
    count = len(ids)
    # after the ids and as many checksums
    offsets = struct.unpack_from(
        f">{count}I", index, _IDS_START + count * (length + _NUMBER.size)
    )
    ends = sorted([*offsets, len(pack) - length])
    next_of = dict(itertools.pairwise(ends))
    return {
        object_id: pack[offset : next_of[offset]]
        for object_id, offset in zip(ids, offsets, strict=True)
    }


def ids_in(index: bytes, algorithm: str) -> list[str]:
    """The ids of the objects in a pack, by its index. ValueError if that is another one."""
    if index[:8] != _INDEX_START or len(index) < _IDS_START:
        raise ValueError("not the index of a pack")
    length = len(_digest(b"", algorithm))
    (count,) = _NUMBER.unpack_from(index, _IDS_START - _NUMBER.size)
    end = _IDS_START + count * length
    return [index[at : at + length].hex() for at in range(_IDS_START, end, length)]


def _fanout(ids: Sequence[str]) -> bytes:
    """For each first byte of an id, how many of the sorted ids begin with it or less."""
    counts = [0] * 256
    for object_id in ids:
        counts[int(object_id[:2], 16)] += 1
    return _numbers(list(itertools.accumulate(counts)))


def _numbers(numbers: Sequence[int]) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def _object_header(number: int, size: int) -> bytes:
    """Type and size: four bits of the size beside the type, then seven in each byte.
    The highest bit says that another byte follows.
    """
    byte, size = number << 4 | size & 15, size >> 4
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
        HEADER.pack(MAGIC, VERSION, count),
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
    if len(pack) > max_size or end < HEADER.size:
        raise ValueError(f"{path.name} does not have the size of a pack")
    magic, version, count = HEADER.unpack_from(pack)
    if magic != MAGIC or version != VERSION:
        raise ValueError(f"{path.name} is not a pack")
    if _digest(pack[:end], algorithm) != pack[end:]:
        raise ValueError(f"{path.name} is damaged")
    return count, pack[HEADER.size : end]


def _digest(data: bytes, algorithm: str) -> bytes:
    return hashlib.new(algorithm, data, usedforsecurity=False).digest()
