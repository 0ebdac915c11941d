"""The folders of workspaces that are gone, emptied for those to come: some file systems take
longer to make a folder than to empty one.

They are the two that no program gets to write to within walls: the one that a workspace is
in, and in it the one that its work was captured with. Without walls a program may have
reached them, so each is used again only while it is empty and as a new one is.
"""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from runner.core.folders import empty_folder, remove_folder

_CAPTURE = "capture"  # in the folder of a workspace: that of an earlier one


class FolderState(NamedTuple):
    """What a program can change of a folder beside what is in it."""

    mode: int
    owner: int
    group: int
    attributes: tuple[str, ...]

    @classmethod
    def at(cls, path: str | Path) -> FolderState:
        status = os.lstat(path)
        names: list[str] = []
        if hasattr(os, "listxattr") and stat.S_ISDIR(status.st_mode):
            names = os.listxattr(path, follow_symlinks=False)
        return cls(status.st_mode, status.st_uid, status.st_gid, tuple(sorted(names)))

    def is_of(self, folder: Path, *, with_entries: tuple[str, ...] = ()) -> bool:
        """Whether the folder is in this state, and has at most these entries."""
        try:
            names = os.listdir(folder)  # noqa: PTH208
            return set(names) <= set(with_entries) and FolderState.at(folder) == self
        except OSError:
            return False


class EmptiedFolders:
    """Those of one run, below its folder `scratch`. Used by several threads."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._lock = threading.Lock()
        self._folders: list[Path] = []
        self._new: FolderState | None = None

    def add(self, folder: Path) -> None:
        """Empty the folder of a workspace that nobody works in any more, and keep it."""
        kept = self._scratch / f"empty-{token_hex(8)}"
        try:
            _empty(folder)
            folder.rename(kept)
        except OSError:  # it is not needed: another one can be made
            remove_folder(folder)
            return
        with self._lock:
            self._folders.append(kept)

    def make(self, folder: Path) -> FolderState:
        """Make the folder of a workspace, of one that was kept if there is one. Returns what
        a new one is like; OSError if it cannot be made.
        """
        while (kept := self._next()) is not None:
            if self._new and self._new.is_of(kept, with_entries=(_CAPTURE,)):
                kept.rename(folder)
                return self._new
            remove_folder(kept)
        folder.mkdir(parents=True)
        new = FolderState.at(folder)
        self._new = self._new or new
        return new

    def _next(self) -> Path | None:
        with self._lock:
            return self._folders.pop() if self._folders else None


def move_capture(capture: Path, new: FolderState | None) -> None:
    """Move to `capture` what is left of an earlier one beside it, if that is as a `new`
    folder is.
    """
    kept = capture.with_name(_CAPTURE)
    if new is not None and new.is_of(kept):
        with suppress(OSError):
            kept.rename(capture)


def _empty(folder: Path) -> None:
    """Delete all that is in the folder of a workspace, and in one that it was captured with,
    which stays. OSError if anything else does.
    """
    names = sorted(os.listdir(folder))  # noqa: PTH208
    captures = [name for name in names if name.startswith(f"{_CAPTURE}-")]
    if captures:
        capture = folder / captures[0]
        empty_folder(capture)
        empty_folder(folder, but=capture.name)
        capture.rename(folder / _CAPTURE)
    else:
        empty_folder(folder)
