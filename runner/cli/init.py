"""The command `init`: look at a repository, propose settings, write new files."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from runner.cli import completion
from runner.cli.context import open_repository
from runner.core.errors import EXIT_DONE, InvalidInput, UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config.settings import Settings
    from runner.discovery.proposal import FoundAgent, Proposal
    from runner.plan.finder import FoundPlan
    from runner.repo.repository import Repository


@click.command()
@click.option(
    "--agent",
    "preset",
    metavar="PRESET",
    shell_complete=completion.presets,
    help="The agent to write into fanin.yml (default: one that is installed).",
)
@click.option(
    "--agent-command",
    metavar="'CMD ARG…'",
    help="A program of your own as the agent.",
)
@click.option("--plan", "plan_path", metavar="PATH", help="The plan, if several exist.")
@click.option(
    "--github", is_flag=True, help="Write a workflow for GitHub Actions as well."
)
@click.option("--yes", "-y", is_flag=True, help="Ask nothing.")
@click.option("--dry-run", is_flag=True, help="Print what would be written.")
@click.pass_obj
def init(
    repo_path: str,
    preset: str | None,
    agent_command: str | None,
    plan_path: str | None,
    github: bool,
    yes: bool,
    dry_run: bool,
) -> int:
    """Write a fanin.yml that fits this repository.

    Looks at the plans, agents, lock files and test commands that are there, and runs
    none of them. The plan is written only if there is none. Existing files are kept.
    """
    from runner.cli import scaffold
    from runner.discovery.files import DiskFiles
    from runner.discovery.proposal import propose

    if preset is not None and agent_command is not None:
        raise UsageProblem(
            "--agent and --agent-command exclude each other", "give one of the two"
        )
    repo = open_repository(repo_path)
    files = DiskFiles.of(repo.root, repo.unignored_files())
    may_ask = not yes and sys.stdin.isatty() and sys.stdout.isatty()
    command = _checked_command(agent_command, files.paths)
    there = _settings_there(repo)
    if there is not None and there.agent and preset is None and not command:
        preset, command = there.agent.preset, there.agent.command or ()
    if plan_path is None and there is not None:
        plan_path = _readable_plan(repo, there.plan.path)
    plan = _choose_plan(repo, sorted(files.paths), plan_path, may_ask=may_ask)
    agent = None if command else _choose_agent(preset, may_ask=may_ask)
    proposal = propose(files, plan, agent, command)
    _print_proposal(proposal)
    new_files = {scaffold.SETTINGS_PATH: scaffold.settings_text(proposal)}
    if plan is None:
        new_files[scaffold.PLAN_PATH] = scaffold.plan_text()
    if github:
        new_files[scaffold.WORKFLOW_PATH] = scaffold.workflow_text(proposal)
    if dry_run:
        for path, text in new_files.items():
            if os.path.lexists(repo.root / path):
                click.echo(f"{path} already exists and would not be changed")
            else:
                click.echo("\n".join(scaffold.diff(path, text)))
        return EXIT_DONE
    _write(repo, new_files, proposal)
    return EXIT_DONE


# -- choose --


def _settings_there(repo: Repository) -> Settings | None:
    """The settings of a fanin.yml that exists; None if it cannot be read."""
    from runner.config.settings import load, read_settings_file

    with suppress(InvalidInput):
        text = read_settings_file(repo.root)
        return None if text is None else load({}, {}, text)
    return None


def _readable_plan(repo: Repository, path: str) -> str | None:
    from runner.plan.finder import read_plan
    from runner.plan.trees import WorkTree

    return path if read_plan(path, WorkTree(repo.root, repo)) else None


def _choose_plan(
    repo: Repository, paths: list[str], given: str | None, *, may_ask: bool
) -> FoundPlan | None:
    """The plan to use; None if there is none, so that a first one is written."""
    from runner.plan.finder import find_plans, read_plan
    from runner.plan.trees import WorkTree

    tree = WorkTree(repo.root, repo)
    if given is not None:
        plan = read_plan(given, tree)
        if plan is None:
            raise UsageProblem(
                f"there is no plan {given} that fanin can read",
                "docs/plans.md lists the formats; without --plan, a first one is written",
            )
        return plan
    found = find_plans(paths, tree)
    if len(found) < 2:
        return found[0] if found else None
    rows = [f"{plan.path}   {plan.describe()}" for plan in found]
    chosen = _ask("There are several plans:", rows) if may_ask else 0
    if not may_ask:
        _print_rows("several plans; --plan PATH chooses another:", rows)
    return found[chosen]


def _choose_agent(preset: str | None, *, may_ask: bool) -> FoundAgent | None:
    import shutil

    from runner import agents
    from runner.core.task import AgentSettings
    from runner.discovery.proposal import describe_agent, find_agents

    presets = agents.presets()
    if preset is not None:
        # An unknown name is refused with the nearest one.
        agents.agent_for(AgentSettings(preset=preset))
        return describe_agent(preset, presets[preset], os.environ, shutil.which)
    found = find_agents(presets, os.environ, shutil.which)
    if len(found) < 2:
        return found[0] if found else None
    if not may_ask or found[1].key is None:
        return found[0]
    return found[
        _ask("Which agent?", [f"{each.name}   {each.describe()}" for each in found])
    ]


def _checked_command(command: str | None, paths: frozenset[str]) -> tuple[str, ...]:
    """The command line as a list. UsageProblem if its program does not exist."""
    import shutil

    if command is None:
        return ()
    argv = tuple(shlex.split(command))
    if not argv:
        raise UsageProblem("--agent-command is empty", "give a command line")
    program = argv[0]
    if program.removeprefix("./") not in paths and shutil.which(program) is None:
        raise UsageProblem(
            f"there is no program {program!r} on PATH or in the repository",
            "install it, or give another  --agent-command",
        )
    return argv


def _ask(question: str, rows: list[str]) -> int:
    """The index of the row that a person chooses; the first is the default."""
    _print_rows(question, rows)
    number: int = click.prompt(
        "number", type=click.IntRange(1, len(rows)), default=1, show_choices=False
    )
    return number - 1


# -- print and write --


def _print_rows(heading: str, rows: list[str]) -> None:
    from runner.core.documents import clean

    click.echo(heading)
    for number, row in enumerate(rows, 1):
        click.echo(f"  {number}. {clean(row)}")


def _print_proposal(proposal: Proposal) -> None:
    from runner.core.message_text import visible

    rows: dict[str, tuple[str, str]] = {}
    if proposal.plan is not None:
        rows["plan"] = (proposal.plan.path, proposal.plan.describe())
    if proposal.agent is not None:
        rows["agent"] = (proposal.agent.name, proposal.agent.describe())
    elif not proposal.command:
        rows["agent"] = ("none", "no agent was found on PATH; see  fanin agents")
    for name, found in (("setup", proposal.setup), ("verify", proposal.verify)):
        if found is not None and found.is_sure:
            rows[name] = (found.command, found.reason)
    for name, (value, reason) in rows.items():
        click.echo(visible(f"{name:8}{value}   ({' '.join(reason.split())})"))


def _write(repo: Repository, new_files: Mapping[str, str], proposal: Proposal) -> None:
    from runner.core import typed_paths

    _refuse_links(repo.root, new_files)
    written = []
    for path, text in new_files.items():
        file = repo.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            # "x": never a file that exists, nor what a link points to
            with file.open("x", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            click.echo(f"{path} already exists and was not changed")
            continue
        click.echo(f"wrote {path}")
        written.append(path)
    if not written:
        return
    add = typed_paths.git_add(repo.root, written)
    click.echo(f"next:  {add} && {typed_paths.git_commit(repo.root, 'Set up fanin')}")
    if proposal.agent is None and not proposal.command:
        click.echo("       name an agent in fanin.yml")
    click.echo("       fanin check    # what fanin reads, and what is wrong")
    click.echo("       fanin run")


def _refuse_links(root: Path, paths: Iterable[str]) -> None:
    """UsageProblem if a folder of one of the paths is a symbolic link."""
    from pathlib import PurePosixPath

    for path in paths:
        for folder in reversed(PurePosixPath(path).parents):
            if folder.name and (root / folder).is_symlink():
                raise UsageProblem(
                    f"{folder} is a symbolic link, and nothing is written through it",
                    "replace it by a folder",
                )


COMMANDS = (init,)
