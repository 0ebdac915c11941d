"""A terminal of a few rows, for what a live view writes: text, line breaks, and the
sequences that move up, erase, colour and stop wrapping. It wraps anew what is on it when
it is resized.
"""

from __future__ import annotations

import io
import re

_PIECE = re.compile(r"\x1b\[(\??\d*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")


class SmallTerminal(io.StringIO):
    """Rows that have scrolled out of the top are kept in `rows` as well.

    keeps_lengths: a row is as long as it was until all of it is erased, as in tmux.
    """

    def __init__(
        self, columns: int, height: int, *, keeps_lengths: bool = False
    ) -> None:
        super().__init__()
        self.columns, self.height = columns, height
        self._keeps_lengths = keeps_lengths
        self._wraps = True
        self.rows: list[str] = [""]
        self._row = self._column = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for piece in _PIECE.finditer(text):
            match piece[2]:
                case "A":
                    top = max(0, len(self.rows) - self.height)
                    self._row = max(top, self._row - int(piece[1] or 1))
                case "K" if piece[1] == "2":
                    self.rows[self._row] = ""
                case "K":
                    row = self.rows[self._row]
                    length = len(row) if self._keeps_lengths else 0
                    self.rows[self._row] = row[: self._column].ljust(length)
                case "J":
                    self.rows[self._row] = self.rows[self._row][: self._column]
                    del self.rows[self._row + 1 :]
                case "m":
                    pass
                case "h" | "l" if piece[1] == "?7":
                    self._wraps = piece[2] == "h"
                case None:
                    self._put(piece[0])
                case _:
                    raise AssertionError(f"unknown sequence {piece[0]!r}")
        return len(text)

    def resize(self, columns: int) -> None:
        """Become wider or narrower; longer rows wrap. The cursor is on the last row."""
        assert self._row == len(self.rows) - 1
        rows: list[str] = []
        for row in self.rows:
            pieces = range(0, max(1, len(row)), columns)
            rows += [row[start : start + columns] for start in pieces]
        self.columns, self.rows, self._row = columns, rows, len(rows) - 1

    @property
    def text(self) -> list[str]:
        """All rows, without empty ones at the end."""
        return "\n".join(map(str.rstrip, self.rows)).rstrip().splitlines()

    def _put(self, text: str) -> None:
        if text == "\r":
            self._column = 0
            return
        if text == "\n":
            self._next_row()
            return
        for character in text:
            if self._column == self.columns and self._wraps:
                self._next_row()
            self._column = min(self._column, self.columns - 1)
            row = self.rows[self._row].ljust(self._column)
            self.rows[self._row] = (
                row[: self._column] + character + row[self._column + 1 :]
            )
            self._column += 1

    def _next_row(self) -> None:
        self._column = 0
        self._row += 1
        if self._row == len(self.rows):
            self.rows.append("")
