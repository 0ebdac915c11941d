"""A clock whose waits take no time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue

from runner.core.clock import Event, SystemClock


def _do_nothing(_clock: VirtualClock) -> None:
    pass


class VirtualClock:
    """Begins now, because agents have the real time. `on_wait` is called before each
    wait, when nothing runs.
    """

    def __init__(self, on_wait: Callable[[VirtualClock], object] = _do_nothing) -> None:
        self.started = self.time = datetime.now(UTC)
        self._on_wait = on_wait

    @property
    def minutes(self) -> float:
        """How many minutes were waited."""
        return (self.time - self.started).total_seconds() / 60

    def now(self) -> datetime:
        return self.time

    def wait(self, event: threading.Event, seconds: float) -> None:
        self._on_wait(self)
        if not event.is_set():
            self.time += timedelta(seconds=seconds)

    def take(self, events: SimpleQueue[Event], seconds: float | None) -> Event | None:
        return SystemClock().take(events, seconds)
