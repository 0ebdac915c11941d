"""Inputs that an attacker would choose for plan.formats.github issues take bounded time."""

from __future__ import annotations

import time

import pytest

from runner.plan.formats.github_issues import files_of


@pytest.mark.parametrize(
    "line",
    [
        " " * 65_000 + "a b",
        "`" * 65_000,
        "a" * 65_000 + " b",
        "- " + " " * 65_000 + "a b",
    ],
)
def test_the_longest_line_takes_bounded_time(line: str) -> None:
    started = time.process_time()
    files_of(f"# Files\n{line}")
    assert time.process_time() - started < 5
