"""Deltas between the versions of a long file of lines, or of a large folder, as git's
packs have them.

Each landing writes the progress file. That of 10,000 tasks is megabytes long, and a
landing changes a few of its lines. A plan of as many files is in a tree that is half a
megabyte long, of which a mark changes twenty bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, compress, takewhile
from operator import eq, ne
from typing import NamedTuple

_MIN_BYTES = 2**14  # a shorter file takes little space whole
_MAX_SHARE = 8  # a delta of more than this part of the file is not worth its base
# What is long and begins alike is taken for versions of one file.
_BEGINNING = 64
_MAX_FILES = 4  # of which the last version stays in memory
_BLOCK = 64
_MAX_INSERT = 127
_MAX_COPY = 2**24 - 1


class Delta(NamedTuple):
    """What makes a file of another one, the object `base`."""

    base: str
    data: bytes


class FileVersions:
    """The last versions of long files, and in `deltas`, by its id, what makes each earlier
    one of the one after it.
    """

    def __init__(self) -> None:
        self.deltas: dict[str, Delta] = {}
        self._last: dict[tuple[str, bytes], tuple[str, bytes]] = {}

    def add(self, object_id: str, kind: str, data: bytes) -> None:
        """Take in a blob or a tree, which may be the next version of another one."""
        if len(data) < _MIN_BYTES:
            return
        # What is made of another object is of its type.
        key = kind, data[:_BEGINNING]
        before = self._last.pop(key, None)
        self._last[key] = object_id, data
        if len(self._last) > _MAX_FILES:
            del self._last[next(iter(self._last))]
        # Where a file is again as it once was, no version is made of itself.
        self.deltas.pop(object_id, None)
        if before is None or before[0] == object_id:
            return
        earlier_id, earlier = before
        delta = make_delta(data, earlier)
        if len(delta) <= len(earlier) // _MAX_SHARE:
            self.deltas[earlier_id] = Delta(object_id, delta)


def make_delta(base: bytes, target: bytes) -> bytes:
    """The delta that makes `target` of `base`: lines in the same place are not in it."""
    parts = [_number(len(base)), _number(len(target))]
    done = 0  # bytes of the target that the parts make
    for start, end, target_start in _common(base, target):
        parts += _inserts(target[done:target_start])
        parts += _copies(start, end - start)
        done = target_start + end - start
    parts += _inserts(target[done:])
    delta = b"".join(parts)
    # The whole file is removed where there is a delta.
    if apply_delta(base, delta) != target:
        raise AssertionError("the delta makes another file")
    return delta


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """What a delta makes of the base. ValueError if it is for another one."""
    stream = iter(delta)
    base_length, length = _read_number(stream), _read_number(stream)
    offset = len(_number(base_length)) + len(_number(length))
    parts = []
    while offset < len(delta):
        command = delta[offset]
        offset += 1
        if not command & 0x80:
            parts.append(delta[offset : offset + command])
            offset += command
            continue
        fields = []
        for bit in range(7):
            is_there = bool(command >> bit & 1)
            fields.append(delta[offset] if is_there else 0)
            offset += is_there
        start = int.from_bytes(fields[:4], "little")
        size = int.from_bytes(fields[4:], "little") or 0x10000
        parts.append(base[start : start + size])
    made = b"".join(parts)
    if (len(base), len(made)) != (base_length, length):
        raise ValueError("a delta for another file")
    return made


def _common(base: bytes, target: bytes) -> Iterator[tuple[int, int, int]]:
    """What both have in common: start and end in the base, and the start in the target."""
    # Mostly they differ at one place, and only what is around that is taken apart.
    before = _alike(base, target)
    base_end, target_end = len(base), len(target)
    after = _alike(base[before:], target[before:], from_end=True)
    if before:
        yield 0, before, 0
    middle = base[before : base_end - after], target[before : target_end - after]
    for start, end, target_start in _common_pieces(*middle):
        yield before + start, before + end, before + target_start
    if after:
        yield base_end - after, base_end, target_end - after


def _alike(first: bytes, second: bytes, *, from_end: bool = False) -> int:
    """How many bytes both begin with, or end with."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        count = (low + high + 1) // 2
        if from_end:
            is_alike = first[-count : -low or None] == second[-count : -low or None]
        else:
            is_alike = first[low:count] == second[low:count]
        low, high = (count, high) if is_alike else (low, count - 1)
    return low


def _common_pieces(base: bytes, target: bytes) -> Iterator[tuple[int, int, int]]:
    """`_common` of what differs from its first byte to its last."""
    if b"\0" in target and len(base) == len(target):
        # a tree: an id has as many bytes as the one before it
        yield from _common_blocks(base, target)
        return
    old, new = base.split(b"\n"), target.split(b"\n")
    old_lengths, new_lengths = _lengths(old), _lengths(new)
    for old_first, new_first, count in _equal_lines(old, new):
        # with the ends of the lines before it; the last line has none
        start = old_lengths[old_first] + old_first
        after = old_first + count
        end = old_lengths[after] + after
        target_start = new_lengths[new_first] + new_first
        end = min(end, len(base), start + len(target) - target_start)
        yield start, end, target_start


def _common_blocks(base: bytes, target: bytes) -> Iterator[tuple[int, int, int]]:
    starts = range(0, len(base), _BLOCK)
    old, new = ([data[at : at + _BLOCK] for at in starts] for data in (base, target))
    for first, _, count in _equal_lines(old, new):
        start = first * _BLOCK
        yield start, min(start + count * _BLOCK, len(base)), start


def _lengths(lines: Sequence[bytes]) -> list[int]:
    """For each line, and the one after the last, the bytes in the lines before it."""
    return [*accumulate(map(len, lines), initial=0)]


def _equal_lines(
    old: Sequence[bytes], new: Sequence[bytes]
) -> Iterator[tuple[int, int, int]]:
    """Runs of equal lines: the first one's place in both, and how many there are."""
    if len(old) == len(new):
        done = 0
        for changed in [*compress(range(len(old)), map(ne, old, new)), len(old)]:
            if changed > done:
                yield done, done, changed - done
            done = changed + 1
        return
    before = _equal(old, new)
    if before:
        yield 0, 0, before
    shorter = min(len(old), len(new)) - before
    after = min(_equal(reversed(old), reversed(new)), shorter)
    if after:
        yield len(old) - after, len(new) - after, after


def _equal(old: Iterable[bytes], new: Iterable[bytes]) -> int:
    """How many lines are equal before the first that differs."""
    return sum(takewhile(bool, map(eq, old, new)))


def _inserts(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _MAX_INSERT):
        piece = data[start : start + _MAX_INSERT]
        yield bytes([len(piece)]) + piece


def _copies(start: int, length: int) -> Iterator[bytes]:
    while length > 0:
        size = min(length, _MAX_COPY)
        fields = start.to_bytes(4, "little") + size.to_bytes(3, "little")
        command = 0x80 | sum(1 << bit for bit, byte in enumerate(fields) if byte)
        yield bytes([command, *filter(None, fields)])
        start += size
        length -= size


def _number(number: int) -> bytes:
    """Seven bits in each byte, the lowest first; the highest bit says that more follow."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _read_number(stream: Iterator[int]) -> int:
    number = shift = 0
    for byte in stream:
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return number
        shift += 7
    raise ValueError("a delta that ends too early")
