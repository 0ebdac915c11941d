"""The time of day and waiting, as an object that tests replace."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from runner.core.plurals import pluralize

Event = TypeVar("Event")

# A longer wait is several: while a machine sleeps, the clock of a wait stands still.
LONGEST_WAIT = 30.0


def timestamp(later_seconds: float = 0) -> str:
    """The time, or a time after it, as all documents write it: ISO 8601, UTC, whole
    milliseconds.
    """
    time = datetime.now(UTC) + timedelta(seconds=later_seconds)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Clock(Protocol):
    """The time, and a wait that a signal can end."""

    def now(self) -> datetime:
        """The time in UTC."""

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Wait for so many seconds, or less, or until the event is set."""

    def take(self, events: SimpleQueue[Event], seconds: float | None) -> Event | None:
        """The next of the events; None if there is none for so many seconds.

        With None it waits as long as it takes.
        """


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def wait(self, event: threading.Event, seconds: float) -> None:
        event.wait(min(seconds, LONGEST_WAIT))

    def take(self, events: SimpleQueue[Event], seconds: float | None) -> Event | None:
        try:
            return events.get(timeout=seconds)
        except Empty:
            return None


def local_time(time: datetime, now: datetime) -> str:
    """A time as people read it: in the local zone, with a date unless it is today."""
    there = time.astimezone()
    if there.date() == now.astimezone().date():
        return f"{there:%H:%M %Z}"
    return f"{there:%a %d %b %H:%M %Z}"


def age(time: datetime, now: datetime) -> str:
    """How long ago a time was, in its largest unit: `3 days`, `1 hour`, `5 minutes`."""
    seconds = max(0, int((now - time).total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return pluralize(seconds // length, unit)
    return pluralize(seconds, "second")
