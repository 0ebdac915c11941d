"""Headings, as all Markdown formats read them."""

from __future__ import annotations

import time

import pytest

from runner.plan.formats.markdown import heading_text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("# Title", "Title"),
        ("####\t task progress ## ", "task progress"),
        ("## C# and F# now ##", "C# and F# now"),
        ("# #5 first", "#5 first"),
        ("###### deepest", "deepest"),
        ("## ", ""),
        ("# ##", ""),
        ("#", None),
        ("#tag", None),
        ("####### too deep", None),
        (" # indented", None),
        ("#\u00a0no blank", None),
        ("text", None),
        ("", None),
    ],
)
def test_the_text_of_a_heading_has_no_closing_hashes(
    line: str, text: str | None
) -> None:
    assert heading_text(line) == text


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
    started = time.monotonic()
    heading_text(line)
    assert time.monotonic() - started < 1
