"""The help: sections, complete first lines, the version."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

import runner
from runner import cli
from tests.support.command import commands

# A terminal of 80 columns, less the margin that click leaves.
WIDTH = 78


def _help() -> str:
    result = CliRunner().invoke(cli.fanin, ["--help"], terminal_width=WIDTH)
    assert result.exit_code == 0
    return result.output


def _commands() -> list[click.Command]:
    return [*commands().values()]


def test_every_command_is_listed_once() -> None:
    listed = [name for section in cli.SECTIONS.values() for name in section]
    assert len(set(listed)) == len(listed)
    folder = Path(cli.__file__).parent
    modules = [
        importlib.import_module(f"runner.cli.{path.stem}")
        for path in folder.glob("[!_]*.py")
    ]
    own = [name for module in modules for name in _names(module)]
    assert sorted(listed) == sorted(own)


def _names(module: ModuleType) -> list[str]:
    return [command.name for command in getattr(module, "COMMANDS", ())]


@pytest.mark.parametrize("name", commands())
def test_a_command_has_the_name_that_it_is_found_by(name: str) -> None:
    assert commands()[name].name == name


def test_a_misspelt_command_is_compared_with_all_commands() -> None:
    told = CliRunner().invoke(cli.fanin, ["grahp"])
    assert told.exit_code == 2
    assert "graph" in told.output


def test_the_help_has_the_sections_in_order_with_the_jobs_last() -> None:
    lines = _help().splitlines()
    headings = [line for line in lines if line.endswith(":") and line[0] != " "]
    assert headings == ["Options:", *(f"{title}:" for title in cli.SECTIONS)]
    assert [*cli.SECTIONS][:3] == ["Run", "Inspect", "Change the progress"]
    names = [*[*cli.SECTIONS.values()][-1]]
    jobs = ["next", "task", "earlier-results", "verify", "merge", "continue", "comment"]
    assert names == jobs


@pytest.mark.parametrize("command", _commands(), ids=lambda command: command.name)
def test_the_first_line_of_a_command_is_complete(command: click.Command) -> None:
    sentence = command.get_short_help_str(limit=sys.maxsize)
    assert sentence
    assert not sentence.endswith(("…", "..."))
    assert [line for line in _help().splitlines() if line.endswith(f"  {sentence}")]


@pytest.mark.parametrize("command", _commands(), ids=lambda command: command.name)
def test_every_option_of_the_people_s_commands_has_a_help_text(
    command: click.Command,
) -> None:
    if command.name in cli.SECTIONS["Jobs of GitHub Actions"]:
        return
    if command.name in cli.SECTIONS["GitHub issues"]:
        return
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["run", "--help"]])
def test_python_m_runner_is_fanin(argv: list[str]) -> None:
    script = "import runner.cli; runner.cli.main()"
    outputs = []
    for start in (["-m", "runner"], ["-c", script]):
        done = subprocess.run(
            [sys.executable, *start, *argv],
            cwd=Path(runner.__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert "fanin" in outputs[0].splitlines()[0]


def test_the_version_is_the_packages() -> None:
    result = CliRunner().invoke(cli.fanin, ["--version"])
    assert result.output == f"fanin, version {runner.__version__}\n"
