"""The command `report`: one HTML file about a run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from runner.cli.context import open_tasks
from runner.cli.job_errors import reports_errors
from runner.cli.options import PathOption, settings_options
from runner.cli.status import read_tasks
from runner.core.errors import EXIT_DONE, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from runner.config.settings import FlagValue
    from runner.report.data import RunRecord
    from runner.report.local_run import Branch

_DEFAULT = "fanin-report.html"


@click.command()
@click.argument(
    "artifacts",
    nargs=-1,
    envvar="FANIN_RESULTS",
    type=PathOption(exists=True, file_okay=False),
    metavar="[DIR…]",
)
@click.option(
    "-o",
    "--output",
    type=PathOption(dir_okay=False, allow_dash=True),
    default=_DEFAULT,
    show_default=True,
    metavar="FILE",
    help="The file to write; - is standard output.",
)
@click.option("--run", metavar="RUN", help="The run (default: the newest).")
@settings_options("report")
@click.pass_obj
@reports_errors
def report(
    repo_path: str,
    /,
    artifacts: tuple[Path, ...],
    output: Path,
    run: str | None,
    **flags: FlagValue | None,
) -> int:
    """Write a report of a run as one HTML file.

    Of the newest run on this machine, or of one on GitHub whose artifacts were downloaded
    to DIR. The file has all that it shows: it loads nothing and can be sent as it is.
    """
    from datetime import UTC, datetime

    from runner.report import data
    from runner.report.page import page

    if artifacts and run:
        raise UsageProblem(
            "--run names a run on this machine, and DIR has one on GitHub",
            "leave one of them out",
        )
    now = datetime.now(UTC)
    if artifacts:
        record = _of_artifacts(repo_path, artifacts, flags, now)
    else:
        from runner.report.local_run import run_record

        record = run_record(_branch(repo_path, flags), run, os.environ, now)
    _write(output, page(data.report(record)).encode())
    return EXIT_DONE


def _branch(repo_path: str, flags: Mapping[str, FlagValue | None]) -> Branch:
    from runner.report.local_run import Branch

    repo, settings = open_tasks(repo_path, flags)
    tasks = read_tasks(repo, settings)
    return Branch(repo, settings, tasks.snapshot, tasks.views)


def _of_artifacts(
    repo_path: str,
    roots: Sequence[Path],
    flags: Mapping[str, FlagValue | None],
    now: datetime,
) -> RunRecord:
    """Without a repository, or a plan in it, the artifacts have to do."""
    from runner.report.artifacts import run_record

    try:
        branch: Branch | None = _branch(repo_path, flags)
    except UsageProblem:
        branch = None
    return run_record(roots, branch, os.environ, now)


def _write(output: Path, text: bytes) -> None:
    from runner.core import durable

    if str(output) == "-":
        sys.stdout.buffer.write(text)
        return
    durable.write(output, text, synced=False)
    click.echo(f"wrote {output} ({len(text) / 1_000_000:.1f} MB)")


COMMANDS = (report,)
