"""Waits that a signal ends, and times as people read them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from runner.core.clock import SystemClock, local_time


@pytest.fixture
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # as POSIX has it: no data of zones is needed
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_in_berlin")
def test_a_time_is_local_with_its_zone_and_with_a_date_unless_it_is_today() -> None:
    now = datetime(2026, 7, 19, 18, 0, tzinfo=UTC)
    today = datetime(2026, 7, 19, 20, 30, tzinfo=UTC)
    assert local_time(today, now) == "22:30 CEST"
    tomorrow = datetime(2026, 7, 19, 22, 30, tzinfo=UTC)
    assert local_time(tomorrow, now) == "Mon 20 Jul 00:30 CEST"


def test_a_wait_ends_when_its_event_is_set() -> None:
    event = threading.Event()
    event.set()
    SystemClock().wait(event, 3600)
    assert SystemClock().now().tzinfo is UTC
