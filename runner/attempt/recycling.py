"""Makes a checkout that has been used as git makes a new one, where that is faster.

What is left of its use is removed, and each file that is not as git wrote it is written
anew. Git knows that by the file's change time (ctime), which no program can set back. It
compares seconds, so files of the second in which the index was written are compared here.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runner.attempt import file_stamps, trusted_times, workspace
from runner.attempt.emptied_folders import FolderState
from runner.attempt.recorded_files import refuse_standing_clock
from runner.attempt.workspace import Workspace
from runner.repo import index_times

SPARE_BRANCH = "fanin/spare"  # until the next attempt gives it another
# A copy of the index of a new checkout that is not in memory: set-up makes another one.
_INDEX = "new.index"


class NewCheckout(NamedTuple):
    """A workspace as it was made, with what its folders are like then."""

    workspace: Workspace
    folder: FolderState
    place: tuple[int, int]  # device and inode of the workspace's folder

    @classmethod
    def of(cls, space: Workspace) -> NewCheckout:
        """To be called before anything runs there. OSError where the disk is full,
        GitFailed if time would not tell a later change.
        """
        of_index = file_stamps.of_time(space.index_record.time)
        refuse_standing_clock(space.folder, [of_index])
        if space.index_record.data is None:
            shutil.copyfile(space.index_copy, space.folder / _INDEX)
        return cls(space, FolderState.at(space.checkout), _place(space.folder))

    def with_seed_of(self, space: Workspace) -> NewCheckout:
        """The same, which borrows where that workspace does."""
        return self._replace(workspace=self.workspace._replace(seed=space.seed))


def recycled(new: NewCheckout) -> Workspace | None:
    """The workspace as it was when it was new; None if that cannot be had.

    To be called when all programs that may have worked there have ended. Raises GitFailed
    or OSError where git or the disk fails; then too it is to be removed.
    """
    space = new.workspace
    if _place(space.folder) != new.place or not workspace.is_there(space.checkout):
        return None
    if space.index_record.data is None:
        (space.folder / _INDEX).replace(space.index_copy)
    workspace.remove_beside(space)
    recent = _recent_entries(space)
    now = trusted_times.time_in(space.folder)
    is_set_back = now < space.index_record.time
    if recent is None or is_set_back:
        return None
    space = trusted_times.trust_stamped(space, now)
    git = workspace.renew_git_directory(space, space.base, SPARE_BRANCH)
    git.run(["clean", "-ffdxq"])
    # Git neither sees nor removes pipes, and opens one that is called .gitattributes.
    folders, special = workspace.folders_of(space.checkout)
    if special or any(FolderState.at(path) != new.folder for path in folders):
        return None
    _remove_changed(space.checkout, recent, frozenset(folders))
    return trusted_times.trust_stamped(workspace.write_again(space), now)


def _recent_entries(space: Workspace) -> Mapping[str, bytes] | None:
    """The entries of the index for files that changed in the second in which it was
    written, or later; None if they cannot be told.
    """
    data = workspace.index_data(space)
    if data is None:
        return None
    second = space.index_record.time // trusted_times.SECOND
    files = index_times.read_files(data, space.object_format, second)
    return None if files is None else files.recent


def _remove_changed(
    checkout: Path, entries: Mapping[str, bytes], folders: Set[str]
) -> None:
    """Remove those of the files that are not as their entry says. Those that are in none
    of the `folders` are behind a link, or gone: git sees that.
    """
    for path, entry in entries.items():
        place = f"{checkout}/{path}"
        if place.rpartition("/")[0] not in folders:
            continue
        with suppress(FileNotFoundError):
            found = os.lstat(place)
            if not stat.S_ISDIR(found.st_mode) and not index_times.is_of(entry, found):
                Path(place).unlink()


def _place(folder: Path) -> tuple[int, int]:
    status = folder.lstat()
    return status.st_dev, status.st_ino
