"""Gitignore patterns: which paths they match, and whether two could match one path.

pathspec answers the first question. No library answers the second; a batch is safe only
if the answer is "they could" in case of doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from pathspec import GitIgnoreSpec

from runner.core.errors import Problem
from runner.core.validation import Locate

_WILDCARDS = frozenset("*?[\\")
# Names, stars and slashes between them: nothing that git could refuse.
_PLAINLY_VALID = re.compile(r"/?[\w.*-]+(?:/[\w.*-]+)*/?", re.ASCII)


@lru_cache(maxsize=4096)
def _spec(globs: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(globs)


def invalid(glob: str) -> str | None:
    """Return why `glob` is not a valid gitignore pattern, None if it is."""
    if not glob.strip() or glob.startswith("#"):
        return "it matches nothing"
    # Most are; compiling each would cost more than reading the plan.
    if _PLAINLY_VALID.fullmatch(glob):
        return None
    try:
        _spec((glob,))
    except ValueError as error:
        return str(error)
    return None


def literal(path: str) -> str:
    """The glob that matches this path and nothing else."""
    return "/" + re.sub(r"([\\*?\[\] ])", r"\\\1", path)


def matches(globs: Iterable[str], path: str) -> bool:
    """Whether the globs match `path`, which is relative to the repository.

    A later glob wins over an earlier one; `!` excludes what an earlier one matched.
    """
    return _spec(tuple(globs)).match_file(path)


def could_overlap(ours: Iterable[str], theirs: Iterable[str]) -> bool:
    """Whether some path, existing or new, could match both lists. True in doubt.

    Negated globs only exclude paths, so they are ignored.
    """
    our_patterns = [_segments(glob) for glob in _positive(ours)]
    their_patterns = [_segments(glob) for glob in _positive(theirs)]
    for our_pattern in our_patterns:
        for their_pattern in their_patterns:
            if _meet(our_pattern, their_pattern):
                return True
    return False


class Index:
    """Lists of globs, and the question which of them could overlap with another list.

    Two globs can match one path only if the plain names at the start of one begin the
    start of the other. That rules out most lists without comparing them.
    """

    def __init__(self) -> None:
        self._lists: list[tuple[str, ...]] = []
        # From the plain start of a glob to the numbers of the lists that have it.
        self._by_start: dict[tuple[str, ...], list[int]] = {}
        # The same for every shorter start, down to ().
        self._by_shorter_start: dict[tuple[str, ...], list[int]] = {}

    def add(self, globs: Iterable[str]) -> int:
        """Add a list; return its number, counted from 0."""
        number = len(self._lists)
        self._lists.append(tuple(globs))
        for start in _starts(self._lists[-1]):
            self._by_start.setdefault(start, []).append(number)
            for length in range(len(start)):
                shorter = self._by_shorter_start.setdefault(start[:length], [])
                shorter.append(number)
        return number

    def overlapping(self, globs: Iterable[str]) -> list[int]:
        """The numbers of the lists that could overlap with this one, in order."""
        globs = tuple(globs)
        candidates: set[int] = set()
        for start in _starts(globs):
            candidates.update(self._by_shorter_start.get(start, ()))
            for length in range(len(start) + 1):
                candidates.update(self._by_start.get(start[:length], ()))
        return [
            number
            for number in sorted(candidates)
            if could_overlap(globs, self._lists[number])
        ]


def _positive(globs: Iterable[str]) -> Iterator[str]:
    return (glob for glob in globs if not glob.startswith("!"))


def _starts(globs: Iterable[str]) -> Iterable[tuple[str, ...]]:
    """The plain names before the first wildcard of each glob, without duplicates."""
    starts: dict[tuple[str, ...], None] = {}
    for glob in _positive(globs):
        segments = _segments(glob)
        length = 0
        while length < len(segments) and _WILDCARDS.isdisjoint(segments[length]):
            length += 1
        starts[segments[:length]] = None
    return starts


@lru_cache(maxsize=65536)
def _segments(glob: str) -> tuple[str, ...]:
    """The glob as path segments, with `**` for any number of them.

    The rules are those of gitignore(5): a slash before the end anchors a glob, one at
    the end means a folder, and what lies below a match matches too.
    """
    pattern = glob.rstrip(" ")
    segments = tuple(part for part in pattern.split("/") if part)
    is_anchored = "/" in pattern.rstrip("/")
    is_file = not pattern.endswith("/") and _names_a_file(segments[-1])
    if not is_anchored:
        segments = ("**", *segments)
    if not is_file:
        segments = (*segments, "**")
    return segments


def _names_a_file(name: str) -> bool:
    """Whether a folder is unlikely to have this name: `login.py`, `*.md`, `Makefile`.

    To git such a glob also matches all below a folder of that name. Taken literally,
    `*.md` and `setup.py` could never share a batch. A wrong guess costs little: the
    merge finds the clash.
    """
    has_suffix = "." in name.strip(".*") or "*." in name
    is_capitalized = name[0].isupper() and "*" not in name
    return has_suffix or is_capitalized


@lru_cache(maxsize=65536)
def _meet(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether one path could match both patterns, given as segments."""
    if not a or not b:
        return all(part == "**" for part in (*a, *b))
    if a[0] == "**":
        return _meet(a[1:], b) or _meet(a, b[1:])
    if b[0] == "**":
        return _meet(b, a)
    return _segment_meet(a[0], b[0]) and _meet(a[1:], b[1:])


@lru_cache(maxsize=65536)
def _segment_meet(a: str, b: str) -> bool:
    """Whether one name could match both segments. True in doubt."""
    if _WILDCARDS.isdisjoint(a) and _WILDCARDS.isdisjoint(b):
        return a == b
    if set(a + b) & {"[", "\\"}:
        # Character classes and escapes are not compared, only what precedes them.
        return _fixed_prefixes_agree(a, b)
    if not a or not b:
        return set(a + b) <= {"*"}
    if a[0] == "*":
        return _segment_meet(a[1:], b) or _segment_meet(a, b[1:])
    if b[0] == "*":
        return _segment_meet(b, a)
    first_agrees = a[0] == b[0] or "?" in (a[0], b[0])
    return first_agrees and _segment_meet(a[1:], b[1:])


def _fixed_prefixes_agree(a: str, b: str) -> bool:
    for character_a, character_b in zip(a, b, strict=False):
        if character_a in _WILDCARDS or character_b in _WILDCARDS:
            return True
        if character_a != character_b:
            return False
    return True


def glob_problems(
    path: str, locate: Locate, prefix: Sequence[str | int], **globs: Iterable[str]
) -> list[Problem]:
    """One problem for each invalid glob; the keywords are the fields that hold them.

    `prefix` is the path of the fields' parent in the document.
    """
    problems = []
    for field, patterns in globs.items():
        for glob in patterns:
            reason = invalid(glob)
            if reason is None:
                continue
            what = f"{field}: {glob!r} is not a valid gitignore pattern: {reason}"
            line = locate([*prefix, field])
            problems.append(Problem(path, line, what, "fix the pattern"))
    return problems
