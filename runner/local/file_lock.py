"""A lock on a file, which ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSE = 0.05  # seconds from one try to the next


class Locked(Exception):
    """Another one has held the lock for too long."""


@contextmanager
def file_lock(path: Path, wait_seconds: float | None = None) -> Iterator[None]:
    """Hold the lock of the file, which is created. Without `wait_seconds` it is waited for
    as long as it takes, otherwise for no longer.

    Raises Locked, and OSError if the file cannot be opened.
    """
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        _acquire(number, wait_seconds)
        try:
            yield
        finally:
            # A process that is being started may have the open file for a moment yet.
            fcntl.flock(number, fcntl.LOCK_UN)
    finally:
        os.close(number)


def _acquire(number: int, wait_seconds: float | None) -> None:
    if wait_seconds is None:
        fcntl.flock(number, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Locked from None
            time.sleep(_PAUSE)
        else:
            return
