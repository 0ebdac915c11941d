"""What signals ask of a run: to finish what runs, to stop its agents, to end at once.

A person at the terminal presses Ctrl-C as often as it takes. Whoever else sends a signal
has little patience: the agents are stopped at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from queue import SimpleQueue
from types import FrameType

from runner.agents import process
from runner.repo.command import end_all

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Standard input and error: output may go to a file while a person is there.
_STREAMS = (0, 2)
# Seconds after which what has started meanwhile is ended as well.
_AGAIN = 0.05


class Stop(IntEnum):
    """How far a run is to stop; each value asks for more than the one before."""

    NOT = 0
    DRAIN = 1
    CANCEL = 2
    AT_ONCE = 3


_MESSAGES = {
    Stop.DRAIN: "finishing what runs; press Ctrl-C again to stop the agents",
    Stop.CANCEL: "stopping the agents, at no cost of an attempt",
    Stop.AT_ONCE: "ending at once; the next  fanin run  goes on with what had finished",
}
_AND_THEN = "; press Ctrl-C again to end at once"


class StopRequests:
    """How far a run was asked to stop.

    `draining` is set first: nothing new starts, and waits end. `cancel` is set when the
    agents are to end, too.
    """

    def __init__(self) -> None:
        self.draining = threading.Event()
        self.cancel = threading.Event()

    def drain(self) -> None:
        self.draining.set()

    def stop_agents(self) -> None:
        self.draining.set()
        self.cancel.set()


def next_stop(stop: Stop, number: int, *, at_keyboard: bool) -> Stop:
    """What a signal asks for where `stop` was asked for before.

    `at_keyboard`: it may be a Ctrl-C of a person, who can press again.
    """
    if stop is Stop.NOT and number == signal.SIGINT and at_keyboard:
        return Stop.DRAIN
    return Stop.CANCEL if stop < Stop.CANCEL else Stop.AT_ONCE


def is_at_keyboard() -> bool:
    """Whether a Ctrl-C at the terminal goes to this process: it is in the foreground."""
    for stream in _STREAMS:
        # Not a terminal, or not this process's own.
        with suppress(OSError):
            if os.tcgetpgrp(stream) == os.getpgrp():
                return True
    return False


@contextmanager
def stops_on_signals(
    requests: StopRequests,
    tell: Callable[[str], object],
    at_keyboard: Callable[[], bool] = is_at_keyboard,
) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP ask the run to stop, and `tell` says what happens.

    The last step is KeyboardInterrupt in the main thread; then no program that fanin has
    started lives on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = Stop.NOT
    stops: SimpleQueue[Stop | None] = SimpleQueue()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # It may interrupt whoever holds a lock, so it only puts into a queue of C.
        nonlocal stop
        stop = next_stop(stop, number, at_keyboard=at_keyboard())
        stops.put(stop)
        if stop is Stop.AT_ONCE:
            raise KeyboardInterrupt

    watcher = threading.Thread(
        target=_obey,
        args=(stops, requests, tell, at_keyboard),
        name="fanin-signals",
        daemon=True,
    )
    watcher.start()
    previous = {}
    for number in _SIGNALS:
        # Not where it is ignored already: that is what nohup is for.
        if signal.getsignal(number) is not signal.SIG_IGN:
            previous[number] = signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        stops.put(None)
        watcher.join()


def _obey(
    stops: SimpleQueue[Stop | None],
    requests: StopRequests,
    tell: Callable[[str], object],
    at_keyboard: Callable[[], bool],
) -> None:
    """Do what is asked for, until the run is over (None)."""
    while (stop := stops.get()) is not None:
        requests.drain()
        if stop >= Stop.CANCEL:
            requests.stop_agents()
        message = _MESSAGES[stop]
        if stop is Stop.CANCEL and at_keyboard():
            message += _AND_THEN
        tell(message)
        # Threads that wait for a program would keep the run from ending, and one of
        # them may be starting another.
        while stop is Stop.AT_ONCE and stops.empty():
            process.end_all()
            end_all()
            threading.Event().wait(_AGAIN)
