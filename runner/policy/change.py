"""One changed path between two trees, and the refusal of one."""

from __future__ import annotations

from typing import NamedTuple

# The modes of git's tree entries.
REGULAR, EXECUTABLE, SYMLINK, GITLINK = "100644", "100755", "120000", "160000"


class Change(NamedTuple):
    """One path that a task changed.

    `old` and `new` are (mode, object id), None if the path does not exist. `size` is
    that of the new blob in bytes, `target` what a new symlink points to.
    """

    path: str
    old: tuple[str, str] | None
    new: tuple[str, str] | None
    size: int = 0
    target: str | None = None

    @property
    def is_added(self) -> bool:
        return self.old is None and self.new is not None


class Refusal(NamedTuple):
    """A reason why a change may not land.

    `reason` completes the sentence that `path` begins; without a path, the change as a
    whole is refused. `scope` marks a path outside the task's own `files`, which the
    setting `scope` may let in.
    """

    path: str
    reason: str
    remedy: str
    scope: bool = False

    def __str__(self) -> str:
        sentence = f"{self.path} {self.reason}".lstrip()
        return f"{sentence} ({self.remedy})"
