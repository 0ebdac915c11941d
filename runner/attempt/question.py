"""The question that an agent leaves in a file of its checkout, because every agent can write
there, whatever its sandbox allows. The file is no part of its work.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.agents.prompt import QUESTION_FILE

_MAX_BYTES = 64 * 2**10  # of what is read


def make_room(checkout: Path) -> bool:
    """Make the file's folder before the agent starts, as not every tool makes folders;
    False if the file is there already, because it is committed and says nothing.
    """
    with suppress(OSError):
        (checkout / _FOLDER).mkdir(exist_ok=True)
    with _folder(checkout) as folder:
        return folder is None or _status(folder) is None


def take(checkout: Path) -> str:
    """Read and remove the file, and its folder if it is empty; "" if there is none that
    can be read.

    An agent may have left a link or a pipe there: neither is followed or waited for.
    """
    text = ""
    with _folder(checkout) as folder:
        if folder is not None:
            with suppress(OSError):
                text = _read(folder)
            with suppress(OSError):
                os.unlink(_NAME, dir_fd=folder)
    with suppress(OSError):
        (checkout / _FOLDER).rmdir()
    return text.strip()


_FOLDER, _NAME = os.path.split(QUESTION_FILE)


@contextmanager
def _folder(checkout: Path) -> Iterator[int | None]:
    """A descriptor of the file's folder; None if there is none in the checkout itself."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        folder = os.open(checkout / _FOLDER, flags)
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        os.close(folder)


def _status(folder: int) -> os.stat_result | None:
    try:
        return os.stat(_NAME, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _read(folder: int) -> str:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
    with os.fdopen(os.open(_NAME, flags, dir_fd=folder), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return ""
        return stream.read(_MAX_BYTES).decode("utf-8", "replace")
