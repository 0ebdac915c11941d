"""Keeps the signals of a terminal from a program that is being started.

A program in a session of its own is not reached by Ctrl-C, but between fork and setsid
(1 to 2 ms with a large parent) it is in the parent's group, and Python gives it default
handlers there.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


@contextmanager
def blocked() -> Iterator[None]:
    """Block them in this thread, and for good in the programs that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
