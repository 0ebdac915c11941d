"""Text of any origin stays text on GitHub's pages: no markup, mention, link or image."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from runner.core.documents import clean
from runner.core.message_text import one_line
from runner.ui import markdown
from tests.support.builders import quick

# What GitHub's page would act on in the text of the rendered page.
ACTIVE = re.compile(
    r"@\w|#\d|\bgh-\d|://|\bwww\.\w|\bmailto:\w|:\w[\w+-]*:", re.IGNORECASE
)
HOSTILE = [
    "a | b",
    "<script>alert(1)</script>",
    "<img src=x onerror=y>",
    "**bold** _it_ ~~gone~~",
    "[x](http://evil.example)",
    "![x](https://evil.example/x.png)",
    "[x]: https://evil.example",
    "<https://evil.example>",
    "www.evil.example and WWW.evil.example",
    "@everyone and a.person@evil.example",
    "see #12, owner/repository#12, GH-12",
    ":shipit: and :+1: and :white_check_mark:",
    "two\nlines",
    "`code`",
    "# heading",
    "- item",
    "1. item",
    "---",
    "===",
    "$x^2$ and $$y$$",
    "&commat;everyone &#64;everyone",
    "\\@everyone",
    "<!-- hidden -->",
    "</details></summary>",
]


def page(text: str) -> tuple[set[str], str]:
    """The tags and the text of the rendered page."""
    rendered = MarkdownIt("commonmark").enable("table").render(text)
    tags = set(re.findall(r"<\s*([a-z]\w*)", rendered))
    return tags, html.unescape(re.sub(r"<[^>]*>", "", rendered)).strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_shows_the_text_and_nothing_acts_on_it(text: str) -> None:
    line = markdown.cell(text)
    tags, shown = page(f"before {line}")
    assert "\n" not in line
    assert tags == {"p"}
    assert not ACTIVE.search(shown)
    assert shown.replace("\u200b", "") == f"before {one_line(text)}"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_is_a_plain_paragraph_at_the_start_of_a_line(text: str) -> None:
    tags, shown = page(markdown.cell(text))
    assert tags == {"p"}
    assert shown.replace("\u200b", "") == one_line(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_stays_one_cell_of_a_table(text: str) -> None:
    rendered = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(f"| a | b |\n|---|---|\n| {markdown.cell(text)} | end |")
    )
    assert rendered.count("<td>") == 2
    assert "<td>end</td>" in rendered


@pytest.mark.parametrize("text", HOSTILE)
def test_text_inside_a_tag_has_no_tag_and_nothing_acts_on_it(text: str) -> None:
    line = markdown.html(text)
    assert "<" not in line
    assert "\n" not in line
    assert not ACTIVE.search(html.unescape(line))


@given(
    st.text(
        alphabet=st.sampled_from("ab1@#:/.w$<>&|`*_[]()!~\\-+= \n\u200b"), max_size=30
    )
)
@quick
def test_a_cell_of_any_signs_is_plain_text(text: str) -> None:
    tags, shown = page(f"x {markdown.cell(text)}")
    assert tags == {"p"}
    assert not ACTIVE.search(shown)


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31mred\x1b[0m",
        clean("\x1b[31mred\x1b[0m"),
        "r\u200bed",
        "\ufeffred",
        "re\U000e0041d",
    ],
)
def test_colours_of_a_terminal_and_invisible_characters_are_left_out(text: str) -> None:
    assert markdown.cell(text) == "red"
    assert markdown.block(text) == "```text\nred\n```"


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\u202e", "\u2066", "\x9b"])
def test_a_control_character_is_replaced(character: str) -> None:
    for shown in (markdown.cell, markdown.block, markdown.code, markdown.html):
        assert character not in shown(f"a{character}b")


@pytest.mark.parametrize("text", ["plain", "```\n## a heading\n```", "````` five"])
def test_no_log_can_end_its_code_block(text: str) -> None:
    block = markdown.block(text)
    fence = block.split("text\n")[0]
    assert block.endswith(f"\n{fence}")
    assert fence not in text


def test_a_paragraph_keeps_lines_and_is_shortened() -> None:
    assert markdown.paragraph("one\n\n*two*", 100) == r"one<br>\*two\*"
    assert markdown.paragraph("a" * 50, 10) == "a" * 9 + "…"
