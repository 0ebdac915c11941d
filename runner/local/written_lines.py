"""Finds out whether a task has written lines of a file, in the history of the branch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple

from runner.core.errors import GitFailed, UsageProblem
from runner.core.task import TaskRules
from runner.fan_in.own_files import own_files
from runner.fan_in.undo import named_paths
from runner.local.landings import LandingCommit, landed_by, landing_commits
from runner.plan.snapshot import Snapshot
from runner.plan.task_rules import never_changed
from runner.repo.repository import Repository

# The commit that wrote a line, and the line's numbers there and here.
_BLAMED = re.compile(r"(?P<commit>[0-9a-f]{40}|[0-9a-f]{64}) \d+ \d+(?: \d+)?")
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--unified=0")


@dataclass(frozen=True)
class Lines:
    """The lines `first` to `last`, from 1, of a file in a commit."""

    commit: str
    path: str
    first: int
    last: int


class _Line(NamedTuple):
    """A line's text, and the file that it was in when it was written."""

    path: str
    text: str


@dataclass(frozen=True)
class WrittenLines:
    """What a task that has landed on the snapshot's branch has written."""

    repo: Repository
    snapshot: Snapshot
    progress_path: str
    task_rules: TaskRules
    task: str

    @cached_property
    def landings(self) -> Mapping[str, LandingCommit]:
        """The commits that landed it, by id. Raises UsageProblem if there is none."""
        head = self.snapshot.commit
        found = landing_commits(self.repo, head, self.progress_path, self.task)
        return {each.commit: each for each in found}

    def landed_before(self, lines: Lines) -> datetime | None:
        """When the task landed some of the lines; None if it wrote none of them."""
        for commit, written in self._blamed(lines).items():
            landing = self.landings.get(commit)
            if landing is not None and self._wrote(landing, written):
                seconds = self.repo.git.text(["log", "-1", "--format=%ct", commit])
                return datetime.fromtimestamp(int(seconds), UTC)
        return None

    def _blamed(self, lines: Lines) -> Mapping[str, list[_Line]]:
        """The commits that wrote the lines, and which of the lines are whose."""
        if self.repo.commit(lines.commit) != lines.commit:
            return {}
        argv = [
            *("blame", "--line-porcelain", "--no-textconv"),
            *(f"-L{lines.first},{lines.last}", lines.commit, "--", lines.path),
        ]
        try:
            text = self.repo.git.text(argv)
        except GitFailed:
            return {}  # the file has fewer lines in that commit, or is not there
        return _parse_blame(text)

    def _wrote(self, landing: LandingCommit, written: Sequence[_Line]) -> bool:
        """Whether the task, and not one that landed with it, wrote one of the lines."""
        for line in written:
            changed_by = [
                task for task in landing.completed if _changed(landing, task, line.path)
            ]
            if changed_by == [self.task]:
                return True
            if self.task in changed_by and self._adds(landing, line):
                return True
        return False

    def _adds(self, landing: LandingCommit, line: _Line) -> bool:
        """Whether the task's own change has such a line, where others that landed with it
        changed the same file. True if nobody knows what each of them changed.
        """
        never = never_changed(self.snapshot.plan, self.task_rules)
        is_own = own_files(never, self.progress_path)
        with self.repo.quarantine() as quarantine:
            try:
                landed = landed_by(self.repo, quarantine, landing, is_own)
            except UsageProblem:
                return True
            texts: set[str] = set()
            for step in landed.steps:
                if step.task == self.task:
                    argv = [
                        *_DIFF,
                        step.base,
                        step.tree,
                        "--",
                        f":(literal){line.path}",
                    ]
                    texts |= _added(quarantine.git.text(argv))
        return line.text in texts


def _changed(landing: LandingCommit, task: str, path: str) -> bool:
    """Whether the task may have changed the file: its record names some, or all."""
    paths = named_paths([str(each) for each in landing.after[task].get("changed", ())])
    return paths is None or path in paths


def _added(patch: str) -> set[str]:
    """The lines that a patch of one file adds."""
    return {
        line[1:]
        for line in patch.split("\n")
        if line.startswith("+") and not line.startswith("+++ ")
    }


def _parse_blame(text: str) -> Mapping[str, list[_Line]]:
    """Commit → the lines that it wrote, of the output of `git blame --line-porcelain`."""
    lines: dict[str, list[_Line]] = {}
    commit = path = ""
    for row in text.split("\n"):
        if row.startswith("\t"):
            lines.setdefault(commit, []).append(_Line(path, row[1:]))
        elif match := _BLAMED.fullmatch(row):
            commit = match["commit"]
        elif row.startswith("filename "):
            path = row.removeprefix("filename ")
    return lines
