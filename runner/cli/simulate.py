"""The command `simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.context import open_project, work_tree_snapshot
from runner.cli.job_options import MOST_ROUNDS_PER_RUN
from runner.cli.options import (
    jobs_option,
    settings_options,
    task_choice_options,
)
from runner.core.errors import EXIT_DONE

if TYPE_CHECKING:
    from runner.config.settings import FlagValue


def _seconds(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> float | None:
    """The seconds of a duration as everywhere in fanin: `90`, `90s`, `5m`, `1h30m`."""
    from runner.core.documents import parse_duration

    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from None


@click.command()
@task_choice_options("This task and all that it depends on; may be repeated.")
@click.option(
    "--all",
    "whole_plan",
    is_flag=True,
    help="The whole plan, as if nothing was completed yet.",
)
@jobs_option
@click.option(
    "--up-to",
    type=click.IntRange(1, 256),
    metavar="N",
    help="The largest number of agents to simulate (default: what suits the plan).",
)
@click.option(
    "--guess",
    callback=_seconds,
    metavar="DURATION",
    help="How long a task takes of which nothing is known (default: the median).",
)
@click.option(
    "--job-start",
    callback=_seconds,
    metavar="DURATION",
    help="How long a job of GitHub Actions takes to start; shows the time there too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for tools.")
@settings_options("simulate")
@click.pass_obj
def simulate(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    until: tuple[str, ...],
    whole_plan: bool,
    jobs: int | None,
    up_to: int | None,
    guess: float | None,
    job_start: float | None,
    as_json: bool,
    **flags: FlagValue | None,
) -> int:
    """Show how long a run would take with 1, 2, … agents.

    Both schedules, by the choices of the run itself, as if every attempt succeeded.
    """
    from runner.core import gc_pause
    from runner.core.documents import clean
    from runner.schedule.forecast import ForecastOptions, forecast
    from runner.schedule.task_choice import NamedTasks

    if jobs is not None:
        flags |= {"parallel": True, "max_concurrent": jobs}
    repo, settings = open_project(repo_path, flags)
    snapshot = work_tree_snapshot(repo, settings)
    named = NamedTasks(task_ids, until)
    if whole_plan and (task_ids or until):
        raise click.UsageError("--all and the names of tasks exclude each other")
    options = ForecastOptions(
        now=settings.slots,
        schedule=settings.schedule,
        max_attempts=settings.max_attempts,
        max_rounds=settings.limits.max_rounds,
        up_to=up_to,
        guess=guess,
        job_start=job_start,
        rounds_per_run=MOST_ROUNDS_PER_RUN,
        verify=settings.verify is not None,
        max_cost_usd=settings.limits.max_cost_usd,
        whole_plan=whole_plan,
        choice=named.choice(snapshot, settings.max_attempts),
    )
    with gc_pause.paused():
        found = forecast(snapshot, options)
    if as_json:
        click.echo(found.model_dump_json(indent=1))
    elif not found.tasks:
        click.echo("no task is left to run; the whole plan:  fanin simulate --all")
        for note in found.notes:
            click.echo(f"note: {clean(note)}")
    else:
        from runner.ui.forecast_text import forecast_text

        click.echo(forecast_text(found))
    return EXIT_DONE


COMMANDS = (simulate,)
