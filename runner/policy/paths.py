"""Which paths may enter a tree: names that some checkout cannot hold, links that leave
the tree, clashing spellings.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Sequence

from runner.policy.change import Change, Refusal

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# HFS+ ignores these: git's utf8.c
_IGNORABLE = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_WINDOWS_GIT = re.compile(r"(?:\.git|git~\d+)[\s.]*(?::.*)?", re.IGNORECASE)


def unusable_name(path: str) -> str | None:
    """Why no checkout can safely hold `path`, or None. Source: git's verify_path, HFS
    and NTFS rules included.
    """
    if _CONTROL.search(path):
        return "has a control character in its name"
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            return "is no plain relative path"
        for piece in part.split("\\"):
            if _WINDOWS_GIT.fullmatch(_IGNORABLE.sub("", piece)):
                return "names a .git folder"
    return None


def leaves_tree(path: str, target: str) -> bool:
    """Whether a symlink at `path` to `target` may lead outside the repository, or into
    a .git folder.

    `..` is taken at the start only, where it is counted from the link's real folder.
    After a name it could go up from wherever another link led, so a chain of links
    could climb out; without it no chain of such links can.
    """
    if target.startswith("/") or "\\" in target or _CONTROL.search(target):
        return True
    parts = [part for part in target.split("/") if part not in {"", "."}]
    up = next((place for place, part in enumerate(parts) if part != ".."), len(parts))
    if up > path.count("/") or ".." in parts[up:]:
        return True
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return resolved != "." and unusable_name(resolved) is not None


def _folded(path: str) -> str:
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


class Spellings:
    """Names of files and folders, to find those that differ by case or Unicode form
    only.

    Such names are one file on macOS and Windows: the checkout of either loses one of
    the two.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._known: dict[str, str] = {}
        self._names: set[str] = set()
        self.add(paths)

    def add(self, paths: Iterable[str]) -> None:
        for path in paths:
            for name in _prefixes(path):
                if name in self._names:  # and so are the folders above it
                    break
                self._names.add(name)
                self._known.setdefault(_folded(name), name)

    def clashes(self, changes: Sequence[Change]) -> Iterable[Refusal]:
        """Refusals for added paths; a name that the same change removes is free again."""
        gone = {change.path for change in changes if change.new is None}
        own: dict[str, str] = {}
        for path in sorted(
            change.path
            for change in changes
            if change.old is None and change.new is not None
        ):
            for name in _prefixes(path):
                folded = _folded(name)
                other = next(
                    (
                        o
                        for o in (self._known.get(folded), own.get(folded))
                        if o not in {None, name} | gone
                    ),
                    None,
                )
                own.setdefault(folded, name)
                if other is not None:
                    yield Refusal(
                        path,
                        f"differs from {other} only by case or Unicode form",
                        "use one spelling",
                    )
                    break


def _prefixes(path: str) -> Iterable[str]:
    yield path
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
