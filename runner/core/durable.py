"""Writing files that survive a crash: whole or not at all, and on the disk when the call
returns.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# Matches the temporary file that a killed `write` leaves beside its target.
HALF_WRITTEN = ".*.tmp"

_SYNC_THREADS = 16


def checkpoint(name: str) -> None:
    """Do nothing; called before and after every step whose effect survives a crash.

    The crash tests replace this function by one that ends the process at the n-th call,
    so it must be called as `durable.checkpoint`.
    """


def write(path: Path, data: bytes, *, synced: bool = True) -> None:
    """Replace the file `path` atomically, and create its folder if need be.

    The rename is durable only after the fsync of the folder. Without `synced` the data
    survives a killed process, but not a power failure.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(
        f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp"
    )
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            if synced:
                sync(stream.fileno())
        checkpoint("before rename")
        temporary.replace(path)
        checkpoint("after rename")
    except OSError:
        # A full disk must not be filled further.
        temporary.unlink(missing_ok=True)
        raise
    if synced:
        sync_folder(path.parent)


def move(file: Path, target: Path) -> None:
    """Move a file that is on the disk already, atomically for readers of `target`.

    The rename is durable only after the fsync of the target's folder.
    """
    try:
        file.replace(target)
    except OSError as error:
        # The target may be on another file system.
        if error.errno != errno.EXDEV:
            raise
        # git removes files of this name that a crash leaves among its objects.
        temporary = target.with_name(f"tmp_obj_{target.name}")
        import shutil

        shutil.copy2(file, temporary)
        sync_folder(temporary)
        temporary.replace(target)
        file.unlink()


def folders_above(path: Path, top: Path) -> list[Path]:
    """The folders above `path`, up to and including `top`: their fsync makes the name of
    a new file durable, and the names of new folders on the way to it.
    """
    folders = []
    for folder in path.parents:
        folders.append(folder)
        if folder == top:
            break
    return folders


def sync_files(files: Sequence[Path]) -> None:
    """fsync each file, all at once: a disk needs hardly longer for many than for one."""
    if len(files) < 2:
        for file in files:
            sync_folder(file)
        return
    list(_sync_pool().map(sync_folder, files))  # `list` raises what a thread raised


@cache
def _sync_pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    # A run syncs files after every task; starting threads takes as long as one fsync.
    return ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="fanin-sync")


def append_lines(path: Path, lines: Sequence[str], *, synced: bool = True) -> None:
    """Append lines in a single write, so that lines of several writers never mix.

    Each also begins with a line end: after a line that a crash cut off, the next one
    still stands alone. Readers skip blank lines.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        data = b"".join(
            b"\n" + line.encode("utf-8", "backslashreplace") + b"\n" for line in lines
        )
        if os.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, "the line was only partly written")
        if synced:
            sync(fd)
    finally:
        os.close(fd)


def sync(fd: int) -> None:
    """fsync a file descriptor, between two checkpoints."""
    checkpoint("before fsync")
    os.fsync(fd)
    checkpoint("after fsync")


def sync_folder(folder: Path) -> None:
    """fsync a folder, or a file that was written before."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        sync(fd)
    finally:
        os.close(fd)
