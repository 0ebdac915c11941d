"""Commands of fanin that are printed can be copied into a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

import runner
from runner.cli import work
from runner.core.fanin_commands import typed


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["T1"], "fanin log T1 -f"),
        (["it's T1", "$T2"], """fanin log 'it'"'"'s T1' '$T2' -f"""),
        (["T1", "-f"], "fanin log -f -- T1 -f"),
        (["--help"], "fanin log -f -- --help"),
    ],
)
def test_ids_are_one_word_each_and_no_options(
    ids: Sequence[str], expected: str
) -> None:
    assert typed("log", ids, "-f") == expected


def test_what_comes_last_follows_the_ids() -> None:
    assert typed("reply", ["T1"], last='"…"') == 'fanin reply T1 "…"'
    assert typed("reply", ["-1"], last='"…"') == 'fanin reply -- -1 "…"'


@pytest.mark.parametrize("task_id", ["T1", "-1", "--from", "a b", "--"])
def test_a_command_takes_what_is_printed_for_it(task_id: str) -> None:
    words = shlex.split(typed("log", [task_id], "--from .", "--raw"))[2:]
    [log] = [command for command in work.COMMANDS if command.name == "log"]
    parsed = click.Context(log)
    log.parse_args(parsed, words)
    assert parsed.params["task_id"] == task_id
    assert (str(parsed.params["artifacts"]), parsed.params["raw"]) == (".", True)


def test_no_module_puts_an_id_into_a_command_itself() -> None:
    root = Path(runner.__file__).parent
    command = re.compile(r"""fanin \w+ [{]|["']fanin["'], ["']\w+["'], \*""")
    texts = {path: path.read_text() for path in root.rglob("*.py")}
    assert [path.name for path, text in texts.items() if command.search(text)] == []
