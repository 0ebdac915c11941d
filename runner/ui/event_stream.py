"""Prints the events of a run as lines of JSON, for other programs."""

from __future__ import annotations

import os
import sys
import threading

from runner.core.event_lines import line_of
from runner.core.events import RunEvent


class EventStream:
    """Writes each event to standard output, as it is in the run's events.jsonl.

    Once its reader has gone, nothing more is written and the run continues.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = True

    def observe(self, event: RunEvent) -> None:
        with self._lock:
            if not self._is_open:
                return
            try:
                sys.stdout.buffer.write(line_of(event))
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                self._is_open = False
                # Python reports a closed pipe once more when it flushes at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
