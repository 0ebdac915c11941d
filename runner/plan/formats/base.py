"""What a plan format is: the Protocol every module of `sources/` follows, and what it
reads from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.core.task import Plan, Status

Options = Mapping[str, str]


@dataclass(frozen=True)
class Mark:
    """What the plan's own marks should say of one task; times are ISO 8601 UTC or None,
    `error` one line.
    """

    status: Status
    started: str | None = None
    completed: str | None = None
    error: str | None = None


class Tree(Protocol):
    """The files of one commit, or of the work tree. Paths are relative to the
    repository, with `/`.

    `read(path)`: the file's text with its line ends as they are, None if there is no
    such regular file; InvalidInput if it is no UTF-8 or larger than a plan may be,
    before anything is parsed. `list(folder)`: the paths of all regular files below the
    folder, sorted; () if there is no such folder.
    """

    def read(self, path: str) -> str | None: ...

    def list(self, folder: str) -> Sequence[str]: ...


class Source(Protocol):
    """One plan format. Pure: a tree in, data out; the caller reads and writes files.

    `name`: what `plan: {source: NAME}` says. `options`: what `plan: {options: ...}` may
    say: each name with its allowed values, none listed = any. `detect(path, tree)`:
    whether the file or folder at `path` looks like the format, by name and content.
    `load(path, tree, options)`: the plan with each task's file and line; InvalidInput
    with every located problem. `write_back(path, tree, marks, options)`: the new text
    of each file that changes: only the marks of the named tasks differ, every other
    byte is kept. A format with `may_be_empty = True` may give a plan without tasks; of
    any other that is a mistake.
    """

    name: str
    options: Mapping[str, Sequence[str]]

    def detect(self, path: str, tree: Tree) -> bool: ...

    def load(self, path: str, tree: Tree, options: Options) -> Plan: ...

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class MemoryTree:
    """Files that are held in memory, for tests and for what does not lie on a disk."""

    files: Mapping[str, str]

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def list(self, folder: str) -> Sequence[str]:
        return sorted(path for path in self.files if path.startswith(f"{folder}/"))
