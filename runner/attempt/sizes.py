"""Looks at the sizes and kinds of what an agent left, before git reads it.

A sparse file of a terabyte takes no space and a moment to make, but git would read all
of it; and git waits for a writer when it opens a named pipe.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runner.attempt.left_out import LeftOut, paths_to_add
from runner.core.errors import GitStopped
from runner.repo.command import Git, Watch

# limits.size times this is the most that git reads of a result. The fan-in expands no
# larger pack.
FACTOR = 8
# git reads these whole, wherever they are
_RULES = frozenset({".gitignore", ".gitattributes", ".gitmodules", ".git"})
_MAX_UNREADABLE = 100  # folders that are named
_MAX_NAMED = 20  # of the folders in a path; what is too long for git is no reading
_MAX_RULES_BYTES = 100 * 2**20  # newer versions of git ignore larger files


_NO_SIZES: Mapping[bytes, int] = {}


class Survey(NamedTuple):
    """The bytes of all files, None if they were not measured; a file that git must not
    meet, if there is one; folders that cannot be read; and the number of all files.
    """

    size: int | None
    trap: LeftOut | None = None
    unreadable: Sequence[LeftOut] = ()
    files: int = 0


class _Listed(NamedTuple):
    """What is in a folder: the names of its folders, the number and bytes of all its
    files, and those files that git reads whole.
    """

    folders: Sequence[str]
    files: int
    size: int
    rules: Sequence[tuple[str, os.stat_result]]


def survey(folder: Path, watch: Watch, *, measures: bool = True) -> Survey:
    """Look at every file below the folder, without its `.git`; at its size only if this
    `measures`.

    Raises GitStopped if `watch` ends it.
    """
    total = files = 0
    trap: LeftOut | None = None
    unreadable: list[LeftOut] = []
    for parent, listed in _folders(folder, watch, unreadable, measures=measures):
        total += listed.size
        files += listed.files
        for name, status in listed.rules:
            if problem := _problem(status):
                trap = LeftOut(f"{parent}{name}", problem)
                break
        if trap is not None:
            break
    return Survey(total if measures else None, trap, unreadable, files)


def _problem(status: os.stat_result) -> str | None:
    if stat.S_ISLNK(status.st_mode):
        return None  # which git does not follow here
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file, but git would open it"
    if status.st_size > _MAX_RULES_BYTES:
        return f"has {status.st_size:,} bytes, and git would read all of it"
    return None


def _folders(
    top: Path, watch: Watch, unreadable: list[LeftOut], *, measures: bool
) -> Iterator[tuple[str, _Listed]]:
    """Each folder, as the beginning of the paths in it, and what is there."""
    # A list and no recursion: an agent may nest folders as deep as it likes. Paths are
    # relative, as git's are: otherwise git would reach further.
    remaining = [""]
    root = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while remaining:
            parent = remaining.pop()
            if not watch.seconds_to_wait():
                raise GitStopped(("add",), 1, watch.stopped or "")
            is_nested = "/.git/" in parent
            try:
                listed = _listed(root, parent, reads_all=is_nested, measures=measures)
            except OSError as error:
                # git passes over such a folder without an error
                if len(unreadable) < _MAX_UNREADABLE and not is_nested:
                    unreadable.append(_unreadable(parent, error))
                continue
            yield parent, listed
            for name in listed.folders:
                path = f"{parent}{name}"
                # git asks for the commit of a nested repository, not for its objects
                if path != ".git" and (not is_nested or "/.git/refs" in path):
                    remaining.append(f"{path}/")
    finally:
        os.close(root)


def _unreadable(folder: str, error: OSError) -> LeftOut:
    names = folder.rstrip("/").split("/")
    if len(names) <= _MAX_NAMED:
        return LeftOut("/".join(names), f"cannot be read: {error.strerror}")
    path = "/".join(names[:_MAX_NAMED])
    return LeftOut(path, f"has a folder that cannot be read: {error.strerror}")


def _listed(root: int, parent: str, *, reads_all: bool, measures: bool) -> _Listed:
    """What is in the folder `parent`, of which git reads all files whole or only rules.

    The size is 0 unless this `measures`.
    """
    folders, rules, size, count = [], [], 0, 0
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    folder = os.open(parent or ".", flags, dir_fd=root)
    try:
        # Of a large repository these few lines are most of what a survey costs.
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries, 1):  # noqa: B007 - read at its end
                if entry.is_file(follow_symlinks=False):
                    if measures:
                        size += entry.stat(follow_symlinks=False).st_size
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                    continue
                if reads_all or entry.name in _RULES:
                    rules.append((entry.name, entry.stat(follow_symlinks=False)))
    finally:
        os.close(folder)
    return _Listed(folders, count - len(folders), size, rules)


def too_large(
    git: Git, max_bytes: int, base: str, paths: Sequence[bytes] | None = None
) -> list[LeftOut]:
    """The largest of the files that git would add, so many that the others have at most
    `max_bytes` together. `paths` are those files, if they are known.

    A file with the size that it has in the tree `base` does not count: it may be as it
    was there, and git reads no more than it did for the base.
    """
    if paths is None:
        paths = paths_to_add(git)
    # The base of a large repository is listed only where that can change the answer.
    if not largest(git.cwd, max_bytes, paths):
        return []
    return largest(git.cwd, max_bytes, paths, _sizes_in(git, base))


def largest(
    folder: Path,
    max_bytes: int,
    paths: Sequence[bytes],
    base_sizes: Mapping[bytes, int] = _NO_SIZES,
) -> list[LeftOut]:
    """The largest of these files, so many that the others have at most `max_bytes`
    together. One whose size is that in `base_sizes` does not count.
    """
    files = []
    for path, size in _sizes_of(folder, paths):
        if size != base_sizes.get(path):
            files.append((size, os.fsdecode(path)))
    files.sort()
    left_out, total = [], 0
    for size, name in files:
        total += size
        if total > max_bytes:
            left_out.append(LeftOut(name, _reason(size, max_bytes)))
    return left_out


def _sizes_of(folder: Path, paths: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    """The sizes in bytes of those paths that are files."""
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for path in paths:
            with suppress(OSError):
                status = os.stat(path, dir_fd=root, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield path, status.st_size
    finally:
        os.close(root)


def _reason(size: int, max_bytes: int) -> str:
    limit = f"{FACTOR} times limits.size"
    return f"has {size:,} bytes, and the changes more than {max_bytes:,} ({limit})"


def _sizes_in(git: Git, tree: str) -> dict[bytes, int]:
    sizes = {}
    for entry in git.run(["ls-tree", "-r", "-l", "-z", tree]).split(b"\0"):
        meta, _, path = entry.partition(b"\t")
        words = meta.split()
        if len(words) == 4 and words[3].isdigit():
            sizes[path] = int(words[3])
    return sizes
