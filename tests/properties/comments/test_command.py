"""Properties of comments.command, over generated inputs."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.comments.command import Command, command_lines, find_command
from runner.core.errors import UsageProblem
from runner.ui import markdown
from tests.support.builders import quick

COMMAND = "/fanin approve T1"
_pieces = st.sampled_from(
    [
        COMMAND,
        "words",
        "",
        "```",
        "~~~",
        "> a",
        "- a",
        "    a",
        "`",
        "<!--",
        "-->",
        "<a>",
    ]
)
_texts = st.lists(_pieces, max_size=8).map("\n".join)
_words = st.text("abcXYZ-_./:0123456789", min_size=1, max_size=12).filter(
    lambda word: not word.startswith("--")
)
_said = st.text("abc 'éß.,;$&|()!?", min_size=1, max_size=40).map(str.strip)


@quick
@given(_texts)
def test_nothing_in_a_quote_or_a_code_block_is_a_command(text: str) -> None:
    quoted = "\n".join(f"> {line}" for line in text.split("\n"))
    assert command_lines(quoted) == []
    assert command_lines(markdown.block(text)) == []


@quick
@given(_texts)
def test_a_command_after_quoted_words_counts_and_is_the_only_one(text: str) -> None:
    quoted = "\n".join(f"> {line}" for line in text.split("\n"))
    assert command_lines(f"{quoted}\n\n{COMMAND}") == [COMMAND]


@quick
@given(st.lists(_words, min_size=1, max_size=4), _said.filter(bool))
def test_what_is_written_is_what_is_read(ids: list[str], text: str) -> None:
    assert find_command(f'/fanin retry {" ".join(ids)} "{text}"') == Command(
        "retry", tuple(ids), text=text
    )


@quick
@given(st.text(max_size=60), _texts)
def test_any_comment_is_a_command_or_none_or_said_to_be_wrong(
    line: str, text: str
) -> None:
    command = None
    with contextlib.suppress(UsageProblem):
        command = find_command(f"{text}\n/fanin {line}\n{text}")
    assert command is None or command.ids


def test_the_pieces_make_commands_too() -> None:
    """The properties would hold if nothing was ever one."""
    assert command_lines(f"words\n{COMMAND}") == [COMMAND]
    with pytest.raises(UsageProblem):
        find_command("/fanin")
