"""Computes the expanded size of a git pack before git expands it.

A few bytes of deltas can stand for gigabytes. Reads the headers of a stream in small
pieces (Documentation/gitformat-pack). It checks the size only; `git index-pack
--strict` checks the objects.
"""

from __future__ import annotations

import zlib
from typing import IO

_OFS_DELTA, _REF_DELTA = 6, 7  # the types of an object that is stored as a delta
_PIECE_SIZE = 2**16  # bytes that are read or inflated at a time
# A varint of more than ten bytes stands for no size on any machine.
_MAX_SHIFT = 70
# Both sizes at the start of a delta fit into this many bytes.
_DELTA_HEAD = 32


class PackRefused(ValueError):
    """The file is not a git pack alone, ends early, or expands to more than the limit."""


def expanded_size(stream: IO[bytes], limit: int, hash_length: int = 20) -> int:
    """Bytes of all objects once deltas are applied.

    `hash_length` is that of an object id, in bytes. Raises PackRefused as soon as the
    objects are more than `limit` bytes.
    """
    reader = _Reader(stream)
    head = reader.take(12)
    if head[:4] != b"PACK" or head[4:8] not in {b"\0\0\0\2", b"\0\0\0\3"}:
        raise PackRefused("it is not a git pack")
    total = 0
    for _ in range(int.from_bytes(head[8:], "big")):
        total += _object_size(reader, limit - total, hash_length)
        if total > limit:
            raise PackRefused(f"it expands to more than {limit:,} bytes")
    reader.take(hash_length)  # the checksum, which git compares
    # `git unpack-objects` would not say so.
    if not reader.is_at_end():
        raise PackRefused("something follows the pack")
    return total


def _object_size(reader: _Reader, max_size: int, hash_length: int) -> int:
    """The size of the next object; for a delta also that of its result."""
    # Three bits of type and four of size, then seven of size in each byte. The highest
    # bit says that another byte follows.
    byte = reader.take_byte()
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & 0x80:
        byte = reader.take_byte()
        size |= (byte & 0x7F) << shift
        shift += 7
        if shift > _MAX_SHIFT:
            raise PackRefused("the size of an object is not valid")
    if size > max_size:
        # not worth inflating: the caller refuses it
        return size
    if kind == _OFS_DELTA:
        while reader.take_byte() & 0x80:
            pass
    elif kind == _REF_DELTA:
        reader.take(hash_length)
    start = reader.inflate(size)
    if kind in {_OFS_DELTA, _REF_DELTA}:
        return size + _result_size(start)
    return size


def _result_size(delta: bytes) -> int:
    """The second number at a delta's start; the first is the size of its base."""
    _, offset = _varint(delta, 0)
    size, _ = _varint(delta, offset)
    return size


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """The number at `offset`, and the offset after it."""
    value, shift = 0, 0
    while offset < len(data) and shift <= _MAX_SHIFT:
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if not byte & 0x80:
            return value, offset
    raise PackRefused("a delta ends early")


class _Reader:
    """A stream that takes back what zlib did not use."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._buffer = stream, b""

    def take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._buffer += self._read_piece()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def is_at_end(self) -> bool:
        return not self._buffer and not self._stream.read(1)

    def take_byte(self) -> int:
        return self.take(1)[0]

    def inflate(self, size: int) -> bytes:
        """Pass over one deflated object of `size` bytes, and return its first bytes.

        PackRefused if it is larger than that.
        """
        inflater = zlib.decompressobj()
        start, inflated = b"", 0
        while not inflater.eof:
            if not self._buffer:
                self._buffer = self._read_piece()
            try:
                piece = inflater.decompress(self._buffer, _PIECE_SIZE)
            except zlib.error as error:
                raise PackRefused(f"an object cannot be inflated: {error}") from None
            self._buffer = (
                inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            )
            inflated += len(piece)
            start = (start + piece)[:_DELTA_HEAD]
            if inflated > size:
                raise PackRefused("an object is larger than it says")
        return start

    def _read_piece(self) -> bytes:
        piece = self._stream.read(_PIECE_SIZE)
        if not piece:
            raise PackRefused("it ends early")
        return piece
