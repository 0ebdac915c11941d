"""Tells whether anything in a workspace was touched since it was prepared.

Git compares the files of its index, much faster than this process could stamp them;
everything else in the checkout is stamped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from runner.attempt import file_stamps, workspace
from runner.attempt.file_stamps import Stamp
from runner.attempt.workspace import Workspace
from runner.core.errors import GitFailed
from runner.repo import diff

_CHANGED = ("diff-files", "-z", "--name-only", "--ignore-submodules=all")


class RecordedWorkspace(NamedTuple):
    """A workspace as set-up left it: the stamps of its folder, of what is in the checkout
    beside the `indexed` files, and of the checkout's own git directory.
    """

    space: Workspace
    place: Stamp
    indexed: frozenset[str]
    others: Mapping[str, Stamp]
    git: Mapping[str, Stamp]

    @classmethod
    def of(cls, space: Workspace) -> RecordedWorkspace:
        """To be called with an index that git has just written. Raises GitFailed if time
        would not tell a later change, OSError if something cannot be read.
        """
        place = file_stamps.stamp(space.folder.lstat())
        with workspace.starting(space) as before_agent:
            names = workspace.capture_git(before_agent).run(["ls-files", "-z"])
        # The index of a pooled checkout does not have what set-up made of these.
        prepared = {change.path for change in space.prepared}
        indexed = frozenset(diff.parse_names(names)) - prepared
        others = file_stamps.stamps_of(space.checkout, indexed)
        git = file_stamps.stamps_of(space.checkout / ".git")
        of_index = file_stamps.of_time(space.index_record.time)
        stamps = [*others.values(), *git.values(), of_index]
        if not file_stamps.wait_for_later_time(space.folder, stamps):
            raise GitFailed(["add"], 1, "the file system's clock stands still")
        return cls(space, place, indexed, others, git)

    def is_touched(self) -> bool:
        """Whether anything is not as recorded. Raises GitFailed or OSError if it cannot
        be read.
        """
        space = self.space
        if file_stamps.stamp(space.folder.lstat()) != self.place:
            return True
        with workspace.starting(space) as before_agent:
            git = workspace.capture_git(before_agent)
            # The end of the block ends git, which waits at a pipe that is called
            # .gitattributes.
            with git.beside(_CHANGED) as output:
                if self._others_are_touched():
                    return True
                changed = diff.parse_names(output())
        return not self.indexed.isdisjoint(changed)

    def _others_are_touched(self) -> bool:
        checkout = self.space.checkout
        return any(
            differs.present or differs.missing
            for differs in (
                file_stamps.differences(checkout, self.others, self.indexed),
                file_stamps.differences(checkout / ".git", self.git),
            )
        )
