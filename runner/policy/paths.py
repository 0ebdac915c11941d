"""The rules for paths that may enter a tree.

Names must be valid on every platform, links must stay inside the tree, and no two names
may be one file on macOS or Windows.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Sequence

from runner.core.patterns import lazy_pattern
from runner.policy.change import Change, Refusal

# Files that agent programs and models write beside their work: notes, settings, logs.
# The work is whole without them.
SIDE_FILES = (
    "AGENTS.md",
    "CLAUDE.md",
    "GEMINI.md",
    ".claude",
    ".codex",
    ".gemini",
    ".agents",
    ".cursor",
    ".opencode",
    ".aider*",
)

_CONTROL = lazy_pattern(r"[\x00-\x1f\x7f]")
# Characters that HFS+ ignores in names, as in git's utf8.c.
_IGNORABLE = lazy_pattern("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
# What Windows leaves out at the end of a name: dots and spaces, streams.
_WINDOWS_ENDING = lazy_pattern(r"(?:[. ]|\\ )*(?::.*)?$")
# What Windows takes for .git: short names too.
_WINDOWS_GIT = lazy_pattern(r"(?:\.git|git~\d+)[\s.]*(?::.*)?", re.IGNORECASE)


# A short name that Windows gives a long one: `GITHUB~1` is `.github`. After some names
# with the same start, it has two of its characters and a number of four digits.
_SHORT_NAME = lazy_pattern(r"([^.~]{1,6})~([0-9]{1,6})(?:\.([^.]{1,3}))?")
_HASHED = lazy_pattern(r"..[0-9a-f]{4}")

# What file systems take. A name: NAME_MAX of Linux and macOS. A path: PATH_MAX of Linux
# is 4,096, less the folder that the repository is in.
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 3_000
# No file system has this limit, but many programs recurse once for each folder.
_MAX_FOLDERS = 100
_MAX_SHOWN = 200  # characters of a path in a message


def unusable_name(path: str) -> str | None:
    """Return why no checkout can safely hold `path`, None if one can."""
    if _CONTROL().search(path):
        return "has a control character in its name"
    return too_long(path) or refused_by_git(path)


def too_long(path: str) -> str | None:
    """Return why some file system cannot hold `path`, None if all can."""
    if path.count("/") > _MAX_FOLDERS:
        return f"is more than {_MAX_FOLDERS} folders deep"
    # A byte that is no text is one lone surrogate in `path`, and one `?` here.
    encoded = path.encode("utf-8", "replace")
    if len(encoded) > _MAX_PATH_BYTES:
        return f"is longer than {_MAX_PATH_BYTES:,} bytes"
    if any(len(name) > _MAX_NAME_BYTES for name in encoded.split(b"/")):
        return f"has a name of more than {_MAX_NAME_BYTES} bytes"
    return None


def refused_by_git(path: str) -> str | None:
    """Return why git itself would not check out `path`, None if it would.

    The rules are those of git's `verify_path`, those for HFS+ and NTFS included.
    """
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            return "is not a plain relative path"
        # Windows takes a backslash for a separator.
        for name in part.split("\\"):
            if _WINDOWS_GIT().fullmatch(_IGNORABLE().sub("", name)):
                return "names a .git folder"
    return None


def shortened(path: str) -> str:
    """The path as a message shows it: of a long one, its start and its end."""
    if len(path) <= _MAX_SHOWN:
        return path
    half = _MAX_SHOWN // 2
    return f"{path[:half]}…{path[-half:]}"


def one_spelling(path: str) -> str:
    """The same text for every spelling of `path` that some file system takes for it.

    HFS+ ignores invisible characters, Windows what follows a name: dots, spaces, a
    stream. A glob gives the glob for such paths.
    """
    parts = _IGNORABLE().sub("", path).split("/")
    return folded("/".join(_without_ending(part) for part in parts))


def _without_ending(name: str) -> str:
    # Windows has no names with these; in a glob, `*.` must not become `*`.
    if set(name) & set("*?["):
        return name
    return _WINDOWS_ENDING().sub("", name) or name


def long_name(short: str, glob: str) -> str | None:
    """A name that the glob of one name matches, and that Windows may take `short` for;
    None if there is none. Both as `one_spelling` gives them.

    Of globs with wildcards only those with a `*` at the end are known.
    """
    match = _SHORT_NAME().fullmatch(short)
    if match is None:
        return None
    start, number, ending = match[1], match[2], match[3] or ""
    if glob.endswith("*"):
        beginning = glob[:-1].lstrip(". ")
        is_start = bool(beginning) and start.startswith(beginning[:6])
        return glob[:-1] + start[len(beginning) :] if is_start else None
    stem, dot, long_ending = glob.lstrip(". ").rpartition(".")
    if not dot:
        stem, long_ending = long_ending, ""
    stem = re.sub("[. ]", "", stem)
    if ending != long_ending[:3]:
        return None
    is_hashed = _HASHED().fullmatch(start) is not None and start[:2] == stem[:2]
    # eight characters with the number, unless the long name has fewer
    is_start = start == stem[: min(6, 7 - len(number))]
    return glob if is_hashed or is_start else None


def leaves_tree(path: str, target: str) -> bool:
    """Whether a symlink at `path` to `target` may lead out of the tree, or into .git.

    `..` is accepted only at the start of the target, where it is counted from the
    link's real folder. After a name it would go up from wherever that name leads, so a
    chain of links could climb out of the tree.
    """
    if target.startswith("/") or "\\" in target or _CONTROL().search(target):
        return True
    parts = [part for part in target.split("/") if part not in {"", "."}]
    levels_up = 0
    while parts[levels_up : levels_up + 1] == [".."]:
        levels_up += 1
    if levels_up > path.count("/") or ".." in parts[levels_up:]:
        return True
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return resolved != "." and refused_by_git(resolved) is not None


class Spellings:
    """Names of files and folders, to find those that differ only by case or Unicode form.

    Such names are one file on macOS and Windows: a checkout there loses one of the two.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_folded: dict[str, str] = {}
        self._names: set[str] = set()
        self.add(paths)

    def add(self, paths: Iterable[str]) -> None:
        """Add paths and all folders above them."""
        for path in paths:
            for name in _with_parents(path):
                if name in self._names:
                    break  # the folders above it were added with it
                self._names.add(name)
                self._by_folded.setdefault(folded(name), name)

    def clashes(self, changes: Sequence[Change]) -> Iterable[Refusal]:
        """A refusal for each added path that clashes with a name in the tree, or with
        another added path. A name that the same change deletes is free again.

        Names that may not enter a tree at all are left out: they may be very deep.
        """
        deleted = {change.path for change in changes if change.new is None}
        added = sorted(
            change.path
            for change in changes
            if change.is_added and unusable_name(change.path) is None
        )
        added_by_folded: dict[str, str] = {}
        for path in added:
            for name in _with_parents(path):
                spelling = folded(name)
                candidates = (
                    self._by_folded.get(spelling),
                    added_by_folded.get(spelling),
                )
                added_by_folded.setdefault(spelling, name)
                clash = _first_clash(candidates, name, deleted)
                if clash is not None:
                    reason = f"differs from {clash} only by case or Unicode form"
                    yield Refusal(path, reason, "rename it")
                    break


def _first_clash(
    candidates: Iterable[str | None], name: str, deleted: set[str]
) -> str | None:
    for candidate in candidates:
        if candidate is not None and candidate != name and candidate not in deleted:
            return candidate
    return None


def folded(path: str) -> str:
    """The same text for all spellings that are one file on macOS or Windows."""
    if path.isascii():
        return path.lower()
    # Case folding can undo the normal form, hence the outer `normalize`.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _with_parents(path: str) -> Iterable[str]:
    yield path
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
