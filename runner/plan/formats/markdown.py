"""Markdown as plans write it: lines with their endings, and which of them are hidden.

Fences, comments and front matter are hidden. Every Markdown format must agree on what
is an example and what is a task, so the rule is here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from runner.core.errors import InvalidInput, Problem

RULE = re.compile(r" {0,3}(?:-{3,}|\*{3,}|_{3,})\s*")
# ai-sdlc's own stories have fences whose backticks a template escaped (S-0044:414).
_FENCE = re.compile(
    r"(?P<indent>[ \t]*)(?P<fence>(?:\\`){3,}|`{3,}(?=[^`]*$)|~{3,})[ \t]*(?P<info>\S*).*"
)
# Languages in which a plan shows an example of a plan (S-0044). Tasks in a fence with
# any other language mean that its end was forgotten.
_EXAMPLE_LANGUAGES = frozenset({"", "md", "markdown", "text", "txt", "plaintext"})

MAX_LINE = 100_000  # characters
# Each fence without an end costs a walk to the end of the file.
MAX_UNCLOSED = 50

IsItem = Callable[[str], bool]  # whether a line is a task item without indentation


@dataclass
class Page:
    """A text as lines without their endings; lines are numbered from 0.

    `endings`: the ending of each line. `hidden_regions`: first line → last line of
    front matter, fences and comments. `unclosed_fences`: the opening lines of fences
    that never close, which hide nothing.
    """

    lines: list[str]
    endings: list[str]
    hidden_regions: dict[int, int]
    unclosed_fences: list[int]

    def text(self) -> str:
        pairs = zip(self.lines, self.endings, strict=True)
        return "".join(line + ending for line, ending in pairs)

    def visible_lines(self) -> Iterator[tuple[int, str]]:
        """The index and text of each line that is in no hidden region."""
        index = 0
        while index < len(self.lines):
            if index in self.hidden_regions:
                index = self.hidden_regions[index] + 1
            else:
                yield index, self.lines[index]
                index += 1

    def hidden_items(self, is_item: IsItem) -> Iterator[tuple[int, int, int]]:
        """First line, last line and number of items of each hidden region with items."""
        for first, last in self.hidden_regions.items():
            count = sum(is_item(line) for line in self.lines[first : last + 1])
            if count:
                yield first, last, count


def heading_text(line: str) -> str | None:
    """The text of an ATX heading without its closing hashes; None for any other line.

    The text of a bare `##` is "".

    Not a regular expression: a lazy text before optional blanks takes time that grows
    with the square of the line, and CPython before 3.11.5 mishandles the possessive
    quantifiers that would prevent it.
    """
    text = line.lstrip("#")
    level = len(line) - len(text)
    if not 1 <= level <= 6 or not text.startswith((" ", "\t")):
        return None
    return text.lstrip(" \t").rstrip(" \t#")


def heading_level(line: str) -> int:
    """The number of hashes that a heading begins with."""
    return len(line) - len(line.lstrip("#"))


def indent_of(line: str) -> int:
    """The width of the line's indentation in columns; tab stops are 4 apart."""
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip(" "))


def read_page(path: str, text: str, is_item: IsItem) -> Page:
    """The page of this text.

    Raises InvalidInput for a line that is too long, and for so many unclosed fences
    that examples and tasks cannot be told apart.
    """
    lines, endings = _split_lines(text)
    hidden_regions, unclosed_fences = _hidden_regions(lines, is_item)
    for index, line in enumerate(lines):
        if len(line) > MAX_LINE:
            what = f"this line has {len(line):,} characters"
            remedy = "no plan has such a line; is this the right file?"
            raise InvalidInput([Problem(path, index + 1, what, remedy)])
    if len(unclosed_fences) > MAX_UNCLOSED:
        what = f"more than {MAX_UNCLOSED} code fences are never closed"
        remedy = "close each one with a fence on a line of its own"
        raise InvalidInput([Problem(path, unclosed_fences[0] + 1, what, remedy)])
    return Page(lines, endings, hidden_regions, unclosed_fences)


def _split_lines(text: str) -> tuple[list[str], list[str]]:
    """The lines of the text, and the ending of each: `\\n`, `\\r\\n` or "".

    Splits at `\\n` only: str.splitlines would also cut at form feeds and U+2028.
    """
    lines, endings = [], []
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        body = line
        if line.endswith("\n"):
            body = line.removesuffix("\n").removesuffix("\r")
        lines.append(body)
        endings.append(line[len(body) :])
    return lines, endings


def _hidden_regions(
    lines: Sequence[str], is_item: IsItem
) -> tuple[dict[int, int], list[int]]:
    """`hidden_regions` and `unclosed_fences` of the page with these lines."""
    regions: dict[int, int] = {}
    unclosed: list[int] = []
    index = 0
    front_matter_end = _front_matter_end(lines, is_item)
    if front_matter_end:
        regions[0] = front_matter_end
        index = front_matter_end + 1
    last_comment_end = _last_comment_end(lines)
    while index < len(lines) and len(unclosed) <= MAX_UNCLOSED:
        end = None
        # Below the last `-->` no comment closes, so searching for one would cost a
        # walk to the end of the file for every line.
        if index <= last_comment_end:
            end = _comment_end(lines, index)
        fence = _FENCE.fullmatch(lines[index])
        if fence:
            end = _fence_end(lines, index, fence, is_item)
            if end is None:
                unclosed.append(index)
        if end is not None:
            regions[index] = end
            index = end
        index += 1
    return regions, unclosed


def _front_matter_end(lines: Sequence[str], is_item: IsItem) -> int:
    """The last line of the YAML front matter, or 0 if there is none.

    If a task item comes before the end, the `---` is a horizontal rule, as in ai-sdlc's
    story S-0129.
    """
    if not lines or lines[0].removeprefix("\ufeff").rstrip() != "---":
        return 0
    for index, line in enumerate(lines[1:], 1):
        if line.rstrip() in ("---", "..."):
            return index
        if is_item(line):
            return 0
    return 0


def _last_comment_end(lines: Sequence[str]) -> int:
    """The index of the last line that holds `-->`, or -1."""
    for index in range(len(lines) - 1, -1, -1):
        if "-->" in lines[index]:
            return index
    return -1


def _comment_end(lines: Sequence[str], start: int) -> int | None:
    """The last line of the HTML comment that begins at line `start`, or None."""
    if not lines[start].lstrip().startswith("<!--"):
        return None
    for index in range(start, len(lines)):
        if "-->" in lines[index]:
            return index
    return None


def _fence_end(
    lines: Sequence[str], start: int, opener: re.Match[str], is_item: IsItem
) -> int | None:
    """The index of the line that closes this fence; None if it is never closed.

    CommonMark would let an unclosed fence run to the end of the file and hide every
    task after it. So three rules differ from CommonMark. Fences with a language nest,
    as their authors mean them to. A fence inside a list item ends before the next task
    or section. And tasks inside, say, a `json` fence show that its end was forgotten.
    """
    depth = 1
    for index in range(start + 1, len(lines)):
        line = lines[index]
        if opener["indent"] and (is_item(line) or re.match("#{2,6} ", line)):
            return None
        fence = _FENCE.fullmatch(line)
        if fence and fence["fence"].startswith(opener["fence"]):
            depth += 1 if fence["info"] else -1
        if depth == 0:
            return None if _forgot_end(lines[start:index], opener, is_item) else index
    return None


def _forgot_end(lines: Sequence[str], opener: re.Match[str], is_item: IsItem) -> bool:
    """Whether tasks among the fence's lines show that its end was forgotten."""
    if opener["info"].lower() in _EXAMPLE_LANGUAGES:
        return False
    return any(is_item(line) for line in lines)
