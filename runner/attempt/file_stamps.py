"""What tells whether the files of a checkout are still those that were there.

A program can set a file's modification time, but not its change time (ctime): that is
the clock's whenever content, mode, owner or number of links change.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import NamedTuple

# Of a file: mode, device, inode, links, owner, group, size, mtime and ctime in ns. Of a
# folder the first three, owner and group: its times change with every file in it.
Stamp = tuple[int, ...]

# The folder of the checkout itself.
TOP = ""
_GIT = ".git"
_NONE: Set[str] = frozenset()
# Seconds to wait for the file system's clock; the coarsest in use counts in 2 s.
_LONGEST_TICK = 3.0


def stamp(status: os.stat_result) -> Stamp:
    owner = (status.st_uid, status.st_gid)
    if stat.S_ISDIR(status.st_mode):
        return (status.st_mode, status.st_dev, status.st_ino, *owner)
    return (
        status.st_mode,
        status.st_dev,
        status.st_ino,
        status.st_nlink,
        *owner,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def of_time(time_ns: int) -> Stamp:
    """The stamp of a file of which only its change time is known."""
    return (stat.S_IFREG, time_ns)


def is_since(recorded: Stamp, time_ns: int) -> bool:
    """Whether the file may have changed at that time or later; a folder always may."""
    return stat.S_ISDIR(recorded[0]) or recorded[-1] >= time_ns


def stamps_of(checkout: Path, without: Set[str] = _NONE) -> dict[str, Stamp]:
    """The stamp of everything in the checkout but its `.git`, by path; and but the files
    and links that are at the paths `without`.

    Raises OSError if a folder cannot be read.
    """
    stamps = {TOP: stamp(checkout.lstat())}
    folders = [TOP]
    for folder in folders:
        for path, found in _listed(checkout, folder, without):
            stamps[path] = found
            if stat.S_ISDIR(found[0]):
                folders.append(path)
    return stamps


def stamps_at(checkout: Path, paths: Iterable[str]) -> dict[str, Stamp]:
    """The stamps of those paths that are there."""
    stamps = {}
    for path in paths:
        try:
            stamps[path] = stamp(os.lstat(f"{checkout}/{path}"))
        except (FileNotFoundError, NotADirectoryError):
            continue
    return stamps


class Differences(NamedTuple):
    """Paths that are not as recorded: `present` are there, `missing` are not. Nothing is
    said about what is in a folder that is `present`: all that was recorded there is
    `missing`.
    """

    present: tuple[str, ...]
    missing: tuple[str, ...]


def differences(
    checkout: Path, recorded: Mapping[str, Stamp], without: Set[str] = _NONE
) -> Differences:
    """How the checkout differs from what was recorded of it. Of what is at the paths
    `without` only files and links are overlooked.

    No folder is entered that is not the recorded one. Raises OSError if one cannot be
    read.
    """
    if stamp(checkout.lstat()) != recorded[TOP]:
        return Differences((TOP,), tuple(path for path in recorded if path != TOP))
    present, same = [], {TOP}
    folders = [TOP]
    for folder in folders:
        for path, found in _listed(checkout, folder, without):
            if recorded.get(path) != found:
                present.append(path)
                continue
            same.add(path)
            if stat.S_ISDIR(found[0]):
                folders.append(path)
    missing: tuple[str, ...] = ()
    if len(same) + len(present) < len(recorded) or present:
        missing = tuple(recorded.keys() - same - set(present))
    return Differences(tuple(present), missing)


def _listed(checkout: Path, folder: str, without: Set[str]) -> list[tuple[str, Stamp]]:
    prefix = f"{folder}/" if folder else ""
    listed = []
    with os.scandir(f"{checkout}/{folder}") as entries:
        for entry in entries:
            if not folder and entry.name == _GIT:
                continue
            path = prefix + entry.name
            # Of a large checkout these lines are most of what a comparison costs.
            if path in without and (
                entry.is_file(follow_symlinks=False) or entry.is_symlink()
            ):
                continue
            listed.append((path, stamp(entry.stat(follow_symlinks=False))))
    return listed


def wait_for_later_time(folder: Path, stamps: Iterable[Stamp]) -> bool:
    """Wait until a file written in `folder` has a later change time than all of these.

    From then on a change of one of the files changes its stamp. Returns whether it has
    come to that; usually the clock has moved on already.
    """
    newest = max((each[-1] for each in stamps if not stat.S_ISDIR(each[0])), default=0)
    probe = folder / "clock"
    deadline = time.monotonic() + _LONGEST_TICK
    try:
        while True:
            probe.write_bytes(b"")
            probe.chmod(0o600)
            if probe.lstat().st_ctime_ns > newest:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
    finally:
        probe.unlink(missing_ok=True)
