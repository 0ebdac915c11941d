"""Inputs that an attacker would choose for issues.rendered text take bounded time."""

from __future__ import annotations

import time

import pytest

from runner.issues.rendered_text import rendered_text


@pytest.mark.parametrize(
    "text",
    [
        "<!--\n" + "```\n" * 16_000,
        "[" * 65_536,
        "> " * 32_768,
        "<a " * 21_845,
        "![" * 32_768,
        "*" * 65_536,
        "<!-- " * 13_107,
        "[^a]: b\n" * 8_192,
        "[x]: y\n" * 9_362,
        "`" * 65_536,
        '<a "' * 16_384,
    ],
    ids=range(11),
)
def test_a_text_of_the_longest_issue_takes_bounded_time(text: str) -> None:
    started = time.process_time()
    rendered_text(text)
    assert time.process_time() - started < 20
