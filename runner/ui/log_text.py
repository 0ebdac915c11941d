"""The output of an agent as text that can be shown: nothing in it acts on a terminal."""

from __future__ import annotations

from runner.core.message_text import visible, without_sequences

_MAX_LINE = 64 * 2**10  # bytes; a longer line is shown in pieces
_TAB = 8


class LogText:
    """Cleans a stream of bytes, line by line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> str:
        """The lines that these bytes complete, each with its line end."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        text = "".join(_shown(line) for line in lines)
        if len(self._rest) > _MAX_LINE:
            text += self.finish()
        return text

    def finish(self) -> str:
        """The last line, which has no end; "" if there is none."""
        rest, self._rest = self._rest, b""
        return _shown(rest) if rest else ""


def _shown(line: bytes) -> str:
    text = without_sequences(line.decode("utf-8", "replace").rstrip("\r"))
    # What a terminal would write over is shown too: nothing is hidden.
    return visible(text.replace("\r", "\n")).expandtabs(_TAB) + "\n"


def patch_lines(patch: bytes) -> list[tuple[str, str]]:
    """(line, style) of each line of a patch as git prints it."""
    lines = []
    in_header = True
    for line in patch.split(b"\n")[:-1]:
        text = _shown(line)[:-1].replace("\n", "\ufffd")
        if line.startswith(b"diff --git "):
            in_header = True
        elif line.startswith(b"@@"):
            in_header = False
        style = "bold"
        if line.startswith(b"@@"):
            style = "cyan"
        elif not in_header:
            style = {b"+": "green", b"-": "red"}.get(line[:1], "")
        lines.append((text, style))
    return lines
