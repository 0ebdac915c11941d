"""Options that several commands share: the settings as flags, paths."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path


class PathOption(click.Path):
    """A path as pathlib's, which is imported when there is one: `fanin --help` has
    none.
    """

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        from pathlib import Path

        return Path(os.fsdecode(super().convert(value, param, ctx)))


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The settings as flags; every name equals the setting's."""
    options = [
        click.option(
            "--plan",
            metavar="PATH",
            help="The plan's file or folder, relative to the repository.",
        ),
        click.option(
            "--source", metavar="NAME", help="The plan's format; detected otherwise."
        ),
        click.option(
            "--ignore-dangling",
            is_flag=True,
            default=None,
            help="Drop dependencies on unknown tasks.",
        ),
        click.option(
            "--parallel/--sequential",
            default=None,
            help="Run the ready tasks side by side.",
        ),
        click.option(
            "--max-concurrent",
            type=int,
            metavar="N",
            help="Agents at once, and the batch limit.",
        ),
        click.option(
            "--commit-strategy",
            metavar="batch|individual",
            help="One commit per batch, or per task.",
        ),
        click.option(
            "--max-attempts", type=int, metavar="N", help="Attempts per task."
        ),
        click.option("--timeout", metavar="30m", help="Time limit per attempt."),
        click.option(
            "--verify",
            metavar="COMMAND",
            help="Checks the merged tree before it lands.",
        ),
        click.option("--agent", metavar="PRESET", help="The agent, by name."),
        click.option(
            "--agent-command",
            metavar="'CMD ARG…'",
            help="The agent, as a command line.",
        ),
        click.option(
            "--env",
            multiple=True,
            metavar="NAME=VALUE",
            callback=lambda _context, _option, pairs: "\n".join(pairs) or None,
            help="A plain variable of agent and verify; may be repeated.",
        ),
        click.option(
            "--max-cost-usd",
            type=float,
            metavar="USD",
            help="Start no batch beyond this.",
        ),
        click.option("--max-rounds", type=int, metavar="N", help="Batches per run."),
        click.option(
            "--branch",
            metavar="NAME",
            help="Where work lands; made from HEAD if it does not exist.",
        ),
        click.option("--progress", metavar="PATH", help="Where progress is kept."),
    ]
    for option in reversed(options):
        command = option(command)
    return command
