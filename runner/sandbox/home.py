"""The home folder that a walled program gets of its own.

In the person's it could write nothing, and many programs keep a cache or a state there.
Its own has copies of the small folders in the person's, and links to all else, where the
rules hold. What is new in it stays in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path

from runner.sandbox.rules import Access, Rules, parents

# Folders whose entries are linked one by one, so that programs can add others.
_DIVIDED = (".config", ".local", ".local/share", ".local/state")
# Caches that programs only read once something is installed there, and that take long
# to fill. The others start empty: a program that finds its cache fails if it cannot
# write to it.
_READABLE_CACHES = (
    *("ms-playwright", "ms-playwright-go", "puppeteer", "Cypress", "selenium"),
    *("electron", "node-gyp", "huggingface", "torch", "coursier"),
)
_CACHE = ".cache"
# Written by commands that many tests run; git follows a link to do so.
_COPIED = (".gitconfig",)
# What a folder holds at most that is copied: looking at many must take no time.
_MAX_ENTRIES, _MAX_BYTES = 50, 1 << 18


def make(folder: Path, home: Path, rules: Rules) -> None:
    """Make the home folder, or add to it what `rules` open in `home`. One that is empty is
    made: a program with another home leaves it so.

    Programs that ran before may have put anything there, so that no link is followed.
    OSError if `folder` is one.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    top = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        is_new = not os.listdir(top)  # noqa: PTH208 - of a descriptor
        if is_new:
            os.fchmod(top, 0o700)
        for name in _opened(home, rules):
            _put(top, name, partial(_link, home / name))
        if is_new:
            for name in _COPIED:
                if _may_read(home / name, rules):
                    _put(top, name, partial(_copy, home / name))
            divided = set(chain.from_iterable(map(parents, rules.rules)))
            for name in _entries(home, rules):
                is_state = _is_state(home / name, divided)
                make_it = _copy_folder if is_state else _link
                _put(top, name, partial(make_it, home / name))
            for name in _READABLE_CACHES:
                cache = home / _CACHE / name
                if os.path.lexists(cache):
                    _put(top, f"{_CACHE}/{name}", partial(_link, cache))
    finally:
        os.close(top)


def _opened(home: Path, rules: Rules) -> Iterator[str]:
    """What the rules open in the home, relative to it, the shorter paths first."""
    for path, access in rules.rules.items():
        if access is not Access.HIDDEN and path.startswith(f"{home}/"):
            yield path.removeprefix(f"{home}/")


def _entries(home: Path, rules: Rules) -> Iterator[str]:
    """What is linked or copied, relative to the home."""
    for folder in ("", *_DIVIDED):
        for path in _listed(home / folder):
            name = path.relative_to(home).as_posix()
            is_divided = name in _DIVIDED and path.is_dir()
            if not is_divided and not _is_cache(name) and _may_read(path, rules):
                yield name


def _is_cache(name: str) -> bool:
    """Whether it is called a cache, as `.cache` and `.xo-cache` are."""
    return name.startswith(".") and "/" not in name and "cache" in name.lower()


def _is_state(path: Path, divided: Container[str]) -> bool:
    """Whether it is a small folder in which the same may be done everywhere."""
    if path.is_symlink() or not path.is_dir() or str(path) in divided:
        return False
    entries = size = 0
    waiting = [str(path)]
    while waiting:
        for entry in _scanned(waiting.pop()):
            entries += 1
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                size += entry.stat().st_size
            if entries > _MAX_ENTRIES or size > _MAX_BYTES:
                return False
    return True


def _scanned(folder: str) -> list[os.DirEntry[str]]:
    """A few more entries of the folder than a small one has."""
    with suppress(OSError), os.scandir(folder) as entries:
        return list(islice(entries, _MAX_ENTRIES + 1))
    return []


def _may_read(path: Path, rules: Rules) -> bool:
    return rules.access(os.path.realpath(path)) is not Access.HIDDEN


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _put(top: int, name: str, make_it: Callable[[str, int], None]) -> None:
    """Make `name` below the folder `top`, unless something is there already.

    `make_it` gets the last part of the name and the folder that it is in.
    """
    *folders, last = name.split("/")
    # there is one, or a program has put something in the way
    with suppress(OSError):
        inside = _folder_in(top, folders)
        try:
            make_it(last, inside)
        finally:
            os.close(inside)


def _folder_in(top: int, names: Iterable[str]) -> int:
    """A folder below `top`, opened; those that are missing are made. OSError if one of
    them is a link.
    """
    folder = os.dup(top)
    for name in names:
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=folder)
            below = os.open(name, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


def _link(source: Path, name: str, folder: int) -> None:
    if os.path.lexists(source):
        os.symlink(source, name, dir_fd=folder)


def _copy(source: Path, name: str, folder: int) -> None:
    data = source.read_bytes()
    mode = stat.S_IMODE(source.stat().st_mode) & 0o700
    copy = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
    try:
        os.write(copy, data)
    finally:
        os.close(copy)


def _copy_folder(source: Path, name: str, folder: int) -> None:
    os.mkdir(name, 0o700, dir_fd=folder)
    copy = os.open(name, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        for entry in source.iterdir():
            mode = entry.lstat().st_mode
            with suppress(OSError):  # such as a file of another user
                if stat.S_ISDIR(mode):
                    _copy_folder(entry, entry.name, copy)
                elif stat.S_ISREG(mode):
                    _copy(entry, entry.name, copy)
                elif stat.S_ISLNK(mode):
                    _link(entry, entry.name, copy)
    finally:
        os.close(copy)
