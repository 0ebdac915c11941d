"""The command line in this process: a test need not wait for Python to start."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import click

from runner.cli import fanin
from runner.core.errors import FaninError
from tests.support import json_output


def commands() -> dict[str, click.Command]:
    """Every command by its name."""
    context = click.Context(fanin)
    named = {
        name: fanin.get_command(context, name) for name in fanin.list_commands(context)
    }
    return {name: command for name, command in named.items() if command is not None}


class Said(NamedTuple):
    """What a command has printed, with its exit code and its error."""

    code: int
    out: str
    err: str


def say(root: Path, *argv: str) -> Said:
    """`fanin` with these arguments in the repository at `root`."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            code = fanin.main(["-C", str(root), *argv], standalone_mode=False)
        except FaninError as error:
            return Said(error.exit_code, out.getvalue(), str(error))
    json_output.validate(argv, out.getvalue())
    return Said(code or 0, out.getvalue(), "")
