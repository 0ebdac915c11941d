"""Compiles gitignore patterns, so that a match takes linear time.

An agent chooses the paths, so no pattern may be slow on any of them. Sources: gitignore(5),
and git's wildmatch.c for character classes. What lies below a match matches too, and `!`
excludes again, as in the library pathspec (`tests/properties/policy/test_gitignore.py`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from runner.core.patterns import lazy_pattern

_ANY_NAMES = "**"
# Folders in front of a name: as few as possible, each taken whole.
_SKIPPED_FOLDERS = "(?:[^/]+/)*?"
# What begins an atomic group, and what repeats its text. A pattern's own text has no
# such parenthesis: it is escaped.
_GROUP, _GROUP_TEXT = "(?P<atomic_", "(?P=atomic_"
_ESCAPED = lazy_pattern(r"\\(.)", re.DOTALL)
_WILDCARD = lazy_pattern(r"[*?\[]")


class Pattern:
    """One pattern: the names of a path, `**` for any number of them.

    `excludes`: it begins with `!`. `is_folder`: it ends with a slash, so that it matches
    only what is below. Raises ValueError with the reason if it is not valid.
    """

    def __init__(self, line: str) -> None:
        text = line if line.endswith("\\ ") else line.rstrip()
        self.excludes = text.startswith("!")
        body = text.removeprefix("!")
        if body in {"", "/"} or text.startswith("#"):
            raise ValueError("it matches nothing")
        self.is_folder = body.endswith("/")
        self.names = _names(body)
        self._groups = itertools.count()
        self._name_regexes = [_name_regex(name, self._groups) for name in self.names]

    @cached_property
    def plain_start(self) -> tuple[str, ...]:
        """The names before the first wildcard, without the backslashes of escapes."""
        plain = []
        for name in self.names:
            if _WILDCARD().search(_ESCAPED().sub("", name)):
                break
            plain.append(_ESCAPED().sub(r"\1", name))
        return tuple(plain)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(
            _path_regex(self.names, self._name_regexes, self.is_folder, self._groups)
        )

    def match(self, path: str) -> re.Match[str] | None:
        """The match of a path; its group `below` is set if a folder above it matches."""
        return self._regex.match(path)


class PatternList:
    """Compiled patterns, of which a later one wins over an earlier one.

    A pattern that matches a path itself wins over those that match a folder above it.
    Invalid ones are left out. Only the patterns that can match are tried on a path: a
    plan may have thousands of files, each of which is a pattern.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._patterns: list[Pattern] = []
        # From the plain start of an anchored pattern, and the plain name of another,
        # to the numbers of the patterns.
        self._by_start: dict[str, list[int]] = {}
        self._by_name: dict[str, list[int]] = {}
        self._others: list[int] = []
        for line in lines:
            try:
                self._add(Pattern(line))
            except ValueError:
                continue

    def _add(self, pattern: Pattern) -> None:
        number = len(self._patterns)
        self._patterns.append(pattern)
        if start := pattern.plain_start:
            self._by_start.setdefault("/".join(start), []).append(number)
            return
        name = _name_anywhere(pattern)
        if name is not None:
            self._by_name.setdefault(name, []).append(number)
        else:
            self._others.append(number)

    def matches(self, path: str) -> bool:
        """Whether the patterns match `path`, which is relative to the repository."""
        by_folder: bool | None = None
        for number in sorted(self._candidates(path), reverse=True):
            pattern = self._patterns[number]
            match = pattern.match(path)
            if match is None:
                continue
            if not match.groupdict().get("below"):
                return not pattern.excludes
            if by_folder is None:
                by_folder = not pattern.excludes
        return bool(by_folder)

    def _candidates(self, path: str) -> set[int]:
        candidates = set(self._others)
        names = path.split("/")
        if self._by_name:
            for name in names:
                candidates.update(self._by_name.get(name, ()))
        if self._by_start:
            for length in range(1, len(names) + 1):
                start = "/".join(names[:length])
                candidates.update(self._by_start.get(start, ()))
        return candidates


def _name_anywhere(pattern: Pattern) -> str | None:
    """The plain name that every path must have which the pattern matches, if known."""
    if pattern.names[0] != _ANY_NAMES or len(pattern.names) == 1:
        return None
    name = pattern.names[1]
    if _WILDCARD().search(_ESCAPED().sub("", name)):
        return None
    return _ESCAPED().sub(r"\1", name)


def _names(body: str) -> list[str]:
    """The names between the slashes, with `**` where any number of names may be."""
    without_end = body.removesuffix("/")
    names = without_end.removeprefix("/").split("/")
    for name in names:
        if name in {"", ".", ".."}:
            raise ValueError(f"it matches nothing: no path has the name {name!r}")
    if "/" not in without_end:
        names = [_ANY_NAMES, *names]
    if body.endswith("/"):
        names = [*names, _ANY_NAMES]
    return list(_without_repeats(names))


def _without_repeats(names: Iterable[str]) -> Iterator[str]:
    """The names with one `**` for several in a row: two would mean the same."""
    last = None
    for name in names:
        if name != _ANY_NAMES or last != _ANY_NAMES:
            yield name
        last = name


def _atomic(regex: str, groups: Iterator[int]) -> str:
    """The expression as an atomic group: what it has matched is not tried otherwise.

    Written as a lookahead: CPython 3.11.0 to 3.11.4 mishandle real atomic groups.
    """
    number = next(groups)
    return f"(?={_GROUP}{number}>{regex})){_GROUP_TEXT}{number})"


def _path_regex(
    names: Sequence[str],
    name_regexes: Sequence[str],
    is_folder: bool,
    groups: Iterator[int],
) -> str:
    """The regular expression of a whole pattern, to match from the start of a path.

    What stands between two `**` takes the first place where it fits, in an atomic group:
    a later place could only leave less of the path to what follows. So nothing is ever
    tried again, and the time is linear in the path for each part of the pattern.
    """
    below = "(?P<below>/)"
    if list(names) == [_ANY_NAMES]:
        return f"[^/]+{below}" if is_folder else ""
    *parts, last = _parts(names, name_regexes)
    before = "".join(_atomic(f"{part}/", groups) for part in parts)
    if names[-1] == _ANY_NAMES:
        return before + last + (below if is_folder else "/")
    # The path itself first: it counts for more than a folder above it.
    last_again = last
    for start in (_GROUP, _GROUP_TEXT):
        last_again = last_again.replace(start, f"{start}again_")
    return rf"{before}(?:{last}\Z|{last_again}{below})"


def _parts(names: Sequence[str], name_regexes: Sequence[str]) -> list[str]:
    """A regular expression for each run of names that `**` separates from the next."""
    parts: list[str] = []
    is_free = False
    run: list[str] = []
    for name, regex in zip((*names, _ANY_NAMES), (*name_regexes, ""), strict=True):
        if name != _ANY_NAMES:
            run.append(regex)
            continue
        if run:
            skipped = _SKIPPED_FOLDERS if is_free else ""
            parts.append(skipped + "/".join(run))
        is_free, run = True, []
    return parts


def _name_regex(name: str, groups: Iterator[int]) -> str:
    """The regular expression of one name; stars as in `_path_regex`, for the same reason."""
    if name == "*":
        return "[^/]+"
    pieces = [""]
    for item in _tokens(name):
        if item != "*":
            pieces[-1] += item
        elif pieces[-1] or len(pieces) == 1:
            pieces.append("")
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    shortest = [_atomic(f"[^/]*?{piece}", groups) for piece in middle]
    return first + "".join(shortest) + "[^/]*" + last


def _tokens(name: str) -> Iterator[str]:
    """A regular expression for each character or class of a name, and `*` for stars."""
    position = 0
    while position < len(name):
        character = name[position]
        position += 1
        if character == "*":
            yield "*"
        elif character == "?":
            yield "[^/]"
        elif character == "[":
            token, position = _character_class(name, position)
            yield token
        elif character == "\\":
            yield re.escape(_escaped(name, position))
            position += 1
        else:
            yield re.escape(character)


def _escaped(name: str, position: int) -> str:
    if position >= len(name):
        raise ValueError("it ends with a backslash")
    return name[position]


def _character_class(name: str, position: int) -> tuple[str, int]:
    """The regular expression of the class from `position`, after its `[`, and its end."""
    negated = name[position : position + 1] in {"!", "^"}
    position += negated
    items: list[str] = []
    is_first = True
    while is_first or name[position : position + 1] != "]":
        is_first = False
        low, position = _class_character(name, position)
        high = low
        is_range = name[position : position + 1] == "-"
        if is_range and name[position + 1 : position + 2] not in {"", "]"}:
            high, position = _class_character(name, position + 1)
        if low <= high:
            items.append(f"{re.escape(low)}-{re.escape(high)}")
    position += 1
    if not items:
        return ("[^/]" if negated else "(?!)"), position
    start = "[^" if negated else "["
    # No class has the slash, not even as a part of a range.
    return f"(?!/){start}{''.join(items)}]", position


def _class_character(name: str, position: int) -> tuple[str, int]:
    if position >= len(name):
        raise ValueError("it has a [ without its ]")
    if name.startswith("[:", position):
        raise ValueError("write [a-z] or the like for a class such as [[:lower:]]")
    if name[position] == "\\":
        return _escaped(name, position + 1), position + 2
    return name[position], position + 1
