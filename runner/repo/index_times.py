"""What an index has of the times of its files, read without a process.

Git keeps nanoseconds there, but most git programs compare seconds: a change in the second
in which the index was written may be hidden from them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from struct import Struct
from typing import NamedTuple

_HEADER = b"DIRC\0\0\0\2"
_SECOND = 10**9  # nanoseconds
_BITS = 2**32 - 1  # of each number in an entry
# Where an entry has its object id, behind ten numbers: the seconds and nanoseconds of two
# times, device, inode, mode, owner, group, size.
_ID = 40
_NUMBERS = Struct(">10I")
_CTIME = Struct(">I")
_FLAGS = Struct(">H")
_NAME_LENGTH = 0xFFF  # bits of the flags
_SPLIT = b"link"  # the first extension, behind the entries


class IndexedFiles(NamedTuple):
    """The paths in an index; and by path the entries of the files that changed in a given
    second or later.
    """

    paths: frozenset[str]
    recent: Mapping[str, bytes]


def read_files(data: bytes, algorithm: str, second: int) -> IndexedFiles | None:
    """The files of an index, of any size. None if git should be asked: it is of another
    version, not merged, or has flags that make git overlook a file.
    """
    id_length = hashlib.new(algorithm, usedforsecurity=False).digest_size
    end = len(data) - id_length
    if not data.startswith(_HEADER):
        return None
    names: list[bytes] = []
    recent: dict[str, bytes] = {}
    start = 12
    for _ in range(int.from_bytes(data[8:12], "big")):
        name = start + _ID + id_length + 2
        if name > end:
            return None
        (length,) = _FLAGS.unpack_from(data, name - 2)
        if length >= _NAME_LENGTH:  # other bits, or a path that is that long
            return None
        path = data[name : name + length]
        names.append(path)
        if _CTIME.unpack_from(data, start)[0] >= second:
            recent[os.fsdecode(path)] = data[start : start + _ID]
        start += (name - start + length + 8) // 8 * 8
    if data.startswith(_SPLIT, start):  # it has the other entries elsewhere
        return None
    return IndexedFiles(frozenset(map(os.fsdecode, names)), recent)


def is_of(entry: bytes, found: os.stat_result) -> bool:
    """Whether git would have put this entry there for the file, by all but its mode."""
    changed, changed_ns, modified, modified_ns, _, inode, _, owner, group, size = (
        _NUMBERS.unpack(entry)
    )
    return (
        _time(found.st_ctime_ns) == (changed, changed_ns)
        and _time(found.st_mtime_ns) == (modified, modified_ns)
        and found.st_ino & _BITS == inode
        and found.st_uid & _BITS == owner
        and found.st_gid & _BITS == group
        and found.st_size & _BITS == size
    )


def have_changed_since(entries: Iterable[bytes], time_ns: int) -> bool:
    """Whether one of the files of these entries had changed at that time or later."""
    # These bytes are in the order of the times.
    time = b"".join(number.to_bytes(4, "big") for number in _time(time_ns))
    return any(entry[: len(time)] >= time for entry in entries)


def _time(time_ns: int) -> tuple[int, int]:
    """Seconds, of which an entry has the lowest bits, and nanoseconds."""
    seconds, nanoseconds = divmod(time_ns, _SECOND)
    return seconds & _BITS, nanoseconds
