"""Gitignore-style globs: which path they match, and whether two of them could match one
path.

The first question is pathspec's; the second has no library, and a batch is safe only if
its answer errs on the side of "they could".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from pathspec import GitIgnoreSpec

from runner.core.errors import Problem
from runner.core.validation import Locate

# Names, stars and slashes between them: nothing in it that git could refuse.
_PLAINLY_VALID = re.compile(r"/?[\w.*-]+(?:/[\w.*-]+)*/?", re.ASCII)


@lru_cache(maxsize=4096)
def _spec(globs: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(globs)


def invalid(glob: str) -> str | None:
    """Why `glob` is no gitignore pattern, or None when it is one."""
    if not glob.strip() or glob.startswith("#"):
        return "it matches nothing"
    # most are; compiling each would cost more than reading the plan
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
    """Whether `path` (repository-relative, `/`-separated) is matched; later globs win,
    `!` takes back.
    """
    return _spec(tuple(globs)).match_file(path)


def could_overlap(ours: Iterable[str], theirs: Iterable[str]) -> bool:
    """Whether some path, existing or new, could match both lists. In doubt True.

    Negated globs only ever take paths away, so leaving them out errs towards True.
    """
    mine = [_segments(glob) for glob in ours if not glob.startswith("!")]
    others = [_segments(glob) for glob in theirs if not glob.startswith("!")]
    return any(_meet(a, b) for a in mine for b in others)


class Index:
    """Lists of globs, to find those that a further list could overlap with without
    comparing it with each of them.

    A list is found by the plain names at the start of its globs, the only part that
    rules most others out.
    """

    def __init__(self) -> None:
        # plain start of a glob → lists with a glob that begins so
        self._at: dict[tuple[str, ...], list[int]] = {}
        # every shorter start of it → the same lists
        self._above: dict[tuple[str, ...], list[int]] = {}
        self._lists: list[tuple[str, ...]] = []

    def add(self, globs: Iterable[str]) -> int:
        """The number of the list, counted from 0."""
        number = len(self._lists)
        self._lists.append(tuple(globs))
        for start in dict.fromkeys(_starts(self._lists[-1])):
            self._at.setdefault(start, []).append(number)
            for length in range(len(start)):
                self._above.setdefault(start[:length], []).append(number)
        return number

    def overlapping(self, globs: Iterable[str]) -> list[int]:
        """The numbers of the lists that could overlap with this one, in order."""
        mine, found = tuple(globs), set[int]()
        for start in dict.fromkeys(_starts(mine)):
            found.update(self._above.get(start, ()))
            for length in range(len(start) + 1):
                found.update(self._at.get(start[:length], ()))
        return sorted(
            number for number in found if could_overlap(mine, self._lists[number])
        )


def _starts(globs: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The plain names before the first wildcard of each glob; two globs meet only if
    one's start begins the other's.
    """
    for glob in globs:
        if not glob.startswith("!"):
            segments = _segments(glob)
            plain = [
                place
                for place, segment in enumerate(segments)
                if not _WILD.isdisjoint(segment)
            ]
            yield segments[: plain[0] if plain else len(segments)]


_WILD = frozenset("*?[\\")


@lru_cache(maxsize=65536)
def _segments(glob: str) -> tuple[str, ...]:
    """The glob as path segments, `**` for any number of them; what lies below a match
    matches too.

    Source of the rules: gitignore(5): a slash before the end anchors, a trailing slash
    means a folder.
    """
    body = glob.rstrip(" ")
    anchored = "/" in body.rstrip("/")
    parts = tuple(part for part in body.split("/") if part)
    below = () if not body.endswith("/") and _names_a_file(parts[-1]) else ("**",)
    return (() if anchored else ("**",)) + parts + below


def _names_a_file(name: str) -> bool:
    """Whether a folder of this name is so unlikely (`login.py`, `*.md`, `Makefile`)
    that nothing lies below it.

    Git would match what lies below as well; taken literally, `README.md` and `setup.py`
    could then never share a batch. Being wrong here costs a clash that the merge finds.
    """
    return (
        "." in name.strip(".*")
        or "*." in name
        or (name[0].isupper() and "*" not in name)
    )


@lru_cache(maxsize=65536)
def _meet(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    if not a or not b:
        return all(part == "**" for part in (*a, *b))
    if a[0] == "**":
        return _meet(a[1:], b) or _meet(a, b[1:])
    if b[0] == "**":
        return _meet(b, a)
    return _segment_meet(a[0], b[0]) and _meet(a[1:], b[1:])


@lru_cache(maxsize=65536)
def _segment_meet(a: str, b: str) -> bool:
    """Whether one name could match both segments; a character class stands for any
    character.
    """
    if _WILD.isdisjoint(a) and _WILD.isdisjoint(b):
        return a == b
    if "[" in a or "[" in b or "\\" in a or "\\" in b:
        return _fixed_prefixes_agree(a, b)
    if not a or not b:
        return set(a + b) <= {"*"}
    if a[0] == "*":
        return _segment_meet(a[1:], b) or _segment_meet(a, b[1:])
    if b[0] == "*":
        return _segment_meet(b, a)
    return (a[0] == b[0] or "?" in (a[0], b[0])) and _segment_meet(a[1:], b[1:])


def _fixed_prefixes_agree(a: str, b: str) -> bool:
    for left, right in zip(a, b, strict=False):
        if left in "*?[\\" or right in "*?[\\":
            return True
        if left != right:
            return False
    return True


def glob_problems(
    path: str, locate: Locate, prefix: Sequence[str | int], **globs: Iterable[str]
) -> list[Problem]:
    """One problem per glob that git could not match; the keyword is its field."""
    return [
        Problem(
            path,
            locate([*prefix, name]),
            f"{name}: {glob!r} is not a valid gitignore pattern: {reason}",
            "write a real one",
        )
        for name, listed in globs.items()
        for glob in listed
        if (reason := invalid(glob))
    ]
