"""Lines of styled text for a terminal or a log, where no text can act on the screen."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from runner.core.message_text import visible
from runner.core.patterns import lazy_pattern

if TYPE_CHECKING:  # what is written to a file needs no colours
    from rich.color import ColorSystem
    from rich.style import Style

_CUT = "…"
# Of programs that colour their output, also as a document has it, where the escape is
# replaced. What else acts on a terminal becomes visible.
_SEQUENCE = lazy_pattern(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\ufffd\[[0-9;]*[mK]")
# One cell may have any number of combining characters.
_MAX_CHARACTERS_OF_CELL = 4


class Span(NamedTuple):
    """A piece of one line. `style` is one of rich's, such as `bold red`."""

    text: str
    style: str = ""


class Line(NamedTuple):
    """One line, without a line break in it."""

    spans: tuple[Span, ...]

    @classmethod
    def of(cls, *spans: Span | str) -> Line:
        """A line of these pieces; a plain text has no style."""
        found = []
        for span in spans:
            piece = Span(span) if isinstance(span, str) else span
            if piece.text:
                found.append(piece)
        return cls(tuple(found))

    @property
    def plain(self) -> str:
        return "".join(span.text for span in self.spans)

    def painted(self, colours: ColorSystem | None, width: int | None = None) -> str:
        """The line with its styles, cut to so many columns if `width` is given."""
        spans = self.spans if width is None else _cut(self.spans, width)
        if colours is None:
            return "".join(span.text for span in spans)
        return "".join(_painted(span, colours) for span in spans)


def one_line(text: str) -> str:
    """A text of any origin on one line, without what acts on a terminal."""
    return " ".join(visible(_SEQUENCE().sub("", text)).split())


def lines_of(text: str) -> list[str]:
    """The lines of a text of any origin, without what acts on a terminal."""
    lines = []
    for line in _SEQUENCE().sub("", text).splitlines():
        lines.append(visible(line).expandtabs(4).rstrip())
    while lines and not lines[-1]:
        lines.pop()
    return lines


def cell_len(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if _is_plain(text):
        return len(text)
    from rich import cells

    return cells.cell_len(text)


def _sized(text: str, width: int) -> str:
    """The text cut or filled to so many columns."""
    if _is_plain(text):
        return text[:width].ljust(width)
    from rich import cells

    return cells.set_cell_size(text, width)


def _is_plain(text: str) -> bool:
    """Whether each character takes one column; rich, which knows the others, is slow to
    import.
    """
    return text.isascii() and text.isprintable()


def fitted(text: str, width: int) -> str:
    """The text cut to so many columns, with an ellipsis if something is missing."""
    if len(text) > width * _MAX_CHARACTERS_OF_CELL:
        text = text[: width * _MAX_CHARACTERS_OF_CELL]
    if cell_len(text) <= width:
        return text
    return _sized(text, max(0, width - 1)) + _CUT


def padded(text: str, width: int) -> str:
    """The text cut or filled to exactly so many columns."""
    return _sized(fitted(text, width), width)


def _cut(spans: tuple[Span, ...], width: int) -> list[Span]:
    cut = []
    for span in spans:
        if width <= 0:
            break
        text = fitted(span.text, width)
        cut.append(Span(text, span.style))
        width -= cell_len(text)
    return cut


def _painted(span: Span, colours: ColorSystem) -> str:
    if not span.style:
        return span.text
    return _style(span.style).render(span.text, color_system=colours)


@lru_cache
def _style(name: str) -> Style:
    from rich.style import Style

    return Style.parse(name)
