"""Signals that interrupt a command: however many come, its exit code says so."""

from __future__ import annotations

import atexit
import os
import signal
from types import FrameType
from typing import NoReturn

from runner.core.errors import EXIT_INTERRUPTED

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt_on_signals() -> None:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt in this process as SIGINT does.

    The second of them ends it at once.
    """
    for number in _SIGNALS:
        # Not where it is ignored already: that is what nohup is for.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    # Python gives up its handlers before it exits.
    atexit.register(_ignore)


def end_on_signals() -> None:
    """Let the next signal end this process at once, as interrupted."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    end_on_signals()
    raise KeyboardInterrupt


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(EXIT_INTERRUPTED)


def _ignore() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
