"""The tasks of `fanin status --watch`, read again only as far as something has moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runner.cli.context import open_project
from runner.cli.status import (
    BranchNow,
    TasksNow,
    UnfinishedRuns,
    read_branch,
    unfinished_runs,
    with_runs,
)
from runner.config.settings import FlagValue, Settings
from runner.local import watched_files
from runner.local.event_reader import EventReader
from runner.local.journal import Journal
from runner.local.watched_files import Stamps
from runner.repo.repository import Repository


@dataclass(frozen=True)
class _Project:
    """A repository, its settings and its branch as they were at `stamps`."""

    repo: Repository
    settings: Settings
    journal: Journal
    branch: BranchNow
    stamps: Stamps


@dataclass(frozen=True)
class _Runs:
    """The runs that had not finished at `stamps`, with that process in the lock."""

    unfinished: UnfinishedRuns
    stamps: Stamps
    holder: int | None


class WatchedTasks:
    """What `fanin status` shows, again and again.

    The settings and the branch are read when a file of them has changed, and the events
    of a run from where the last reading ended.
    """

    def __init__(self, path: str, flags: Mapping[str, FlagValue | None]) -> None:
        self._path, self._flags = path, flags
        self._events = EventReader()
        self._runs: _Runs | None = None
        self._project: _Project | None = None

    def now(self) -> tuple[Repository, Settings, TasksNow]:
        """The repository, its settings and the tasks as they stand now."""
        project = self._project
        if project is not None:
            # Before the branch, as in `read_tasks`.
            unfinished = self._unfinished(
                project.repo, project.settings, project.journal
            )
            if not project.stamps.still_hold(watched_files.of_branch(project.repo)):
                project = None
        if project is None:
            repo, settings = open_project(self._path, self._flags)
            stamps, journal = watched_files.of_branch(repo), Journal(repo.git_dir)
            unfinished = self._unfinished(repo, settings, journal)
            branch = read_branch(repo, settings)
            project = _Project(repo, settings, journal, branch, stamps)
        self._project = project
        tasks = with_runs(project.repo, project.branch, project.journal, unfinished)
        return project.repo, project.settings, tasks

    def _unfinished(
        self, repo: Repository, settings: Settings, journal: Journal
    ) -> UnfinishedRuns:
        stamps, holder = watched_files.of_runs(repo), journal.holder()
        before = self._runs
        if (
            before is not None
            and before.holder == holder
            and before.stamps.still_hold(stamps)
            and before.unfinished.open_run == journal.state().run
        ):
            return before.unfinished
        unfinished = unfinished_runs(journal, settings.plan.path, self._events)
        self._runs = _Runs(unfinished, stamps, holder)
        return unfinished
