"""Markdown as plans have it: lines that keep their ends, and which of them are code,
comment or front matter.

Separate because every Markdown format must agree on what is an example and what is a
task.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from runner.core.errors import InvalidInput, Problem

RULE = re.compile(r" {0,3}(?:-{3,}|\*{3,}|_{3,})\s*")
# ai-sdlc's own stories hold fences whose backticks were escaped on the way through a
# template (S-0044:414).
_FENCE = re.compile(
    r"(?P<indent>[ \t]*)(?P<fence>(?:\\`){3,}|`{3,}(?=[^`]*$)|~{3,})[ \t]*(?P<info>\S*).*"
)
# Languages in which a plan shows what a plan looks like (S-0044); tasks inside any
# other: its end was forgotten.
_EXAMPLE_LANGUAGES = frozenset({"", "md", "markdown", "text", "txt", "plaintext"})

MAX_LINE = 100_000  # characters
MAX_UNCLOSED = 50  # looking for the end of a fence costs a walk to the end of the file

IsItem = Callable[[str], bool]  # whether a line is a task that is not indented


@dataclass
class Page:
    """The text as lines without their endings. `regions`: first → last line of what is
    not plan text.
    """

    lines: list[str]
    ends: list[str]
    regions: dict[int, int]
    unclosed: list[int]

    def text(self) -> str:
        return "".join(
            line + end for line, end in zip(self.lines, self.ends, strict=True)
        )

    def visible(self) -> Iterator[int]:
        """Numbers of the lines that are neither front matter nor in a fence or comment."""
        at = 0
        while at < len(self.lines):
            if at in self.regions:
                at = self.regions[at] + 1
            else:
                yield at
                at += 1


def heading_text(line: str) -> str | None:
    """The text of an ATX heading without its closing hashes, empty for a bare `##`;
    None for any other line.

    Not a regular expression: a lazy text before optional blanks takes time that grows
    with the square of the line, and CPython before 3.11.5 mishandles the possessive
    quantifiers that would prevent it.
    """
    text = line.lstrip("#")
    level = len(line) - len(text)
    if not 1 <= level <= 6 or not text.startswith((" ", "\t")):
        return None
    return text.lstrip(" \t").rstrip(" \t#")


def read_page(path: str, text: str, is_item: IsItem) -> Page:
    """The page of this text. InvalidInput if so many fences stay open that no reading
    of it is right.

    Splits at `\\n` only: str.splitlines would also cut at form feeds and U+2028 inside
    a line.
    """
    raw = re.findall(r"[^\n]*\n|[^\n]+", text)
    lines, ends = [], []
    for line in raw:
        body = (
            line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
        )
        lines.append(body)
        ends.append(line[len(body) :])
    regions, unclosed = _regions(lines, is_item)
    for at, line in enumerate(lines):
        if len(line) > MAX_LINE:
            what = f"a line of {len(line):,} characters"
            raise InvalidInput(
                [
                    Problem(
                        path, at + 1, what, "no plan has one; is this the right file?"
                    )
                ]
            )
    if len(unclosed) > MAX_UNCLOSED:
        what = f"more than {MAX_UNCLOSED} code fences are never closed"
        raise InvalidInput(
            [Problem(path, unclosed[0] + 1, what, "close each with a line of its own")]
        )
    return Page(lines, ends, regions, unclosed)


def _regions(lines: Sequence[str], is_item: IsItem) -> tuple[dict[int, int], list[int]]:
    """First → last line of front matter, fences and comments; and where fences open
    that never close.
    """
    regions: dict[int, int] = {}
    unclosed: list[int] = []
    end = _front_matter(lines, is_item)
    if end:
        regions[0] = end
    at = end + 1 if end else 0
    last_end = max((at for at, line in enumerate(lines) if "-->" in line), default=-1)
    while at < len(lines) and len(unclosed) <= MAX_UNCLOSED:
        last = _comment_end(lines, at) if at <= last_end else None
        fence = _FENCE.fullmatch(lines[at])
        if fence:
            last = _fence_end(lines, at, fence, is_item)
            if last is None:
                unclosed.append(at)
        if last is not None:
            regions[at] = last
            at = last
        at += 1
    return regions, unclosed


def _front_matter(lines: Sequence[str], is_item: IsItem) -> int:
    """Last line of the YAML front matter, or 0. A task item in it means that the `---`
    is only a rule (S-0129).
    """
    if not lines or lines[0].removeprefix("\ufeff").rstrip() != "---":
        return 0
    for at, line in enumerate(lines[1:], 1):
        if line.rstrip() in ("---", "..."):
            return at
        if is_item(line):
            return 0
    return 0


def _comment_end(lines: Sequence[str], start: int) -> int | None:
    """Where the HTML comment that starts this line ends: what is commented out must not
    run.
    """
    if not lines[start].lstrip().startswith("<!--"):
        return None
    return next((at for at in range(start, len(lines)) if "-->" in lines[at]), None)


def _fence_end(
    lines: Sequence[str], start: int, opener: re.Match[str], is_item: IsItem
) -> int | None:
    """The line that closes this fence; None if it is no fence because nothing does.

    CommonMark would let an unclosed fence run to the end of the file and hide every
    task behind it. So: fences with a language nest (an author means them to, and
    CommonMark would pair them wrongly); a fence inside a list item ends before the next
    task or section; and tasks inside, say, `json` show that its end was forgotten.
    """
    depth = 1
    for at in range(start + 1, len(lines)):
        if opener["indent"] and (is_item(lines[at]) or re.match("#{2,6} ", lines[at])):
            return None
        mark = _FENCE.fullmatch(lines[at])
        if mark and mark["fence"].startswith(opener["fence"]):
            depth += 1 if mark["info"] else -1
        if depth == 0:
            holds_tasks = any(is_item(line) for line in lines[start:at])
            return (
                None
                if holds_tasks and opener["info"].lower() not in _EXAMPLE_LANGUAGES
                else at
            )
    return None


def indent_of(line: str) -> int:
    wide = line.expandtabs(4)
    return len(wide) - len(wide.lstrip(" "))
