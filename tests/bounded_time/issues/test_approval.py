"""Inputs that an attacker would choose for issues.approval take bounded time."""

from __future__ import annotations

import time

import pytest

from runner.issues import approval


@pytest.mark.parametrize(
    "text",
    [
        "*" * 65_536,
        "Blocked by " + "a" * 65_525,
        " " * 65_536,
        "a/" * 32_768,
        "1" * 65_536,
    ],
)
def test_dependencies_of_the_longest_text_take_bounded_time(text: str) -> None:
    started = time.process_time()
    assert approval.dependencies_in_text(text, "o/r") == []
    assert time.process_time() - started < 5
