"""Standard output with rich's colours and wrapping, and without rich where it shows neither."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import IO, TYPE_CHECKING

# rich is slow to import. What no person looks at needs it at the end at most.
if TYPE_CHECKING:
    from rich.color import ColorSystem

    from runner.ui.rich_console import RichConsole

_COLOUR_SYSTEMS = {
    "standard": "STANDARD",
    "256": "EIGHT_BIT",
    "truecolor": "TRUECOLOR",
    "windows": "WINDOWS",
}


class RunConsole:
    """Standard output. Once its reader has gone, nothing more is shown and the work
    continues.
    """

    def __init__(
        self,
        file: IO[str] | None = None,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._given_file, self._environ = file, environ
        self.quiet = False

    @cached_property
    def _rich(self) -> RichConsole:
        from runner.ui.rich_console import RichConsole

        return RichConsole(self._given_file, self.on_broken_pipe)

    @property
    def file(self) -> IO[str]:
        return self._given_file or sys.stdout

    @property
    def is_terminal(self) -> bool:
        return self.file.isatty()

    @property
    def width(self) -> int:
        return self._rich.width

    @property
    def height(self) -> int:
        return self._rich.height

    @property
    def colours(self) -> ColorSystem | None:
        """The colours that it has; None for plain text."""
        # rich takes a file for a terminal if one of these is set.
        if not (
            self.is_terminal or {"FORCE_COLOR", "TTY_COMPATIBLE"} & self._environ.keys()
        ):
            return None
        from rich.color import ColorSystem

        if self._rich.color_system is None or self._rich.no_color:
            return None
        return ColorSystem[_COLOUR_SYSTEMS[self._rich.color_system]]

    def print(
        self,
        text: str,
        style: str | None = None,
        *,
        markup: bool = True,
        soft_wrap: bool = False,
    ) -> None:
        """Write lines, at a terminal wrapped at its width unless `soft_wrap`."""
        soft_wrap = soft_wrap or not self.is_terminal
        if not self.quiet:
            self._rich.print(text, style=style, markup=markup, soft_wrap=soft_wrap)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        if self.file is sys.stdout:
            # Python reports a closed pipe once more when it flushes the stream at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
