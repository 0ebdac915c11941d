"""A plan's text in which marks are replaced again and again, without reading it anew."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from runner.core.json_document import Node
from runner.plan.formats.markdown import Page


class Span(NamedTuple):
    """Where a mark begins and ends in the text that was read."""

    start: int
    end: int


class MarkedText:
    """`text` as it was read and with what was replaced since.

    Spans are always those of the text that was read, whatever has become longer or
    shorter before them.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        # The starts of the spans that have another length now, in ascending order, and
        # by how much.
        self._starts: list[int] = []
        self._growth: list[int] = []

    def replace(self, replacements: Iterable[tuple[Span, str]]) -> None:
        """Put each text where the span is; no two spans overlap."""
        ordered = sorted(replacements)
        if not ordered:
            return
        growth_before = [0, *accumulate(self._growth)]
        parts: list[str] = []
        copied_to = 0
        for span, new in ordered:
            index = bisect_left(self._starts, span.start)
            start = span.start + growth_before[index]
            end = span.end + growth_before[index]
            if self._is_known(index, span):
                end += self._growth[index]
            parts += (self.text[copied_to:start], new)
            copied_to = end
        parts.append(self.text[copied_to:])
        self.text = "".join(parts)
        for span, new in ordered:
            self._note_length(span, len(new))

    def _is_known(self, index: int, span: Span) -> bool:
        return index < len(self._starts) and self._starts[index] == span.start

    def _note_length(self, span: Span, length: int) -> None:
        index = bisect_left(self._starts, span.start)
        growth = length - (span.end - span.start)
        if self._is_known(index, span):
            self._growth[index] = growth
        elif growth:
            self._starts.insert(index, span.start)
            self._growth.insert(index, growth)


class MarkedPage:
    """The text of a page of which single lines are replaced."""

    def __init__(self, text: str, page: Page) -> None:
        self.page = page
        self._text = MarkedText(text)
        lengths = map(len, page.lines)
        endings = map(len, page.endings)
        sizes = (line + ending for line, ending in zip(lengths, endings, strict=True))
        starts = [*accumulate(sizes, initial=0)]
        self._spans = [
            Span(start, start + len(line))
            for start, line in zip(starts, page.lines, strict=False)
        ]

    @property
    def text(self) -> str:
        return self._text.text

    def replace_lines(self, lines: Mapping[int, str]) -> None:
        """Write these lines instead of those with their indices."""
        self._text.replace((self._spans[index], line) for index, line in lines.items())
        for index, line in lines.items():
            self.page.lines[index] = line


class NewValue(NamedTuple):
    """The new value of a node. `offset`: where the text begins that the node is in."""

    node: Node
    value: str | bool
    offset: int = 0


class JsonText:
    """A JSON text, or one with JSON texts in it, of which single values are replaced."""

    def __init__(self, text: str) -> None:
        self._text = MarkedText(text)

    @property
    def text(self) -> str:
        return self._text.text

    def set_values(self, changes: Sequence[NewValue]) -> None:
        """Write the new values, and give them to the nodes."""
        self._text.replace(
            (
                Span(node.start + offset, node.end + offset),
                json.dumps(value, ensure_ascii=False),
            )
            for node, value, offset in changes
        )
        for node, value, _ in changes:
            node.value = value
