"""The options that several of the action's jobs have, each also a variable."""

from __future__ import annotations

from typing import TypeVar

import click

from runner.cli.options import PathOption
from runner.core.errors import UsageProblem

T = TypeVar("T")

# How often fanin.yml calls round.yml.
MOST_ROUNDS_PER_RUN = 5

manifest = click.option(
    "--manifest",
    type=PathOption(dir_okay=False),
    envvar="FANIN_MANIFEST",
    default="manifest.json",
    show_default=True,
    help="The batch manifest.",
)
digest = click.option(
    "--manifest-digest",
    envvar="FANIN_MANIFEST_DIGEST",
    default="",
    help="The digest that job next gave; '' checks none.",
)
state = click.option(
    "--state",
    envvar="FANIN_STATE",
    default="",
    help="The state that the previous round handed on.",
)
RESULTS_MEANING = "the folder that the artifacts of the task jobs were downloaded to"
results = click.argument(
    "results",
    type=PathOption(file_okay=False),
    envvar="FANIN_RESULTS",
    # `given` refuses a missing one, in the words of a workflow.
    required=False,
)
runs_on = click.option(
    "--runs-on",
    envvar="FANIN_RUNS_ON",
    default="ubuntu-latest",
    help="A label, or a JSON list of labels.",
)
sealed = click.option(
    "--sealed/--not-sealed",
    envvar="FANIN_SEALED",
    default=False,
    help="Compare results with the names of the steps that uploaded them.",
)
verdict = click.option(
    "--verdict",
    type=PathOption(dir_okay=False),
    envvar="FANIN_VERDICT",
    help="The verdict of job verify.",
)
events = click.option(
    "--events",
    type=PathOption(dir_okay=False),
    envvar="FANIN_EVENTS",
    help="The file that the job's events are written to.",
)
commit_via = click.option(
    "--commit-via",
    envvar="FANIN_COMMIT_VIA",
    type=click.Choice(["git", "api"]),
    default="git",
    help="Push the commits, or create them with the API so that GitHub signs them.",
)


def given(value: T | None, name: str, meaning: str) -> T:
    """The value of an argument or input. Raises UsageProblem if it is missing."""
    if value is None:
        raise UsageProblem(
            f"the argument or input  {name}  is missing", f"it is {meaning}"
        )
    return value
