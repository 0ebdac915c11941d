"""Finds out without a process that files of a work tree are as its branch has them.

Only for plain cases: where a file's bytes are not those of its blob, git says whether
that is a change, since line ends or a filter may be the reason.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from runner.core.regular_file import open_regular
from runner.policy.change import EXECUTABLE, REGULAR, Change
from runner.repo import index_trees
from runner.repo.objects import object_id_of

# Bytes of all the files together; of more, git mostly knows by their times.
_MAX_BYTES = 2**20
_MAX_INDEX = 2**24  # bytes, of about two hundred thousand files


def are_clean(
    folder: Path, index: Path, changes: Sequence[Change], algorithm: str
) -> bool:
    """Whether each changed path of the work tree `folder` and its index is as it was
    before the change. False also if git should be asked.
    """
    found = _read(index, _MAX_INDEX)
    expected = {os.fsencode(change.path): change.old for change in changes}
    if found is None or not index_trees.has_entries(found[1], algorithm, expected):
        return False
    remaining = _MAX_BYTES
    checked: set[Path] = set()
    for change in changes:
        if change.old is None:
            continue
        if not _has_real_parents(folder, Path(change.path), checked):
            return False
        found = _read(folder / change.path, remaining)
        if found is None:
            return False
        mode, data = found
        remaining -= len(data)
        if change.old != (mode, object_id_of("blob", data, algorithm)):
            return False
    return True


def _has_real_parents(folder: Path, path: Path, checked: set[Path]) -> bool:
    """Whether no folder that the path is in is a link: to git, nothing is behind one."""
    for parent in path.parents:
        if parent not in checked and (folder / parent).is_symlink():
            return False
        checked.add(parent)
    return True


def _read(file: Path, max_bytes: int) -> tuple[str, bytes] | None:
    """The mode and the bytes of a regular file that is not larger than that."""
    stream = open_regular(file)
    if stream is None:
        return None
    with stream, suppress(OSError):
        status = os.fstat(stream.fileno())
        if status.st_size <= max_bytes:
            mode = EXECUTABLE if status.st_mode & stat.S_IXUSR else REGULAR
            return mode, stream.read()
    return None
