"""Helpers of several commands: open a repository, its settings, its snapshots."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runner.core.errors import InvalidInput, UsageProblem

if TYPE_CHECKING:
    from runner.config.settings import FlagValue, Settings
    from runner.core.task import AgentSettings
    from runner.local.journal_state import WaitingWork
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView
    from runner.repo.repository import Repository


def open_repository(path: str) -> Repository:
    """The repository that contains the folder `path`."""
    from pathlib import Path

    from runner.repo.repository import Repository

    return Repository(Path(path), os.environ)


def open_project(
    path: str, flags: Mapping[str, FlagValue | None]
) -> tuple[Repository, Settings]:
    """The repository that contains the folder `path`, and its settings."""
    from runner.config.settings import load, read_settings_file

    repo = open_repository(path)
    return repo, load(flags, os.environ, read_settings_file(repo.root))


def open_tasks(
    path: str, flags: Mapping[str, FlagValue | None]
) -> tuple[Repository, Settings]:
    """`open_project` for a command about tasks: where runs deliver by a pull request, it
    is about the branch that has the work.
    """
    repo, settings = open_project(path, flags)
    if settings.own_branch:
        from runner.local.delivered import with_own_branch

        settings = with_own_branch(repo, settings)
    return repo, settings


def branch_commit(
    repo: Repository, settings: Settings, waiting_branch: str | None = None
) -> tuple[str, str]:
    """The branch that work lands on and its commit. Raises UsageProblem if it has none.

    The name is HEAD if HEAD is detached. `waiting_branch` replaces the branch if given.
    """
    current = repo.current_branch()
    branch = waiting_branch or settings.branch or current
    commit = repo.commit(f"refs/heads/{branch}" if branch else "HEAD")
    if commit is None:
        problem = f"the branch {branch} does not exist"
        remedy = f"create it:  git branch {shlex.quote(branch or '')}"
        if branch == current:
            problem = "the repository has no commit yet"
            remedy = "create a first commit:  git add -A && git commit -m 'Start'"
        raise UsageProblem(problem, remedy)
    return branch or "HEAD", commit


def branch_snapshot(
    repo: Repository, settings: Settings, waiting_branch: str | None = None
) -> Snapshot:
    """The plan and its progress on the branch that work lands on, with what has not been
    recorded there yet.

    A branch on which finished work waits is ahead of it and is read instead if given.
    """
    from runner.plan.snapshot import read_snapshot

    branch, commit = branch_commit(repo, settings, waiting_branch)
    try:
        snapshot = read_snapshot(
            repo, commit, settings.plan, settings.progress, settings.task_rules
        )
    except InvalidInput as error:
        from runner.local.preparation import explained

        raise explained(repo, settings, branch, error) from None
    return _with_unrecorded(repo, settings, snapshot, branch)


def _with_unrecorded(
    repo: Repository, settings: Settings, snapshot: Snapshot, branch: str | None
) -> Snapshot:
    """The branch's snapshot with what only the journal has."""
    from runner.local.journal import Journal

    state = Journal(repo.git_dir).state()
    if not state.unrecorded:
        return snapshot
    from runner.local.unrecorded import with_unrecorded

    return with_unrecorded(snapshot, state, branch, settings.progress).snapshot


def work_tree_snapshot(repo: Repository, settings: Settings) -> Snapshot:
    """The plan and its progress in the work tree, whether or not they are committed, with
    what has not been recorded on the branch yet.

    Without what no commit can have, so that a run would not find it.
    """
    from runner.plan.snapshot import read_working_tree

    branch = settings.branch
    snapshot = read_working_tree(
        repo.root,
        settings.plan,
        settings.progress,
        settings.task_rules,
        repo=repo,
        commit=repo.commit(f"refs/heads/{branch}" if branch else "HEAD"),
    )
    branch = branch or repo.current_branch()
    return _with_unrecorded(repo, settings, snapshot, branch)


def task_views(
    snapshot: Snapshot, settings: Settings, running: Sequence[str] = ()
) -> list[TaskView]:
    """The state of every task, in plan order. `running` are the ids being worked on."""
    from runner.plan import view

    return view.views(
        snapshot.plan,
        snapshot.graph,
        snapshot.progress,
        settings.max_attempts,
        running,
    )


def missing_requirements(agent_settings: AgentSettings) -> list[tuple[str, str]]:
    """The (problem, remedy) of each program or key that the agent lacks here."""
    import shutil

    from runner import agents
    from runner.agents import environment

    agent = agents.agent_for(agent_settings)
    return environment.missing_requirements(
        agent, agent_settings, os.environ, shutil.which
    )


def flaky_sentences(repo: Repository) -> list[str]:
    """A sentence for each test that verify has seen red and green on one tree lately."""
    from runner.local.journal import VERDICTS

    folder = repo.git_dir / "fanin"
    if not (folder / VERDICTS).exists():
        return []
    from runner.core.clock import SystemClock
    from runner.local.verdicts import Verdicts

    return Verdicts(folder, SystemClock().now).flaky()


def unlanded_work(
    repo: Repository, settings: Settings
) -> tuple[WaitingWork | None, list[WaitingWork]]:
    """The finished work that waits for the branch that work lands on, None if there is
    none, and that for other branches.
    """
    from runner.local.journal import Journal
    from runner.local.unlanded_work import has_unlanded_work

    branch = settings.branch or repo.current_branch()
    own, others = None, []
    for waiting in Journal(repo.git_dir).state().waiting:
        if not has_unlanded_work(repo, waiting):
            continue
        if waiting.target == branch:
            own = waiting
        else:
            others.append(waiting)
    return own, others


def abbreviate(names: Sequence[str], limit: int = 8) -> list[str]:
    """The first `limit` names, and how many more there are."""
    if len(names) <= limit:
        return list(names)
    return [*names[:limit], f"… {len(names) - limit} more"]
