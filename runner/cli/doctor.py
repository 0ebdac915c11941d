"""The command `doctor`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from runner.cli.context import branch_commit, branch_snapshot, open_project
from runner.cli.options import settings_options
from runner.core.errors import EXIT_DONE, UsageProblem

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

    _show(checks.git_check(first_line(["git", "--version"], os.environ) or "not found"))
    repo, settings = open_project(repo_path, flags)
    branch, commit = branch_commit(repo, settings)
    snapshot = branch_snapshot(repo, settings)
    found = checks.project_checks(repo, settings, snapshot, branch, os.environ)
    ok = checks.all_ok(found, _show)
    if not no_run:
        started = checks.command_checks(repo, settings, commit, os.environ)
        ok = checks.all_ok(started, _show) and ok
    return EXIT_DONE if ok else UsageProblem.exit_code


def _show(check: Check) -> None:
    from runner.core.documents import clean

    mark = "✔" if check.ok else "✘"
    click.echo(f"{mark} {check.name:9}{clean(check.what)}")
    if check.fix:
        click.echo(f"    {clean(check.fix)}")
    for line in check.log:
        click.echo(f"    | {clean(line)}")


COMMANDS = (doctor,)
