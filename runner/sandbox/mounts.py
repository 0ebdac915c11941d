"""Finds the other paths of a file that lies in a file system that is mounted twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runner.core.patterns import lazy_pattern

_TABLE = Path("/proc/self/mountinfo")
_ESCAPE = lazy_pattern(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """A folder `root` of the file system `device`, which is mounted at `point`."""

    device: str
    root: str
    point: str


class Table:
    """The mounts of a machine, in the order of their table."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        # of those at one point, the latest covers the others
        self._at: dict[str, Mount] = {}
        self._of_device: dict[str, list[Mount]] = {}
        for mount in mounts:
            self._at[mount.point] = mount
            self._of_device.setdefault(mount.device, []).append(mount)

    def candidates(self, path: str) -> Iterator[str]:
        """Where else the file may be, going by the table: another mount may cover that."""
        at = self._mount_of(path)
        if at is None:
            return
        inside = _joined(at.root, path[len(at.point.rstrip("/")) :])
        for mount in self._of_device[at.device]:
            if mount is not at and _is_at_or_below(inside, mount.root):
                yield _joined(mount.point, inside[len(mount.root.rstrip("/")) :])

    def other_paths(self, path: str) -> list[str]:
        """Where else the file or folder at the absolute path is, by other mounts."""
        paths = []
        for other in self.candidates(path):
            with suppress(OSError):
                if other != path and Path(other).samefile(path):
                    paths.append(other)
        return paths

    def _mount_of(self, path: str) -> Mount | None:
        """The mount that the file is in: that with the longest point."""
        while path not in self._at and path != "/":
            path = path.rpartition("/")[0] or "/"
        return self._at.get(path)


def parse(text: str) -> Table:
    """The mounts of a table as in proc_pid_mountinfo(5)."""
    mounts = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) > 5:
            mounts.append(Mount(fields[2], _plain(fields[3]), _plain(fields[4])))
    return Table(mounts)


def read() -> Table:
    """The mounts of this process; none where the system has no table of them."""
    with suppress(OSError):
        return parse(_TABLE.read_text("utf-8", "surrogateescape"))
    return Table(())


def _is_at_or_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _joined(folder: str, rest: str) -> str:
    return f"{folder.rstrip('/')}{rest}" or "/"


def _plain(text: str) -> str:
    return _ESCAPE().sub(lambda match: chr(int(match[1], 8)), text)
