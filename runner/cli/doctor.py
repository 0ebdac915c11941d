"""The command `doctor`."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import click

from runner.cli.context import (
    branch_commit,
    branch_snapshot,
    flaky_sentences,
    open_project,
)
from runner.cli.options import settings_options
from runner.core.errors import (
    EXIT_DONE,
    EnvironmentBroken,
    InvalidInput,
    UsageProblem,
)

if TYPE_CHECKING:
    from runner.config.settings import FlagValue
    from runner.local.doctor import Check


@click.command()
@click.option("--no-run", is_flag=True, help="Do not run setup and verify.")
@settings_options("doctor")
@click.pass_obj
def doctor(repo_path: str, /, no_run: bool, **flags: FlagValue | None) -> int:
    """Check that this machine can run the plan.

    Runs setup and verify once on the branch as it is, in a checkout as an agent gets
    it. A line that begins with a cross says how to fix it.
    """
    from runner.agents.process import first_line
    from runner.local import doctor as checks

    version = first_line(["git", "--version"], os.environ) or "not found"
    git = checks.git_check(version)
    _show(git)
    if not git.ok:
        return EnvironmentBroken.exit_code
    try:
        repo, settings = open_project(repo_path, flags)
    except InvalidInput as error:
        return _refused("settings", error)
    except UsageProblem as error:
        return _refused("folder", error)
    try:
        branch, commit = branch_commit(repo, settings)
    except UsageProblem as error:
        return _refused("branch", error)
    read_plan = partial(branch_snapshot, repo, settings)
    found = checks.project_checks(repo, settings, read_plan, branch, os.environ)
    ok = checks.all_ok(found, _show)
    if not no_run:
        started = checks.command_checks(repo, settings, commit, os.environ)
        ok = checks.all_ok(started, _show) and ok
    for sentence in flaky_sentences(repo):
        click.echo(f"! {sentence}")
    return EXIT_DONE if ok else UsageProblem.exit_code


def _refused(name: str, error: UsageProblem) -> int:
    """Show an error without which nothing else can be checked."""
    from runner.local.doctor import all_ok, faults

    all_ok(faults(name, error), _show)
    return error.exit_code


def _show(check: Check) -> None:
    from runner.core.documents import clean

    mark = "✔" if check.ok else "✘"
    first, *others = clean(check.what).splitlines()
    click.echo(f"{mark} {check.name:9}{first}")
    for line in [*others, *clean(check.fix).splitlines()]:
        click.echo(f"    {line}")
    for line in check.log:
        click.echo(f"    | {clean(line)}")


COMMANDS = (doctor,)
