"""The setting `plan` as text: one path, or several paths and patterns.

Several are separated by a comma and a blank. In a pattern, `*` and `?` stand for what is
in one name, `**` for any folders.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from runner.core.patterns import lazy_pattern

SEPARATOR = ", "
# Names of files that say nothing about what the plan is about.
_GENERIC = frozenset(
    {
        "tasks", "plan", "prd", "issues", "features", "feature_list", "feature-list",
        "sprint-status", "todo", "implementation_plan", "story", "index", "readme",
    }
)  # fmt: skip
_WILDCARD = lazy_pattern(r"[*?]")


def is_several(text: str) -> bool:
    """Whether the text names several plans."""
    return SEPARATOR in text or is_pattern(text)


def is_pattern(path: str) -> bool:
    return _WILDCARD().search(path) is not None


def parts(text: str) -> tuple[str, ...]:
    """The paths and patterns of the text, each once, in their order."""
    names = [name.strip() for name in text.split(SEPARATOR)]
    return tuple(dict.fromkeys(name for name in names if name))


def fixed_folder(pattern: str) -> str:
    """The folder that all paths of the pattern are in, `.` if there is none."""
    folders = []
    for name in pattern.split("/")[:-1]:
        if is_pattern(name):
            break
        folders.append(name)
    return "/".join(folders) or "."


def matches(part: str, path: str) -> bool:
    """Whether the path or pattern names this path."""
    return _expression(part).fullmatch(path) is not None


def covers(text: str, path: str) -> bool:
    """Whether the path is one of the plans of the text, or inside of one."""
    names = path.split("/")
    prefixes = ["/".join(names[:count]) for count in range(1, len(names) + 1)]
    return any(matches(part, prefix) for part in parts(text) for prefix in prefixes)


@lru_cache(maxsize=256)
def _expression(part: str) -> re.Pattern[str]:
    pieces = []
    for name in re.split(r"(\*\*/|\*\*|\*|\?)", part):
        if name == "**/":
            pieces.append(r"(?:[^/]+/)*")
        elif name == "**":
            pieces.append(r".*")
        elif name == "*":
            pieces.append(r"[^/]*")
        elif name == "?":
            pieces.append(r"[^/]")
        else:
            pieces.append(re.escape(name))
    return re.compile("".join(pieces))


def names(paths: Sequence[str]) -> dict[str, str]:
    """Path of a plan → a short name: its own or its folder's.

    If two share one, they have more folders in it. Names have no `/`.
    """
    chosen: dict[str, str] = {}
    waiting = list(paths)
    length = 1
    while waiting:
        candidates = {path: _name(path, length) for path in waiting}
        counts = Counter([*chosen.values(), *candidates.values()])
        for path in waiting:
            is_last = length > path.count("/") + 1
            if counts[candidates[path]] == 1 or is_last:
                chosen[path] = candidates[path]
        waiting = [path for path in waiting if path not in chosen]
        length += 1
    return chosen


def _name(path: str, length: int) -> str:
    folder, file = posixpath.split(path)
    stem = posixpath.splitext(file)[0]
    words = [word for word in folder.split("/") if word]
    if length > len(words) + 1:
        # Two plans of one folder.
        return "-".join(word.strip(".") for word in [*words, file])
    if stem.lower() not in _GENERIC or not words:
        words.append(stem)
    while len(words) > 1 and words[-1].lower() in _GENERIC:
        words.pop()
    return "-".join(word.strip(".") for word in words[-length:])
