"""The command `run`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from runner.cli.context import open_project, task_views, waiting_message
from runner.cli.options import settings_options
from runner.core.errors import EXIT_TASKS_FAILED

if TYPE_CHECKING:
    from runner.config.settings import FlagValue


@click.command()
@settings_options("run")
@click.pass_obj
def run(repo_path: str, /, **flags: FlagValue | None) -> int:
    """Run every ready task, batch by batch, until none is left."""
    from runner.cli.report import print_end
    from runner.local.run import LocalRun
    from runner.ui.terminal import RunConsole, TerminalView

    repo, settings = open_project(repo_path, flags)
    console = RunConsole()
    with TerminalView(console) as view:
        ended = LocalRun(repo, settings, os.environ, view)()
    exit_code = print_end(console, task_views(ended.snapshot, settings))
    if ended.usage.attempts:
        console.print(ended.usage.describe(), markup=False)
    warnings = []
    if ended.waiting_branch:
        warnings.append(waiting_message(ended.waiting_branch))
    if ended.stop_reason:
        warnings.append(f"stopped: {ended.stop_reason}")
    for warning in warnings:
        console.print(warning, style="yellow", markup=False, soft_wrap=True)
        exit_code = EXIT_TASKS_FAILED
    return exit_code


COMMANDS = (run,)
