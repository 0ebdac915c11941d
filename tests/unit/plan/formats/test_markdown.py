"""Headings, as all Markdown formats read them."""

from __future__ import annotations

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
