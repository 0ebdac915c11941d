"""rich's console, which leaves it to another what follows when its reader has gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

from rich.console import Console


class RichConsole(Console):
    """Writes to `file`, standard output if it is None."""

    def __init__(self, file: IO[str] | None, when_closed: Callable[[], object]) -> None:
        super().__init__(highlight=False, file=file)
        self._when_closed = when_closed

    def on_broken_pipe(self) -> None:
        # rich would end the process.
        self.quiet = True
        self._when_closed()
