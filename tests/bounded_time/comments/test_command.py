"""No comment takes long to read, whoever wrote it."""

from __future__ import annotations

import pytest

from runner.comments.command import command_lines

LINE = "/fanin approve T1\n"
SIZE = 65_000  # characters, about what GitHub takes


@pytest.mark.parametrize(
    "body",
    [
        LINE * (SIZE // len(LINE)),
        "**" + LINE * (SIZE // len(LINE)),
        LINE + "x" * SIZE,
        LINE * 100 + "`" * 30_000 + "a" + "`" * 29_999,
        LINE + "<a " * 20_000,
        "> " * 30_000 + LINE,
        LINE * 50 + "[" * 20_000,
        LINE + "*a_" * 8_000,
    ],
    ids=[
        "lines",
        "in bold",
        "letters",
        "backticks",
        "tags",
        "quotes",
        "brackets",
        "marks",
    ],
)
def test_no_comment_takes_long(body: str) -> None:
    assert len(command_lines(body)) <= body.count(LINE)
