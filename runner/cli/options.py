"""Options that several commands share: the flags of the settings, and paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from runner.cli import completion
from runner.config import settings_table
from runner.config.settings_table import Setting

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


Command = Callable[..., Any]

_TYPES = {"integer": int, "number": float}


def task_choice_options(until_help: str) -> Callable[[Command], Command]:
    """A decorator that adds IDs and --until ID: which tasks a command is about."""

    def add_options(command: Command) -> Command:
        until = click.option(
            "--until",
            multiple=True,
            metavar="ID",
            shell_complete=completion.task_ids,
            help=until_help,
        )
        ids = click.argument(
            "task_ids", nargs=-1, metavar="[ID…]", shell_complete=completion.task_ids
        )
        return ids(until(command))

    return add_options


jobs_option = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Short for --parallel --max-concurrent N.",
)


def settings_options(command_name: str) -> Callable[[Command], Command]:
    """A decorator that adds the flags of the settings that this command uses."""

    def add_options(command: Command) -> Command:
        # The decorator applied last comes first in the help.
        for setting in reversed(settings_table.SETTINGS):
            if command_name in setting.commands:
                command = _option(setting)(command)
        return command

    return add_options


def _option(setting: Setting) -> Callable[[Command], Command]:
    if setting.kind == "boolean":
        flag = setting.flag
        if setting.negative_flag:
            flag = f"{flag}/{setting.negative_flag}"
        help_text = f"{setting.description}."
        return click.option(flag, is_flag=True, default=None, help=help_text)
    if setting.kind in {"lines", "pairs"}:
        return click.option(
            setting.flag,
            multiple=True,
            callback=_joined,
            metavar=setting.metavar,
            help=f"{setting.description}; may be repeated.",
        )
    return click.option(
        setting.flag,
        type=_TYPES.get(setting.kind, str),
        shell_complete=completion.of_setting(setting),
        metavar=setting.metavar,
        help=f"{setting.description}.",
    )


def _joined(
    _context: click.Context, _option: click.Parameter, values: Sequence[str]
) -> str | None:
    """The values of a flag that may be repeated, one a line as a variable has them."""
    return "\n".join(values) or None


from_artifacts = click.option(
    "--from",
    "artifacts",
    type=PathOption(exists=True, file_okay=False),
    metavar="DIR",
    help="Read the artifacts of a run on GitHub that were downloaded to DIR.",
)
