"""Masks secrets in documents, and in a stream as it is written."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TypeVar

from runner.core.documents import Document
from runner.core.patterns import lazy_pattern
from runner.policy.redaction import (
    MASK,
    SHORTEST,
    Secrets,
    forms,
    is_short,
    lines_of,
)

_MASK = MASK.encode()
_LINE_ENDS = lazy_pattern(rb"[\r\n]+")
# Of a secret that is folded behind its first letters, the letters that may be shown. To
# hold back every line that ends with the first letter of a secret would delay the output.
_MAY_BE_SHOWN = 2

# Fanin itself fills in these fields, so a match with a secret is a coincidence.
_NEVER_MASKED = {"event", "time"}

D = TypeVar("D", bound=Document)

Span = tuple[int, int]  # the first byte, and the one behind the last


class Masker:
    """Masks values in a stream that comes in pieces, even if a value spans many pieces.

    It looks for the same forms of a value as `Secrets`, also with line ends inside, and
    for each line of a value, because a log may separate them. A search for secrets looks
    for the random parts of lines only: a line such as `"type": "service_account",` is
    ordinary text, which must not refuse a file.

    What may be the beginning of a value is held back until more is known. All else is
    returned at once, so that a log can be followed.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        written: set[bytes] = set()
        for value in values:
            if not is_short(value):
                written |= forms(value)
                written |= lines_of(value)
        self._forms = {_LINE_ENDS().sub(b"", form) for form in written}
        self._held_back = b""
        # the last bytes that were returned, if a value may begin with them
        self._shown = b""

    def feed(self, data: bytes) -> bytes:
        """Add a piece of the stream; return the masked bytes that are complete."""
        if not self._forms:
            return data
        window = _Window(self._shown + self._held_back + data)
        secrets = self._secrets_in(window.text)
        torn = self._torn_secret(window, secrets)
        masked = window.masked(len(self._shown), torn, secrets)
        self._held_back = window.data[window.offset(torn) :]
        last_end = max((end for _, end in secrets if end <= torn), default=0)
        self._shown = window.text[max(torn - _MAY_BE_SHOWN, last_end) : torn]
        return masked

    def flush(self) -> bytes:
        """Return the masked bytes that `feed` held back, at the end of the stream.

        The beginning of a value is masked too, unless any other text may begin so.
        """
        held_back = self._held_back
        self._held_back = self._shown = b""
        if len(_LINE_ENDS().sub(b"", held_back)) < SHORTEST:
            return held_back
        return _MASK

    def _secrets_in(self, text: bytes) -> list[Span]:
        """The parts of the text that are secrets, in order and without overlaps."""
        found: list[Span] = []
        for form in self._forms:
            start = text.find(form)
            while start >= 0:
                found.append((start, start + len(form)))
                start = text.find(form, start + 1)
        apart: list[Span] = []
        for start, end in sorted(found):
            if apart and start < apart[-1][1]:
                start, last_end = apart.pop()
                end = max(end, last_end)
            apart.append((start, end))
        return apart

    def _torn_secret(self, window: _Window, secrets: Sequence[Span]) -> int:
        """Where in the text a secret begins that the window's end has torn; the text's
        length if none does.
        """
        text = window.text
        shortest = 1
        if window.data.endswith((b"\r", b"\n")):
            shortest = _MAY_BE_SHOWN + 1
        torn = self._first_beginning(text, 0, shortest)
        for start, end in secrets:
            # What begins inside of a whole secret is masked with it.
            if start < torn < end:
                torn = self._first_beginning(text, end, shortest)
        return torn

    def _first_beginning(self, text: bytes, start: int, shortest: int) -> int:
        """The first place from `start` on at which all the rest of the text, of at least
        `shortest` bytes, is the beginning of a form.
        """
        first = len(text)
        for form in self._forms:
            # A whole form is no torn one.
            position = max(start, len(text) - len(form) + 1) - 1
            while (
                position := text.find(form[:shortest], position + 1, first + shortest)
            ) >= 0:
                if form.startswith(text[position:]):
                    first = min(first, position)
                    break
        return first


class _Window:
    """A part of the stream: `data` as it is, and `text` without its line ends."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.text = data.translate(None, b"\r\n")

    @cached_property
    def _line_ends(self) -> tuple[list[int], list[int]]:
        """Places in the text before which line ends stood, and the number of bytes that
        were taken out up to there.
        """
        lengths: list[int] = []
        positions: list[int] = []
        for match in _LINE_ENDS().finditer(self.data):
            positions.append(match.start() - sum(lengths[-1:]))
            lengths.append(sum(lengths[-1:]) + len(match[0]))
        return positions, lengths

    def offset(self, position: int) -> int:
        """Where in the data the byte at this place of the text is."""
        if position == len(self.text):
            return len(self.data)
        positions, removed = self._line_ends
        index = bisect_right(positions, position)
        return position + (removed[index - 1] if index else 0)

    def masked(self, start: int, end: int, secrets: Sequence[Span]) -> bytes:
        """The data between two places of the text, with the mask for each secret that
        begins before the end. No line end stands before the first place.
        """
        pieces: list[bytes] = []
        rest_start = start
        for first, behind in secrets:
            if first >= end:
                break
            pieces += [self.data[rest_start : self.offset(max(first, start))], _MASK]
            # The line end behind a secret is not a part of it.
            rest_start = self.offset(behind - 1) + 1
        pieces.append(self.data[rest_start : self.offset(end)])
        return b"".join(pieces)


def masked_document(document: D, secrets: Secrets) -> D:
    """The document with `***` for every secret in its texts, at any depth."""
    if not secrets.names:
        return document
    changes: dict[str, object] = {}
    for name, value in document:
        if name in _NEVER_MASKED:
            continue
        without_secrets = _masked_value(value, secrets)
        if without_secrets is not value:
            changes[name] = without_secrets
    return document.model_copy(update=changes) if changes else document


def _masked_value(value: object, secrets: Secrets) -> object:
    """The value itself if it holds no secret."""
    if isinstance(value, Document):
        return masked_document(value, secrets)
    if isinstance(value, tuple):
        items = tuple(_masked_value(item, secrets) for item in value)
        return value if items == value else items
    # A member of an enumeration is fanin's own word and no text.
    if type(value) is str and secrets.find_in_text(value):
        return secrets.masked_text(value)
    return value
