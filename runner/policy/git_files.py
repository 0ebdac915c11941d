"""Decides which changes to a `.gitignore` or a `.gitattributes` are harmless, in any
folder. Pure.

A `.gitignore` may only grow, by patterns that hide nothing of the repository. A
`.gitattributes` may only grow, by attributes that start no program, change no merge and
hide no diff.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from typing import NamedTuple

from runner.policy.paths import shortened

IGNORE, ATTRIBUTES = ".gitignore", ".gitattributes"
MAX_BYTES = 64 * 1024  # of a file that is looked into

# A folder's own files in the idiom that keeps it in git while it is empty.
_KEEPERS = frozenset({"!.gitignore", "!/.gitignore", "!.gitkeep", "!/.gitkeep"})
# What a file is captured by: without them, its content would mean something else.
_CONVERTING = frozenset({"text", "eol", "crlf", "working-tree-encoding", "ident"})
# No merge, diff or filter: they name programs. Not -diff, binary or the other linguist
# attributes: they fold a file away in a review.
_HARMLESS = frozenset(
    {"text", "eol", "whitespace", "linguist-language", "linguist-detectable"}
)
_STATES = frozenset({"", "auto", "lf", "crlf"})  # values of text and eol


class Fault(NamedTuple):
    """Why such a change is not harmless; `reason` completes "<path> …".

    Without a file that is `needed`, the rest of the change would not mean the same.
    """

    reason: str
    needed: bool = False


def is_git_file(path: str) -> bool:
    return posixpath.basename(path) in {IGNORE, ATTRIBUTES}


def fault(
    path: str,
    old: bytes,
    new: bytes,
    ignored: Callable[[Sequence[str]], Sequence[str]],
    has_carriage_returns: Callable[[], bool],
) -> Fault | None:
    """Why the change of the file from `old` to `new` is not harmless, None if it is.

    A file that is not there is empty. `ignored` lists the paths of the repository that
    patterns in this folder match; `has_carriage_returns` says whether a text file below
    the folder has some, so that git would take it for changed.
    """
    removed, added = _difference(_lines(old), _lines(new))
    if posixpath.basename(path) == ATTRIBUTES:
        return _fault_of_attributes(removed, added, has_carriage_returns)
    return _fault_of_ignores(path, removed, added, ignored)


def _lines(data: bytes) -> list[str]:
    lines = []
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        text = line.rstrip()
        if text.strip() and not text.startswith("#"):
            lines.append(text)
    return lines


def _difference(old: Sequence[str], new: Sequence[str]) -> tuple[list[str], list[str]]:
    """The lines that are missing, or not in the old order, and those that are new."""
    added: list[str] = []
    remaining = list(reversed(old))
    for line in new:
        if remaining and remaining[-1] == line:
            remaining.pop()
        else:
            added.append(line)
    return remaining[::-1], added


def _shown(text: str) -> str:
    return repr(shortened(text))


def _fault_of_ignores(
    path: str,
    removed: Sequence[str],
    added: Sequence[str],
    ignored: Callable[[Sequence[str]], Sequence[str]],
) -> Fault | None:
    if removed:
        return Fault(f"no longer ignores {_shown(removed[0])}")
    for pattern in added:
        if pattern.startswith("!") and pattern not in _KEEPERS:
            return Fault(f"stops ignoring {_shown(pattern[1:])}")
    hidden = [other for other in ignored(added) if other != path] if added else []
    if hidden:
        return Fault(f"ignores {shortened(hidden[0])}, which is in the repository")
    return None


def _fault_of_attributes(
    removed: Sequence[str],
    added: Sequence[str],
    has_carriage_returns: Callable[[], bool],
) -> Fault | None:
    needed = False
    for line in (*removed, *added):
        needed = needed or not _CONVERTING.isdisjoint(_names(line))
    if removed:
        return Fault(f"no longer has the line {_shown(removed[0])}", needed)
    for line in added:
        if line.startswith(("[", '"')) or not _is_harmless(line):
            return Fault(f"adds {_shown(line)}, more than plain attributes", needed)
    if needed and has_carriage_returns():
        return Fault("changes line ends of files that are there", needed)
    return None


def _names(line: str) -> set[str]:
    """The names of the attributes on a line."""
    return {word.partition("=")[0].lstrip("-!") for word in line.split()[1:]}


def _is_harmless(line: str) -> bool:
    for word in line.split()[1:]:
        name, _, value = word.removeprefix("-").partition("=")
        if name not in _HARMLESS:
            return False
        if name in {"text", "eol"} and value not in _STATES:
            return False
    return True
