"""Files that survive a crash: written whole or not at all, on the disk before the call
returns.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

HALF_WRITTEN = ".*.tmp"  # the glob of what a killed `write` leaves beside its file

_AT_ONCE = 16


def checkpoint(name: str) -> None:
    """Called before and after every step that outlives a crash: fsync, rename, ref
    update, landing, push.

    Does nothing. The crash tests replace it with one that ends the process at the n-th
    call, so callers must reach it as `durable.checkpoint`.
    """


def write(path: Path, data: bytes, *, synced: bool = True) -> None:
    """Replace `path` by `data` atomically and durably (write, fsync, rename, fsync of
    the folder).

    Not `synced`: a killed process does not lose it, a machine that loses its power may.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with beside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            if synced:
                sync(stream.fileno())
        checkpoint("before rename")
        beside.replace(path)
        checkpoint("after rename")
    except OSError:  # a full disk: what is there must not fill it further
        beside.unlink(missing_ok=True)
        raise
    if synced:
        sync_folder(path.parent)


def sync_files(files: Sequence[Path]) -> None:
    """fsync of each; at once, because a disk makes many durable in the time of one."""
    if len(files) < 2:
        for file in files:
            sync_folder(file)
        return
    list(_syncers().map(sync_folder, files))


@cache
def _syncers() -> ThreadPoolExecutor:
    """Kept: a run syncs a few files after every task, and starting threads takes as
    long as one fsync.
    """
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fanin-sync")


def append_lines(path: Path, lines: Sequence[str], *, synced: bool = True) -> None:
    """Add lines durably. A single write with O_APPEND, so that lines of several writers
    never mix.

    Each begins with a line end, so that a line torn by a crash cannot swallow it;
    readers pass over blank lines.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        data = b"".join(
            b"\n" + line.encode("utf-8", "backslashreplace") + b"\n" for line in lines
        )
        if os.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, "the line was not written whole")
        if synced:
            sync(fd)
    finally:
        os.close(fd)


def sync(fd: int) -> None:
    """fsync, as a numbered step."""
    checkpoint("before fsync")
    os.fsync(fd)
    checkpoint("after fsync")


def sync_folder(folder: Path) -> None:
    """fsync of a folder, or of a file that was written before."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        sync(fd)
    finally:
        os.close(fd)
