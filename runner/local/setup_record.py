"""Which files of the repository set-up changed when it ran last, in `.git/fanin`, so that
a command which runs nothing can say it too.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from runner.core import durable
from runner.core.plurals import some_of
from runner.policy.paths import shortened

_FILE = "setup.json"
_NAMED_PATHS = 5  # that a sentence names


class SetupRecord:
    """What is known of the script `setup`. Used by several threads."""

    def __init__(self, private_folder: Path, setup: str | None) -> None:
        self._file = private_folder / _FILE
        self._digest = hashlib.sha256((setup or "").encode()).hexdigest()
        self._is_set = setup is not None
        self._lock = threading.Lock()

    def sentence(self) -> str | None:
        """Which tracked files the script changed last; None if it is not known to have
        changed one.
        """
        if not self._is_set:
            return None
        with suppress(OSError, ValueError, TypeError, KeyError):
            record = json.loads(self._file.read_text(encoding="utf-8"))
            if record["setup"] == self._digest:
                return sentence([str(path) for path in record["changes"]])
        return None

    def save(
        self, paths: Sequence[str], report: Callable[[str], object] | None = None
    ) -> None:
        """Record the tracked files that the script has changed, and report them if that
        was not known.
        """
        with self._lock:
            new = sentence(paths)
            if new == self.sentence():
                return
            record = {"setup": self._digest, "changes": list(paths)}
            # Only a later message needs it.
            with suppress(OSError):
                self._file.parent.mkdir(exist_ok=True)
                durable.write(self._file, json.dumps(record).encode(), synced=False)
        if new is not None and report is not None:
            report(new)


def sentence(paths: Sequence[str]) -> str | None:
    """What a person should know of the tracked files that set-up changes."""
    if not paths:
        return None
    shown = [shortened(path) for path in paths[:_NAMED_PATHS]]
    return f"setup changes {some_of(shown, len(paths))}, which no task's change has"
