"""Replacing parts of a text whose positions were found before other parts changed."""

from __future__ import annotations

from runner.core import json_document
from runner.plan.formats.markdown import read_page
from runner.plan.formats.marked_text import (
    JsonText,
    MarkedPage,
    MarkedText,
    NewValue,
    Span,
)

A, B, C = Span(0, 1), Span(2, 3), Span(4, 5)


def test_a_span_is_found_after_others_have_grown_and_shrunk() -> None:
    text = MarkedText("a b c")
    text.replace([(B, "longer")])
    text.replace([(C, "see"), (A, "")])
    assert text.text == " longer see"
    text.replace([(B, "b")])
    text.replace([(A, "a"), (B, ""), (C, "c")])
    assert text.text == "a  c"


def test_lines_keep_their_endings() -> None:
    text = "one\r\ntwo\nthree"
    page = MarkedPage(text, read_page("p.md", text, lambda _: False))
    page.replace_lines({0: "first", 2: "3"})
    assert (page.text, page.page.lines) == ("first\r\ntwo\n3", ["first", "two", "3"])


def test_replacing_a_value_keeps_every_other_byte() -> None:
    text = '{ "a" : "x",\r\n\t"b":["x" , "é"] }'
    node = json_document.load("f", text).root.get("a")
    assert node is not None
    json_text = JsonText(text)
    json_text.set_values([NewValue(node, 'y"')])
    assert json_text.text == text.replace('"x",\r', '"y\\"",\r')
    assert node.value == 'y"'
