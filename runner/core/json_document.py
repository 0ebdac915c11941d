"""JSON documents whose values can be located, and replaced with every other byte kept.

The module `json` gives no positions. Numbers stay as written: an id `30.10` must not
become 30.1. The parser does not recurse and its results are bounded, so no file can
exhaust the stack or the memory.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from json import decoder

from runner.core.errors import InvalidInput, Problem

MAX_DEPTH = 100
MAX_VALUES = 1_000_000

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None}


class Number(str):
    """A number as it is written."""

    __slots__ = ()


Scalar = str | bool | None


@dataclass(slots=True)
class Node:
    """One value, `text[start:end]` of its document.

    A list has `items`, an object `members`, all else a `value`.
    """

    start: int
    end: int = 0
    value: Scalar = None
    items: list[Node] | None = None
    members: dict[str, Node] | None = None

    def get(self, name: str) -> Node | None:
        """The member of that name; None if it is missing or this is not an object."""
        return (self.members or {}).get(name)

    def text(self, name: str) -> str:
        """The member's text, or its number as written; "" for anything else."""
        member = self.get(name)
        if member is None or not isinstance(member.value, str):
            return ""
        return member.value

    @property
    def is_null(self) -> bool:
        return self.value is None and self.items is None and self.members is None

    @property
    def kind(self) -> str:
        """The type of the value, in words for a message."""
        if self.members is not None:
            return "an object"
        if self.items is not None:
            return "a list"
        if isinstance(self.value, Number):
            return "a number"
        if isinstance(self.value, str):
            return "text"
        if self.value is None:
            return "null"
        return str(self.value).lower()


@dataclass
class JsonDocument:
    """One JSON text, which begins on `first_line` of its file, counted from 0."""

    path: str
    text: str
    root: Node
    first_line: int = 0

    def line_index(self, node: Node) -> int:
        """The line of its file on which the value begins, counted from 0."""
        return self.first_line + bisect_right(self._line_ends, node.start - 1)

    @cached_property
    def _line_ends(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.text)]


def load(path: str, text: str, first_line: int = 0) -> JsonDocument:
    """Parse one JSON text, which begins on `first_line` of its file, counted from 0.

    Raises InvalidInput with the line for broken syntax, duplicate keys, and what is too
    deep or too large.
    """
    # Editors write a byte order mark.
    start = 1 if text.startswith("\ufeff") else 0
    root = _Parser(path, text, first_line, start).parse()
    return JsonDocument(path, text, root, first_line)


@dataclass
class _Parser:
    """A pushdown parser, which has read `text` up to `position`.

    `open` are the containers around the position, the innermost last, each with the key
    that was read last if it is an object.
    """

    path: str
    text: str
    first_line: int
    position: int = 0
    open: list[tuple[Node, str | None]] = field(default_factory=list)

    def parse(self) -> Node:
        root: Node | None = None
        for count, node in enumerate(self._values(), 1):
            if count > MAX_VALUES:
                what = f"more than {MAX_VALUES:,} values"
                raise self._problem(what, "split the file", node.start)
            if root is None:
                root = node
        self._skip_space()
        if self.position < len(self.text):
            raise self._syntax_error("something follows the end of the document")
        assert root is not None
        return root

    def _values(self) -> Iterator[Node]:
        """Read all values in the order of the text, and put each into its container."""
        while True:
            node = self._read_value()
            if self.open:
                self._add_to_container(node)
            yield node
            if node.items is not None or node.members is not None:
                self.open.append((node, None))
                if len(self.open) > MAX_DEPTH:
                    what = f"nested more than {MAX_DEPTH} levels deep"
                    raise self._problem(what, "is this the right file?")
                if not self._close_container():
                    self._read_key()
                    continue
            if not self._move_to_next_value():
                return

    def _read_value(self) -> Node:
        self._skip_space()
        start = self.position
        node = Node(start)
        character = self.text[start : start + 1]
        if character == "{":
            node.members = {}
            self.position += 1
        elif character == "[":
            node.items = []
            self.position += 1
        elif character == '"':
            node.value = self._read_string()
        elif number := _NUMBER.match(self.text, start):
            node.value = Number(number[0])
            self.position = number.end()
        else:
            node.value = self._read_word(character)
        node.end = self.position
        return node

    def _read_word(self, character: str) -> bool | None:
        for word, value in _WORDS.items():
            if self.text.startswith(word, self.position):
                self.position += len(word)
                return value
        if character in ("", ",", "]", "}"):
            raise self._syntax_error("a value is missing here")
        raise self._syntax_error("this is not a JSON value")

    def _add_to_container(self, node: Node) -> None:
        parent, key = self.open[-1]
        if parent.items is not None:
            parent.items.append(node)
        elif parent.members is not None and key is not None:
            if key in parent.members:
                what = f"duplicate key {key!r}"
                raise self._problem(what, "keep one of the two", node.start)
            parent.members[key] = node

    def _read_key(self) -> None:
        """Read the key of the next value, if the innermost container is an object."""
        parent, _ = self.open[-1]
        if parent.members is None:
            return
        self._skip_space()
        if not self.text.startswith('"', self.position):
            raise self._syntax_error("a key in double quotes is missing here")
        key = self._read_string()
        self._skip_space()
        if not self.text.startswith(":", self.position):
            raise self._syntax_error("a colon is missing here")
        self.position += 1
        self.open[-1] = (parent, key)

    def _move_to_next_value(self) -> bool:
        """Close the containers that end here. False at the end of the document."""
        while self.open:
            if self._close_container():
                continue
            if not self.text.startswith(",", self.position):
                raise self._syntax_error("a comma or a closing bracket is missing here")
            self.position += 1
            self._read_key()
            return True
        return False

    def _close_container(self) -> bool:
        """Close the innermost container if it ends here; return whether it does."""
        self._skip_space()
        parent, _ = self.open[-1]
        bracket = "]" if parent.items is not None else "}"
        if not self.text.startswith(bracket, self.position):
            return False
        self.position += 1
        parent.end = self.position
        self.open.pop()
        return True

    def _read_string(self) -> str:
        try:
            value, self.position = decoder.scanstring(  # type: ignore[attr-defined]
                self.text, self.position + 1, True
            )
        except decoder.JSONDecodeError as error:
            message = error.msg[:1].lower() + error.msg[1:]
            raise self._syntax_error(message, error.pos) from None
        # Half of a surrogate pair cannot be stored, so it becomes U+FFFD.
        return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _skip_space(self) -> None:
        match = _SPACE.match(self.text, self.position)
        assert match
        self.position = match.end()

    def _syntax_error(self, what: str, position: int | None = None) -> InvalidInput:
        message = f"not valid JSON: {what}"
        return self._problem(message, "fix the syntax there", position)

    def _problem(
        self, what: str, remedy: str, position: int | None = None
    ) -> InvalidInput:
        if position is None:
            position = self.position
        line = self.first_line + self.text.count("\n", 0, position) + 1
        return InvalidInput([Problem(self.path, line, what, remedy)])
