"""The Protocol that every plan format follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from runner.core.task import Plan, Status

Options = Mapping[str, str]


class Mark(NamedTuple):
    """The state that the plan's own marks should show for one task.

    `started` and `completed`: ISO 8601 in UTC, or None. `error`: one line, or None.
    """

    status: Status
    started: str | None = None
    completed: str | None = None
    error: str | None = None


class Tree(Protocol):
    """The files of one commit, or of the work tree.

    Paths are relative to the repository and use `/`.
    """

    def read(self, path: str) -> str | None:
        """The file's text with its line endings, or None if it is not a regular file.

        Raises InvalidInput if it is not UTF-8 or larger than a plan may be.
        """
        ...

    def list(self, folder: str) -> Sequence[str]:
        """The sorted paths of all regular files below the folder; () without one.

        The folder `.` is the repository.
        """
        ...


class Marker(Protocol):
    """Writes marks into a plan's files, again and again.

    `is_current`: whether it knows what has been written as it would know it from reading
    the files again. Otherwise it must not be used any more.
    """

    is_current: bool

    def write(self, marks: Mapping[str, Mark]) -> Mapping[str, str]:
        """The new text of each file that changes, as by `Source.write_back`."""
        ...


class Source(Protocol):
    """One plan format. It is pure: the caller reads and writes the files.

    `name`: the value of `plan: {source: NAME}`. `options`: the names that `plan:
    {options: ...}` accepts, each with its allowed values; an empty list allows any
    value. A format with an attribute `may_be_empty = True` may return a plan without
    tasks; for every other format such a plan is a mistake. With an attribute
    `leaves_out_records = True`, a task with an unknown dependency is skipped instead of
    refusing the plan; see `left_out`. With a method `marker(path, tree, options)`, which
    returns a `Marker`, a plan is not read anew for each mark. With an attribute
    `changes_with_marks = True`, the mark of a finished task changes what others are or
    wait for, so that a run reads the plan anew after each landing; so it does with a
    format of another package without the attribute.
    """

    name: str
    options: Mapping[str, Sequence[str]]

    def detect(self, path: str, tree: Tree) -> bool:
        """Whether the file or folder at `path` has this format, by name and content."""
        ...

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan, with the file and line of each task.

        Raises InvalidInput with every located problem.
        """
        ...

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The new text of each file that changes, by path.

        `marks` are by task id. Only the marks of those tasks differ: every other byte
        stays.
        """
        ...


class MemoryTree(NamedTuple):
    """A tree of files held in memory: path → text."""

    files: Mapping[str, str]

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def list(self, folder: str) -> Sequence[str]:
        prefix = "" if folder == "." else f"{folder}/"
        return sorted(path for path in self.files if path.startswith(prefix))
