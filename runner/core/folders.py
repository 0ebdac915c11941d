"""Removes folders, whatever a program has made of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex


def remove_folder(folder: Path) -> None:
    """Delete the folder, even if an agent made parts of it read-only, or so deep that no
    path reaches its end. A link in its place is deleted alone. What cannot be deleted
    stays.
    """
    if folder.is_symlink():
        with suppress(OSError):
            folder.unlink()
        return
    # Not shutil.rmtree: it recurses. Each folder is emptied, and those inside it are
    # moved to the top: that takes no recursion and no long path.
    top = str(folder)
    remaining = [top]
    for path in remaining:
        with suppress(OSError):
            remaining += _emptied(path, top)
    for path in reversed(remaining):
        with suppress(OSError):
            os.rmdir(path)  # noqa: PTH106 - as fast as possible: there may be many


def empty_folder(folder: Path, but: str = "") -> None:
    """Delete all that is in the folder, as `remove_folder` does, `but` the entry of this
    name. OSError if anything stays, or if it is a link.
    """
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with os.scandir(top) as found:
            entries = [entry for entry in found if entry.name != but]
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                remove_folder(folder / entry.name)
            else:
                os.unlink(entry.name, dir_fd=top)
        if set(os.listdir(top)) - {but}:  # noqa: PTH208 - of a descriptor
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))
    finally:
        os.close(top)


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder that is removed at the end, as `remove_folder` does."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        remove_folder(folder)


def _emptied(path: str, top: str) -> list[str]:
    """Delete the files in `path`, and move its folders to `top`; where they are now."""
    moved = []
    folder = _opened(path)
    try:
        with os.scandir(folder) as entries:
            inside = list(entries)
        for entry in inside:
            # one that cannot be removed must not keep the others
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    target = f"{top}/{token_hex(8)}"
                    _move(entry.name, folder, target)
                    moved.append(target)
                else:
                    os.unlink(entry.name, dir_fd=folder)
    finally:
        os.close(folder)
    return moved


def _opened(path: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        folder = os.open(path, flags)
    except PermissionError:
        os.chmod(path, 0o700)  # noqa: PTH101
        return os.open(path, flags)
    os.fchmod(folder, 0o700)
    return folder


def _move(name: str, folder: int, target: str) -> None:
    try:
        os.rename(name, target, src_dir_fd=folder)
    except PermissionError:
        # a folder that may not be written cannot get another parent
        os.chmod(name, 0o700, dir_fd=folder)
        os.rename(name, target, src_dir_fd=folder)
