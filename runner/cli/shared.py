"""What the commands share: the settings as flags, and how a repository, its settings and its snapshots are opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from runner.errors import UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config import Settings
    from runner.gitrepo import Repository
    from runner.models import AgentSettings
    from runner.pictures import View
    from runner.snapshot import Snapshot


class PathOption(click.Path):
    """A path as pathlib's, which is imported when there is one: `fanin --help` has none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from pathlib import Path

        return Path(os.fsdecode(super().convert(value, param, ctx)))


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The settings as flags; every name equals the setting's."""
    options = [
        click.option("--plan", metavar="PATH", help="The plan's file or folder, relative to the repository."),
        click.option("--source", metavar="NAME", help="The plan's format; detected otherwise."),
        click.option("--ignore-dangling", is_flag=True, default=None, help="Drop dependencies on unknown tasks."),
        click.option("--parallel/--sequential", default=None, help="Run the ready tasks side by side."),
        click.option("--max-concurrent", type=int, metavar="N", help="Agents at once, and the batch limit."),
        click.option("--commit-strategy", metavar="batch|individual", help="One commit per batch, or per task."),
        click.option("--max-attempts", type=int, metavar="N", help="Attempts per task."),
        click.option("--timeout", metavar="30m", help="Time limit per attempt."),
        click.option("--verify", metavar="COMMAND", help="Checks the merged tree before it lands."),
        click.option("--agent", metavar="PRESET", help="The agent, by name."),
        click.option("--agent-command", metavar="'CMD ARG…'", help="The agent, as a command line."),
        click.option(
            "--env",
            multiple=True,
            metavar="NAME=VALUE",
            callback=lambda _context, _option, pairs: "\n".join(pairs) or None,
            help="A plain variable of agent and verify; may be repeated.",
        ),
        click.option("--max-cost-usd", type=float, metavar="USD", help="Start no batch beyond this."),
        click.option("--max-rounds", type=int, metavar="N", help="Batches per run."),
        click.option("--branch", metavar="NAME", help="Where work lands; made from HEAD if it does not exist."),
        click.option("--progress", metavar="PATH", help="Where progress is kept."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def repository(where: str) -> Repository:
    from pathlib import Path

    from runner.gitrepo import Repository

    return Repository(Path(where), os.environ)


def opened(where: str, flags: dict[str, Any]) -> tuple[Repository, Settings]:
    """The repository, and the settings in force there."""
    from runner import config

    repo = repository(where)
    return repo, config.load(flags, os.environ, config.file_in(repo.root))


def branch_commit(repo: Repository, settings: Settings, waiting: str | None = None) -> tuple[str, str]:
    """The branch that work lands on (HEAD if none is checked out) and its commit; the waiting one if given."""
    branch = waiting or settings.branch or repo.current_branch()
    commit = repo.commit(f"refs/heads/{branch}" if branch else "HEAD")
    if commit is None:
        raise UsageProblem(
            "the repository has no commit yet" if branch == repo.current_branch() else f"there is no branch {branch}",
            "make a first one:  git add -A && git commit -m 'Start'",
        )
    return branch or "HEAD", commit


def branch_snapshot(repo: Repository, settings: Settings, waiting: str | None = None) -> Snapshot:
    """What the branch that work lands on says; a branch where finished work waits says more."""
    from runner import snapshot

    _, commit = branch_commit(repo, settings, waiting)
    return snapshot.read_snapshot(repo, commit, settings.plan, settings.progress)


def working_snapshot(repo: Repository, settings: Settings) -> Snapshot:
    """The plan as it stands in the work tree, so that it can be checked before it is committed."""
    from runner import snapshot

    return snapshot.read_working_tree(repo.root, settings.plan, settings.progress)


def views_of(snapshot: Snapshot, settings: Settings, running: list[str] | None = None) -> list[View]:
    from runner import pictures

    return pictures.views(snapshot.plan, snapshot.graph, snapshot.progress, settings.max_attempts, running or [])


def lacks_of(chosen: AgentSettings) -> list[tuple[str, str]]:
    """What is missing on this machine to use the agent."""
    import shutil

    from runner import agents
    from runner.agents.surroundings import lacks

    return lacks(agents.agent_for(chosen), chosen, os.environ, shutil.which)


def waits(branch: str) -> str:
    return f"finished work waits on {branch}; take it:  git merge --ff-only {branch}"


def shortened(ids: Any, most: int = 8) -> list[str]:
    listed = list(ids)
    return listed if len(listed) <= most else [*listed[:most], f"… {len(listed) - most} more"]
