"""What the commands share: the settings as flags, and how a repository, its settings
and its snapshots are opened.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runner.core.errors import UsageProblem

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.core.task import AgentSettings
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView
    from runner.repo.repository import Repository


def repository(where: str) -> Repository:
    from pathlib import Path

    from runner.repo.repository import Repository

    return Repository(Path(where), os.environ)


def opened(where: str, flags: dict[str, Any]) -> tuple[Repository, Settings]:
    """The repository, and the settings in force there."""
    from runner.config.settings import file_in, load

    repo = repository(where)
    return repo, load(flags, os.environ, file_in(repo.root))


def branch_commit(
    repo: Repository, settings: Settings, waiting: str | None = None
) -> tuple[str, str]:
    """The branch that work lands on (HEAD if none is checked out) and its commit; the
    waiting one if given.
    """
    branch = waiting or settings.branch or repo.current_branch()
    commit = repo.commit(f"refs/heads/{branch}" if branch else "HEAD")
    if commit is None:
        raise UsageProblem(
            "the repository has no commit yet"
            if branch == repo.current_branch()
            else f"there is no branch {branch}",
            "make a first one:  git add -A && git commit -m 'Start'",
        )
    return branch or "HEAD", commit


def branch_snapshot(
    repo: Repository, settings: Settings, waiting: str | None = None
) -> Snapshot:
    """What the branch that work lands on says; a branch where finished work waits says
    more.
    """
    from runner.plan import snapshot

    _, commit = branch_commit(repo, settings, waiting)
    return snapshot.read_snapshot(repo, commit, settings.plan, settings.progress)


def working_snapshot(repo: Repository, settings: Settings) -> Snapshot:
    """The plan as it stands in the work tree, so that it can be checked before it is
    committed.
    """
    from runner.plan import snapshot

    return snapshot.read_working_tree(repo.root, settings.plan, settings.progress)


def views_of(
    snapshot: Snapshot, settings: Settings, running: list[str] | None = None
) -> list[TaskView]:
    from runner.plan import view

    return view.views(
        snapshot.plan,
        snapshot.graph,
        snapshot.progress,
        settings.max_attempts,
        running or [],
    )


def missing_requirements(chosen: AgentSettings) -> list[tuple[str, str]]:
    """What is missing on this machine to use the agent."""
    import shutil

    from runner import agents
    from runner.agents import environment

    return environment.missing_requirements(
        agents.agent_for(chosen), chosen, os.environ, shutil.which
    )


def waits(branch: str) -> str:
    return f"finished work waits on {branch}; take it:  git merge --ff-only {branch}"


def shortened(ids: Any, most: int = 8) -> list[str]:
    listed = list(ids)
    return (
        listed
        if len(listed) <= most
        else [*listed[:most], f"… {len(listed) - most} more"]
    )
