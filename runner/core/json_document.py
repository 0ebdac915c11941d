"""JSON text to values that know where they stand, so that one value can be changed and
every other byte kept.

`json` gives no places. Numbers stay as they are written: an id `30.10` must not become
30.1. Nothing here recurses, and what is parsed is bounded, so no file can exhaust the
stack or the memory.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from json import decoder

from runner.core.errors import InvalidInput, Problem

MAX_DEPTH = 100
MAX_VALUES = 500_000

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None}


class Number(str):
    """A number as it is written."""

    __slots__ = ()


Scalar = str | bool | None


@dataclass(slots=True)
class Node:
    """One value and where it stands: `[start, end)` in the text. `value` is for
    scalars; the others have children.
    """

    start: int
    end: int = 0
    value: Scalar = None
    items: list[Node] | None = None
    members: dict[str, Node] | None = None

    def get(self, name: str) -> Node | None:
        """The member of that name; None if this is no object or has none."""
        return (self.members or {}).get(name)

    def text(self, name: str) -> str:
        """The member's text or number as written; "" for anything else."""
        found = self.get(name)
        return found.value if found is not None and isinstance(found.value, str) else ""

    @property
    def is_null(self) -> bool:
        return self.value is None and self.items is None and self.members is None

    @property
    def kind(self) -> str:
        """What it is, in words for a message."""
        if self.members is not None or self.items is not None:
            return "an object" if self.members is not None else "a list"
        if isinstance(self.value, str):
            return "a number" if isinstance(self.value, Number) else "text"
        return "null" if self.value is None else str(self.value).lower()


@dataclass
class JsonDocument:
    """One JSON text; `first_line` counts from 0 and is where it begins in its file."""

    path: str
    text: str
    root: Node
    first_line: int = 0

    @cached_property
    def _breaks(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.text)]

    def at(self, node: Node) -> int:
        """The line on which the value begins, counted from 0."""
        return self.first_line + bisect_right(self._breaks, node.start - 1)


@dataclass
class _Parser:
    """A pushdown parser: `open` are the containers around the place where it is."""

    path: str
    text: str
    first_line: int
    at: int = 0
    open: list[tuple[Node, str | None]] = field(default_factory=list)

    def parse(self) -> Node:
        root: Node | None = None
        for count, node in enumerate(self._values(), 1):
            if count > MAX_VALUES:
                raise self._wrong(
                    f"more than {MAX_VALUES:,} values", "split the file", node.start
                )
            if root is None:
                root = node
        self._skip()
        if self.at < len(self.text):
            raise self._invalid("something follows the end of the document")
        assert root is not None
        return root

    def _values(self) -> Iterator[Node]:
        """Every value in the order of the text; each is put into its container."""
        while True:
            node = self._value()
            yield node
            if node.items is not None or node.members is not None:
                self.open.append((node, None))
                if len(self.open) > MAX_DEPTH:
                    raise self._wrong(
                        f"nested more than {MAX_DEPTH} deep",
                        "no plan is; is this the right file?",
                    )
                if not self._closes():
                    self._before_value()
                    continue
            if not self._after_value():
                return

    def _value(self) -> Node:
        self._skip()
        start, char = self.at, self.text[self.at : self.at + 1]
        node = Node(start)
        if char == "{":
            node.members, self.at = {}, start + 1
        elif char == "[":
            node.items, self.at = [], start + 1
        elif char == '"':
            node.value = self._string()
        elif number := _NUMBER.match(self.text, start):
            node.value, self.at = Number(number[0]), number.end()
        else:
            word = next(
                (word for word in _WORDS if self.text.startswith(word, start)), None
            )
            if word is None:
                raise self._invalid(
                    "a value is missing here"
                    if char in ("", ",", "]", "}")
                    else "this is no JSON value"
                )
            node.value, self.at = _WORDS[word], start + len(word)
        node.end = self.at
        if self.open:
            self._put(node)
        return node

    def _put(self, node: Node) -> None:
        parent, key = self.open[-1]
        if parent.items is not None:
            parent.items.append(node)
        elif parent.members is not None and key is not None:
            if key in parent.members:
                raise self._wrong(
                    f"the key {key!r} stands here a second time",
                    "keep one of the two",
                    node.start,
                )
            parent.members[key] = node

    def _before_value(self) -> None:
        """Reads the key, where the innermost container is an object."""
        parent, _ = self.open[-1]
        if parent.members is None:
            return
        self._skip()
        if not self.text.startswith('"', self.at):
            raise self._invalid("a key in double quotes is missing here")
        key = self._string()
        self._skip()
        if not self.text.startswith(":", self.at):
            raise self._invalid("a colon is missing here")
        self.at += 1
        self.open[-1] = (parent, key)

    def _after_value(self) -> bool:
        """Closes what ends here; whether another value follows."""
        while self.open:
            if self._closes():
                continue
            if not self.text.startswith(",", self.at):
                raise self._invalid("a comma or a closing bracket is missing here")
            self.at += 1
            self._before_value()
            return True
        return False

    def _closes(self) -> bool:
        """Whether the innermost container ends here; if so it is left."""
        self._skip()
        parent, _ = self.open[-1]
        if not self.text.startswith("]" if parent.items is not None else "}", self.at):
            return False
        self.at += 1
        parent.end = self.at
        self.open.pop()
        return True

    def _string(self) -> str:
        try:
            value, self.at = decoder.scanstring(self.text, self.at + 1, True)  # type: ignore[attr-defined]
        except decoder.JSONDecodeError as error:
            raise self._invalid(
                error.msg[:1].lower() + error.msg[1:], error.pos
            ) from None
        # half of a surrogate pair cannot be stored
        return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        assert found
        self.at = found.end()

    def _invalid(self, what: str, at: int | None = None) -> InvalidInput:
        return self._wrong(f"not valid JSON: {what}", "mend the syntax there", at)

    def _wrong(self, what: str, remedy: str, at: int | None = None) -> InvalidInput:
        line = (
            self.first_line
            + self.text.count("\n", 0, self.at if at is None else at)
            + 1
        )
        return InvalidInput([Problem(self.path, line, what, remedy)])


def load(path: str, text: str, first_line: int = 0) -> JsonDocument:
    """Parse one JSON text. InvalidInput with the place for broken syntax, doubled keys,
    and what is too deep or large.

    A byte order mark is passed over, as editors write one; `first_line` is where the
    text begins in its file.
    """
    parser = _Parser(path, text, first_line, at=1 if text.startswith("\ufeff") else 0)
    return JsonDocument(path, text, parser.parse(), first_line)


def replaced(text: str, changes: dict[int, tuple[int, str]]) -> str:
    """The text with each `[start, end)` exchanged for a JSON string of the new word;
    start → (end, word).
    """
    parts, at = [], 0
    for start, (end, word) in sorted(changes.items()):
        parts += [text[at:start], json.dumps(word, ensure_ascii=False)]
        at = end
    return "".join([*parts, text[at:]])
