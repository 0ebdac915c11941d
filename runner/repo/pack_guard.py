"""How much a git pack expands to, told before git expands it: a few bytes of deltas can
stand for gigabytes.

Reads the headers of a stream in small pieces (Documentation/gitformat-pack). It judges
the size and nothing else: whether the objects are sound is for `git index-pack
--strict` to say.
"""

from __future__ import annotations

import zlib
from typing import IO

_OFS_DELTA, _REF_DELTA = 6, 7
_PIECE = 2**16


class PackRefused(ValueError):
    """The pack is none, ends early, or expands to more than is let in."""


def expanded_size(stream: IO[bytes], limit: int, hash_length: int = 20) -> int:
    """Bytes of all objects once deltas are applied. PackRefused as soon as they are
    more than `limit`.
    """
    reader = _Reader(stream)
    head = reader.take(12)
    if head[:4] != b"PACK" or head[4:8] not in {b"\0\0\0\2", b"\0\0\0\3"}:
        raise PackRefused("it is no git pack")
    total = 0
    for _ in range(int.from_bytes(head[8:], "big")):
        total += _object_size(reader, limit - total, hash_length)
        if total > limit:
            raise PackRefused(f"it expands to more than {limit:,} bytes")
    return total


def _object_size(reader: _Reader, room: int, hash_length: int) -> int:
    """The size of the next object; for a delta also that of what it makes."""
    byte = reader.take(1)[0]
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & 0x80:
        byte = reader.take(1)[0]
        size |= (byte & 0x7F) << shift
        shift += 7
        if shift > 70:
            raise PackRefused("an object's size is absurd")
    if size > room:
        return size
    if kind == _OFS_DELTA:
        while reader.take(1)[0] & 0x80:
            pass
    elif kind == _REF_DELTA:
        reader.take(hash_length)
    start = reader.inflate(size)
    return size + (_made_by(start) if kind in {_OFS_DELTA, _REF_DELTA} else 0)


def _made_by(delta: bytes) -> int:
    """The second number at a delta's start: the size of what it makes."""
    numbers, place = [], 0
    for _ in range(2):
        value, shift = 0, 0
        while True:
            if place >= len(delta) or shift > 70:
                raise PackRefused("a delta ends early")
            byte = delta[place]
            value |= (byte & 0x7F) << shift
            place, shift = place + 1, shift + 7
            if not byte & 0x80:
                break
        numbers.append(value)
    return numbers[1]


class _Reader:
    """A stream of which zlib may give back what it did not use."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._buffer = stream, b""

    def take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            more = self._stream.read(_PIECE)
            if not more:
                raise PackRefused("it ends early")
            self._buffer += more
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def inflate(self, size: int) -> bytes:
        """Pass over one deflated object; its first bytes. It may not be larger than it
        says.
        """
        inflater, start, seen = zlib.decompressobj(), b"", 0
        while not inflater.eof:
            if not self._buffer:
                self._buffer = self._stream.read(_PIECE)
                if not self._buffer:
                    raise PackRefused("it ends early")
            try:
                piece = inflater.decompress(self._buffer, _PIECE)
            except zlib.error as error:
                raise PackRefused(f"an object cannot be inflated: {error}") from None
            self._buffer = (
                inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            )
            seen += len(piece)
            start = (start + piece)[:32]
            if seen > size:
                raise PackRefused("an object is larger than it says")
        return start
