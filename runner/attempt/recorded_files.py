"""What tells whether the files of a checkout are still those that were there.

Git compares those of its index, much faster than this process could stamp them. It
counts times in seconds, and a program may change a file in the second in which the index
was written. So a file that changed that late has a stamp, as has everything that the
index does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from runner.attempt import file_stamps, workspace
from runner.attempt.file_stamps import Differences, Stamp
from runner.attempt.trusted_times import SECOND
from runner.attempt.workspace import Workspace
from runner.core.errors import GitFailed
from runner.repo import diff, index_times
from runner.repo.command import Git

_CHANGED = ("diff-files", "-z", "--name-only", "--ignore-submodules=all")


class RecordedFiles(NamedTuple):
    """The files of a checkout when nobody worked there: `tracked` are the paths of those
    of its index, but for what set-up changed. `others` has the stamps of everything else
    but `.git`, and of tracked files that git may be wrong about.
    """

    tracked: frozenset[str]
    others: Mapping[str, Stamp]

    @classmethod
    def of(cls, space: Workspace, git_folder: Iterable[Stamp] = ()) -> RecordedFiles:
        """Those of a workspace whose index says what is there now. `git_folder` are the
        stamps of its `.git`, which were taken before.

        Raises GitFailed if time would not tell a later change, OSError if something
        cannot be read.
        """
        data = workspace.index_data(space)
        second = space.index_record.time // SECOND
        files = None
        if data is not None:
            files = index_times.read_files(data, space.object_format, second)
        if files is None:
            raise GitFailed(["add"], 1, "the index is not as git writes it here")
        # The index of a checkout that was used has the base's entries for these.
        tracked = files.paths - {change.path for change in space.prepared}
        others = file_stamps.stamps_of(space.checkout, tracked - files.recent.keys())
        of_index = file_stamps.of_time(space.index_record.time)
        refuse_standing_clock(space.folder, [*others.values(), *git_folder, of_index])
        return cls(tracked, others)

    @property
    def indexed(self) -> frozenset[str]:
        """The paths of the files that git compares."""
        return self.tracked - self.others.keys()

    def others_that_differ(self, checkout: Path) -> Differences:
        """As `file_stamps.differences`, of `others`."""
        return file_stamps.differences(checkout, self.others, self.indexed)

    def changed_tracked(self, git: Git) -> frozenset[str]:
        """The tracked files that are not as the index of the checkout has them."""
        return self.tracked.intersection(diff.parse_names(git.run(_CHANGED)))

    def are_touched(self, git: Git) -> bool:
        """Whether anything is not as recorded. `git` is the checkout's, with the index as
        recorded; which time the index has does not matter.
        """
        # The end of the block ends git, which waits at a pipe that is called
        # .gitattributes.
        with git.beside(_CHANGED) as output:
            differs = self.others_that_differ(git.cwd)
            if differs.present or differs.missing:
                return True
            return not self.indexed.isdisjoint(diff.parse_names(output()))

    def written(
        self,
        checkout: Path,
        changed: Iterable[str],
        tracked: frozenset[str] | None = None,
    ) -> RecordedFiles:
        """The same after what is at these paths was written or removed by git or by
        fanin. `tracked` is what git has there now, None if that has not changed.
        """
        changed = frozenset(changed)
        others = {
            path: stamp for path, stamp in self.others.items() if path not in changed
        }
        others |= file_stamps.stamps_at(checkout, changed)
        return RecordedFiles(self.tracked if tracked is None else tracked, others)

    def trusting(self, time_ns: int) -> RecordedFiles:
        """The same, with fewer stamps: nobody but git and fanin has written there since
        they were taken, and the index has this time.
        """
        second = time_ns // SECOND
        others = {
            path: stamp
            for path, stamp in self.others.items()
            if path not in self.tracked or file_stamps.is_since(stamp, second * SECOND)
        }
        return self._replace(others=others)


def refuse_standing_clock(folder: Path, stamps: Iterable[Stamp]) -> None:
    """GitFailed if a later change might have the stamp of an earlier one."""
    if not file_stamps.wait_for_later_time(folder, stamps):
        raise GitFailed(["add"], 1, "the file system's clock stands still")
