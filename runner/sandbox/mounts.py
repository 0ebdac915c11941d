"""Finds the other paths of a file that lies in a file system that is mounted twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TABLE = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """A folder `root` of the file system `device`, which is mounted at `point`."""

    device: str
    root: str
    point: str


def parse(text: str) -> list[Mount]:
    """The mounts of a table as in proc_pid_mountinfo(5), in its order."""
    mounts = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) > 5:
            mounts.append(Mount(fields[2], _plain(fields[3]), _plain(fields[4])))
    return mounts


def read() -> list[Mount]:
    """The mounts of this process; none where the system has no table of them."""
    with suppress(OSError):
        return parse(_TABLE.read_text("utf-8", "surrogateescape"))
    return []


def candidates(path: str, mounts: Sequence[Mount]) -> Iterator[str]:
    """Where else the file may be, going by the table: another mount may cover that."""
    containing = [mount for mount in mounts if _is_at_or_below(path, mount.point)]
    if not containing:
        return
    # the longest, of equal ones the latest
    at = max(reversed(containing), key=lambda mount: len(mount.point))
    inside = _joined(at.root, path[len(at.point.rstrip("/")) :])
    for mount in mounts:
        is_other = mount is not at and mount.device == at.device
        if is_other and _is_at_or_below(inside, mount.root):
            yield _joined(mount.point, inside[len(mount.root.rstrip("/")) :])


def other_paths(path: str, mounts: Sequence[Mount]) -> list[str]:
    """Where else the file or folder at the absolute path is, by other mounts."""
    paths = []
    for other in candidates(path, mounts):
        with suppress(OSError):
            if other != path and Path(other).samefile(path):
                paths.append(other)
    return paths


def _is_at_or_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _joined(folder: str, rest: str) -> str:
    return f"{folder.rstrip('/')}{rest}" or "/"


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
