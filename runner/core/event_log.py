"""Writes the events of a run to the file events.jsonl in a folder."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from runner.core.event_lines import NAME, line_of
from runner.core.events import Note, RunEvent, RunObserver


class EventLog:
    """Appends each event to the log in `folder`, then passes it on, if to anybody.

    One write per event, so that a kill of fanin tears no line and threads do not mix
    theirs. The events of a run that cannot be logged, because the disk is full, are
    passed on all the same.
    """

    def __init__(self, folder: Path, observer: RunObserver | None = None) -> None:
        self.path = folder / NAME
        self._observer = observer
        self._lock = threading.Lock()
        self._file: int | None = None
        self._has_failed = False

    def observe(self, event: RunEvent) -> None:
        # The other observer hears the events of all threads in the order of the log.
        with self._lock:
            problem = self._append(line_of(event))
            if self._observer is None:
                return
            self._observer.observe(event)
            if problem is not None:
                self._observer.observe(
                    Note(
                        message=f"the events of this run are not logged any more: "
                        f"cannot write {self.path}: {problem}"
                    )
                )

    def close(self) -> None:
        """Close the file. A later event opens it again."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _append(self, line: bytes) -> str | None:
        """Write the line. The reason why that failed, the first time that it does."""
        if self._has_failed:
            return None
        try:
            if self._file is None:
                self._file = self._open()
            written = os.write(self._file, line)
        except OSError as error:
            self._has_failed = True
            return error.strerror or str(error)
        if written < len(line):
            # As little was left on the disk. A reader skips the torn line.
            self._has_failed = True
            return "the line was only partly written"
        return None

    def _open(self) -> int:
        # Not before the first event: a run that is refused at once leaves nothing.
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
