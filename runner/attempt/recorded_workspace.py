"""Tells whether anything in a workspace was touched since it was prepared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from runner.attempt import capture_directory, file_stamps, trusted_times
from runner.attempt.file_stamps import Stamp
from runner.attempt.recorded_files import RecordedFiles
from runner.attempt.workspace import Workspace


class RecordedWorkspace(NamedTuple):
    """A workspace as set-up left it: the stamp of its folder, the files of the checkout,
    and the stamps of the checkout's own git directory.
    """

    space: Workspace
    place: Stamp
    files: RecordedFiles
    git: Mapping[str, Stamp]

    @classmethod
    def of(cls, space: Workspace) -> RecordedWorkspace:
        """Raises as `RecordedFiles.of`."""
        place = file_stamps.stamp(space.folder.lstat())
        git = file_stamps.stamps_of(space.checkout / ".git")
        return cls(space, place, RecordedFiles.of(space, git.values()), git)

    def is_touched(self) -> bool:
        """Whether anything is not as recorded. Raises GitFailed or OSError if it cannot
        be read.
        """
        space = self.space
        if file_stamps.stamp(space.folder.lstat()) != self.place:
            return True
        differs = file_stamps.differences(space.checkout / ".git", self.git)
        if differs.present or differs.missing:
            return True
        space = trusted_times.trust_stamped(space, trusted_times.time_in(space.folder))
        with capture_directory.starting(space) as before_agent:
            return self.files.are_touched(capture_directory.capture_git(before_agent))
