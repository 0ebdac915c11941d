"""A lock that one holder has at a time: `flock` on a file that stays where it is.

The kernel releases it when the holder's process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.05


class HeldElsewhere(Exception):
    """Another has held the lock for as long as the caller waits."""


@contextmanager
def held(path: Path, wait_seconds: float = math.inf) -> Iterator[None]:
    """Hold the lock of the file `path`, which is made if need be.

    HeldElsewhere if it is not free within `wait_seconds`; OSError if the file cannot be
    used.
    """
    deadline = time.monotonic() + wait_seconds
    while (descriptor := _lock(path)) is None:
        if time.monotonic() >= deadline:
            raise HeldElsewhere
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        # A process that is just being forked has the descriptor too until it is another
        # program.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _lock(path: Path) -> int | None:
    """The descriptor of the locked file; None if another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    is_held = False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # An older fanin may have removed the file that this one had just opened.
        is_held = os.fstat(descriptor).st_nlink > 0
    except (BlockingIOError, PermissionError):
        pass  # some network file systems say the latter
    finally:
        if not is_held:
            os.close(descriptor)
    return descriptor if is_held else None
