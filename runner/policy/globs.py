"""Lists of globs: which paths they match, and whether two could match one path.

A batch is safe only if the answer to the second question is "they could" in case of doubt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product, takewhile

from runner.core.errors import Problem
from runner.core.patterns import lazy_pattern
from runner.core.validation import Locate
from runner.policy.gitignore import Pattern, PatternList
from runner.policy.paths import shortened, too_long

_WILDCARDS = frozenset("*?[\\")
# Names, stars and slashes between them: nothing that git could refuse.
_PLAINLY_VALID = lazy_pattern(
    r"/?(?!\.{1,2}(?:/|\Z))[\w.*-]+(?:/(?!\.{1,2}(?:/|\Z))[\w.*-]+)*/?", re.ASCII
)


# The globs of one list. A task changes at most limits.files files: 100, unless set.
MAX_GLOBS = 1_000
# Characters of globs that are compared to tell whether two lists overlap.
_MAX_COMPARED = 20_000_000
_FEW_PAIRS = 16  # so few are compared faster than looked up by their starts
_FEW = 16  # globs of a list whose starts are remembered


@lru_cache(maxsize=4096)
def _pattern_list(globs: tuple[str, ...]) -> PatternList:
    return PatternList(globs)


def invalid(glob: str) -> str | None:
    """Return why `glob` is not a valid gitignore pattern, None if it is.

    No path is longer or deeper than `policy.paths` lets it be, so no glob need be.
    """
    if reason := too_long(glob):
        return f"it {reason}"
    # Most are; compiling each would cost more than reading the plan.
    if _PLAINLY_VALID().fullmatch(glob):
        return None
    try:
        Pattern(glob)
    except ValueError as error:
        return str(error)
    return None


def too_many(globs: Sequence[str]) -> str | None:
    """Return why the list is too long, None if it is not."""
    if len(globs) <= MAX_GLOBS:
        return None
    return f"{len(globs):,} globs, more than {MAX_GLOBS:,}"


def literal(path: str) -> str:
    """The glob that matches this path and nothing else."""
    return "/" + re.sub(r"([\\*?\[\] ])", r"\\\1", path)


def matches(globs: Iterable[str], path: str) -> bool:
    """Whether the globs match `path`, which is relative to the repository.

    A later glob wins over an earlier one; `!` excludes what an earlier one matched.
    """
    return _pattern_list(tuple(globs)).matches(path)


def could_overlap(ours: Iterable[str], theirs: Iterable[str]) -> bool:
    """Whether some path, existing or new, could match both lists. True in doubt.

    Negated globs only exclude paths, so they are ignored.
    """
    return overlaps_one_of(tuple(ours), [tuple(theirs)])


def overlaps_one_of(ours: tuple[str, ...], others: Iterable[tuple[str, ...]]) -> bool:
    """Whether `ours` could overlap with one of the other lists."""
    starts = _starts_of(ours)
    # Most pairs of tasks are answered by their starts, in a tenth of the time.
    return any(
        _begin_alike(starts, _starts_of(theirs)) and _some_meet(ours, theirs)
        for theirs in others
    )


def _some_meet(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether a glob of `ours` could match what one of `theirs` does. True in doubt."""
    compared = 0
    pairs = _pairs_that_begin_alike(list(_positive(ours)), list(_positive(theirs)))
    for our_glob, their_glob in pairs:
        compared += len(our_glob) * len(their_glob)
        if compared > _MAX_COMPARED:
            return True
        if _meet(_segments(our_glob), _segments(their_glob)):
            return True
    return False


def _begin_alike(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether a start of one list begins one of the other: `_Starts` says why that
    matters.
    """
    for start in ours:
        if start.startswith(theirs):
            return True
    return any(start.startswith(ours) for start in theirs)


# As many as the largest plans have tasks: each is asked about again and again.
@lru_cache(maxsize=2**18)
def _starts_of(globs: tuple[str, ...]) -> tuple[str, ...]:
    """The plain starts of the list, such as `src/api/`; of a long one only "", which
    begins all.
    """
    if len(globs) > _FEW:
        return ("",)
    # No name holds a slash.
    return tuple(
        "".join(f"{name}/" for name in start) for start in _plain_starts(globs)
    )


class _Starts:
    """Values, each by the plain start of a glob.

    Two globs can match one path only if the plain names at the start of one begin the
    start of the other. That rules out most pairs without comparing them.
    """

    def __init__(self) -> None:
        self._by_start: dict[tuple[str, ...], list[int]] = {}
        # The same for every shorter start, down to ().
        self._by_shorter_start: dict[tuple[str, ...], list[int]] = {}

    def add(self, start: tuple[str, ...], value: int) -> None:
        self._by_start.setdefault(start, []).append(value)
        for length in range(len(start)):
            self._by_shorter_start.setdefault(start[:length], []).append(value)

    def that_begin_like(self, start: tuple[str, ...]) -> set[int]:
        values = set(self._by_shorter_start.get(start, ()))
        for length in range(len(start) + 1):
            values.update(self._by_start.get(start[:length], ()))
        return values


def _pairs_that_begin_alike(
    ours: Sequence[str], theirs: Sequence[str]
) -> Iterator[tuple[str, str]]:
    if len(ours) * len(theirs) <= _FEW_PAIRS:
        yield from product(ours, theirs)
        return
    starts = _Starts()
    for number, glob in enumerate(theirs):
        starts.add(_plain_start(glob), number)
    for glob in ours:
        for number in sorted(starts.that_begin_like(_plain_start(glob))):
            yield glob, theirs[number]


class Index:
    """Lists of globs, and the question which of them could overlap with another list."""

    def __init__(self) -> None:
        self._lists: list[tuple[str, ...]] = []
        self._starts = _Starts()

    def add(self, globs: Iterable[str]) -> int:
        """Add a list; return its number, counted from 0."""
        number = len(self._lists)
        self._lists.append(tuple(globs))
        for start in _plain_starts(self._lists[-1]):
            self._starts.add(start, number)
        return number

    def overlapping(self, globs: Iterable[str]) -> list[int]:
        """The numbers of the lists that could overlap with this one, in order."""
        globs = tuple(globs)
        candidates: set[int] = set()
        for start in _plain_starts(globs):
            candidates |= self._starts.that_begin_like(start)
        return [
            number
            for number in sorted(candidates)
            if could_overlap(globs, self._lists[number])
        ]


def _positive(globs: Iterable[str]) -> Iterator[str]:
    return (glob for glob in globs if not glob.startswith("!"))


def _plain_starts(globs: Iterable[str]) -> Iterable[tuple[str, ...]]:
    """The plain start of each glob, without duplicates."""
    return dict.fromkeys(_plain_start(glob) for glob in _positive(globs))


@lru_cache(maxsize=65536)
def _plain_start(glob: str) -> tuple[str, ...]:
    """The names of the glob before its first wildcard."""
    return tuple(takewhile(_WILDCARDS.isdisjoint, _segments(glob)))


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
    return _have_a_common_text(a, b, "**", _segment_meet)


@lru_cache(maxsize=65536)
def _segment_meet(a: str, b: str) -> bool:
    """Whether one name could match both segments. True in doubt."""
    if _WILDCARDS.isdisjoint(a) and _WILDCARDS.isdisjoint(b):
        return a == b
    if set(a + b) & {"[", "\\"}:
        # Character classes and escapes are not compared, only what precedes them.
        return _fixed_prefixes_agree(a, b)
    return _have_a_common_text(a, b, "*", _character_meet)


def _character_meet(a: str, b: str) -> bool:
    return a == b or "?" in (a, b)


def _have_a_common_text(
    a: Sequence[str], b: Sequence[str], star: str, meet: Callable[[str, str], bool]
) -> bool:
    """Whether some text could match both, of which a `star` stands for any part.

    `meet` tells whether two other items could match the same. As two automata are
    intersected, without recursion: bit n of `reached` is set if some text could match
    what was read of `a` and the first n items of `b`.
    """
    stars = sum(1 << position for position, item in enumerate(b) if item == star)

    def with_stars_skipped(reached: int) -> int:
        while (more := reached | (reached & stars) << 1) != reached:
            reached = more
        return reached

    # For an item of `a`, the items of `b` that could match the same.
    that_meet: dict[str, int] = {}
    end = 1 << len(b)
    reached = with_stars_skipped(1)
    for item in a:
        if item == star:
            lowest = reached & -reached
            reached = (end << 1) - lowest
            continue
        if item not in that_meet:
            that_meet[item] = sum(
                1 << position
                for position, other in enumerate(b)
                if other != star and meet(item, other)
            )
        # A star of `b` takes the item too, and stays.
        taken = (reached & that_meet[item]) << 1 | (reached & stars)
        reached = with_stars_skipped(taken)
        if not reached:
            return False
    return bool(reached & end)


def _fixed_prefixes_agree(a: str, b: str) -> bool:
    for character_a, character_b in zip(a, b, strict=False):
        if character_a in _WILDCARDS or character_b in _WILDCARDS:
            return True
        if character_a != character_b:
            return False
    return True


def glob_problems(
    path: str, locate: Locate, prefix: Sequence[str | int], **globs: Sequence[str]
) -> list[Problem]:
    """One problem for each invalid glob; the keywords are the fields that hold them.

    `prefix` is the path of the fields' parent in the document.
    """
    problems = []
    for field, patterns in globs.items():
        if reason := too_many(patterns):
            line = locate([*prefix, field])
            what, remedy = f"{field}: {reason}", "name folders instead of their files"
            problems.append(Problem(path, line, what, remedy))
        for glob in patterns:
            reason = invalid(glob)
            if reason is None:
                continue
            line = locate([*prefix, field])
            what = (
                f"{field}: {shortened(glob)!r} is not a valid gitignore pattern: "
                f"{reason}"
            )
            problems.append(Problem(path, line, what, "fix the pattern"))
    return problems
