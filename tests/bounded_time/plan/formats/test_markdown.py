"""Inputs that an attacker would choose for plan.formats.markdown take bounded time."""

from __future__ import annotations

import time

import pytest

from runner.plan.formats.markdown import heading_text


@pytest.mark.parametrize(
    "line",
    [
        "#" * 100_000,
        "# " + " #" * 50_000 + "a",
        "# a" + " " * 100_000 + "b",
        "# " + "a " * 50_000,
    ],
)
def test_the_longest_heading_takes_bounded_time(line: str) -> None:
    started = time.process_time()
    heading_text(line)
    assert time.process_time() - started < 1
