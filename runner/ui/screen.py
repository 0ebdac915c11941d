"""Writes lines to standard output, in a terminal above a frame that is drawn anew.

Only one thread uses a screen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING

from runner.ui.shown_text import Line, cell_len

if TYPE_CHECKING:
    from rich.color import ColorSystem

_ERASE_BELOW = "\x1b[J"
# tmux remembers how long a row was, and whether it went on in the next, until the whole
# row is erased: a terminal that is resized would wrap or join what is not there.
_ERASE_ROW = "\x1b[2K"
# Terminals disagree on how wide an emoji is. A row of the frame that is wider than it was
# measured to be is cut there; wrapped, it would leave part of the frame above the next one.
_WRAP_OFF, _WRAP_ON = "\x1b[?7l", "\x1b[?7h"
_SMALLEST, _DEFAULT = 20, (80, 24)  # columns; columns and rows


class Screen:
    """Lines that stay, and below them a frame that the next one replaces."""

    def __init__(
        self,
        file: IO[str],
        colours: ColorSystem | None,
        environ: Mapping[str, str],
    ) -> None:
        self._file, self._colours = file, colours
        self._frame: list[str] = []  # as it is on the screen
        self._columns = 0  # of the screen when that was drawn
        self._reflows = _reflows(environ)

    @property
    def size(self) -> tuple[int, int]:
        """The columns and rows of the terminal now."""
        try:
            columns, rows = os.get_terminal_size(self._file.fileno())
        except (OSError, ValueError):
            columns, rows = 0, 0
        return max(columns or _DEFAULT[0], _SMALLEST), rows or _DEFAULT[1]

    def write(self, lines: Sequence[Line]) -> None:
        """Write lines where there is no frame."""
        self._file.write("".join(f"{line.painted(self._colours)}\n" for line in lines))
        self._file.flush()

    def draw(self, lines: Sequence[Line], frame: Sequence[Line], columns: int) -> None:
        """Write lines above the frame, and the frame, cut to so many columns.

        All in one write, over what was there, so that nothing flickers.
        """
        # The last column stays free: a character there wraps in some terminals.
        painted = [line.painted(self._colours, columns - 1) for line in frame]
        rows = self._rows_of_frame(columns)
        text = [f"\r\x1b[{rows}A" if rows else "\r"]
        if lines:
            text.append(_ERASE_BELOW)  # a long line takes more rows than one
        text += [f"{line.painted(self._colours)}\n" for line in lines]
        text.append(_WRAP_OFF)
        text += [f"{_ERASE_ROW}{line}\n" for line in painted]
        text += [_WRAP_ON, _ERASE_BELOW]
        self._file.write("".join(text))
        self._file.flush()
        widths = [line.plain for line in frame]
        self._frame, self._columns = widths, columns

    def _rows_of_frame(self, columns: int) -> int:
        """How many rows the frame on the screen takes, where the terminal has become
        narrower since and has wrapped it.
        """
        if columns >= self._columns or not self._reflows:
            return len(self._frame)
        rows = 0
        for text in self._frame:
            width = min(cell_len(text), self._columns - 1)
            rows += max(1, -(-width // columns))
        return rows


def _reflows(environ: Mapping[str, str]) -> bool:
    """Whether the terminal wraps anew what is on it when it becomes narrower. All do but
    xterm and GNU screen, which cut it.
    """
    return not {"XTERM_VERSION", "STY"} & environ.keys()
