"""Reads the events of runs on from where it stopped, for what is drawn again and again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from runner.core.event_lines import events_of
from runner.core.run_view import RunView


@dataclass
class _Read:
    """What the first `size` bytes of a file tell, which has this inode."""

    inode: int
    size: int = 0
    view: RunView = field(default_factory=RunView)

    def lines(self, stream: BinaryIO) -> Iterator[bytes]:
        """The whole lines that follow: the last one may be written right now."""
        stream.seek(self.size)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            self.size += len(line)
            yield line


class EventReader:
    """The views of runs, each kept so that only what is added to its events is read."""

    def __init__(self) -> None:
        self._read: dict[Path, _Read] = {}

    def view(self, path: Path) -> RunView:
        """What the events of the file tell; an empty view without a file.

        The next call changes the same view. Who changes it calls `forget`.
        """
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            self.forget(path)
            return RunView()
        with stream:
            status = os.fstat(stream.fileno())
            read = self._read.get(path)
            if (
                read is None
                or read.inode != status.st_ino
                or status.st_size < read.size
            ):
                read = self._read[path] = _Read(status.st_ino)
            for event in events_of(read.lines(stream), output=False):
                read.view.apply(event)
        return read.view

    def forget(self, path: Path) -> None:
        """Read the file from its beginning at the next call."""
        self._read.pop(path, None)
