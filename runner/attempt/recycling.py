"""Makes a checkout that has been used as git makes a new one, where that is faster.

What is left of its use is removed, and each file that is not as git wrote it is written
anew. Git knows that by the file's change time (ctime), which no program can set back.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from runner.attempt import workspace
from runner.attempt.emptied_folders import FolderState
from runner.attempt.workspace import Workspace

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
        """To be called before anything runs there. OSError where the disk is full."""
        if space.index_record.data is None:
            shutil.copyfile(space.index, space.folder / _INDEX)
        return cls(space, FolderState.at(space.checkout), _place(space.folder))

    def with_seed_of(self, space: Workspace) -> NewCheckout:
        """The same, which borrows where that workspace does."""
        return self._replace(workspace=replace(self.workspace, seed=space.seed))


def recycled(new: NewCheckout) -> Workspace | None:
    """The workspace as it was when it was new; None if that cannot be had.

    To be called when all programs that may have worked there have ended. Raises GitFailed
    or OSError where git or the disk fails; then too it is to be removed.
    """
    space = new.workspace
    if _place(space.folder) != new.place or not workspace.is_there(space.checkout):
        return None
    if space.index_record.data is None:
        (space.folder / _INDEX).replace(space.index)
    workspace.remove_beside(space)
    git = workspace.renew_git_directory(space, space.base, SPARE_BRANCH)
    git.run(["clean", "-ffdxq"])
    # Git neither sees nor removes pipes, and opens one that is called .gitattributes.
    folders, special = workspace.folders_of(space.checkout)
    if special or any(FolderState.at(path) != new.folder for path in folders):
        return None
    return workspace.write_again(space)


def _place(folder: Path) -> tuple[int, int]:
    status = folder.lstat()
    return status.st_dev, status.st_ino
