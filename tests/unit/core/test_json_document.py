"""JSON documents: values as `json` reads them, numbers as written, problems with lines."""

from __future__ import annotations

import pytest

from runner.core import json_document
from tests.support.builders import problems


def test_numbers_stay_as_they_are_written() -> None:
    root = json_document.load("x", '{"id": 30.10, "n": -1e5}').root
    assert (root.text("id"), root.text("n")) == ("30.10", "-1e5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x:1: not valid JSON: a value is missing here"),
        ("\n\n", "x:3: not valid JSON: a value is missing here"),
        ('{"a": 1,\n}', "x:2: not valid JSON: a key in double quotes is missing here"),
        ('[1,\n\n2', "x:3: not valid JSON: a comma or a closing bracket is missing here"),
        ('[1,\n]', "x:2: not valid JSON: a value is missing here"),
        ('{"a"\n1}', "x:2: not valid JSON: a colon is missing here"),
        ('{"a": 1,\n "a": 2}', "x:2: duplicate key 'a'; keep one of the two"),
        ('["a\n"]', "x:1: not valid JSON: invalid control character at"),
        ('["a', "x:1: not valid JSON: unterminated string starting at"),
        ("[NaN]", "x:1: not valid JSON: this is not a JSON value"),
        ("[1]\n[2]", "x:2: not valid JSON: something follows the end of the document"),
        ("[" * 1_000_000, "x:1: nested more than 100 levels deep"),
        ('{"a":' * 1_000_000, "x:1: nested more than 100 levels deep"),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_a_problem_names_its_line(text: str, message: str) -> None:
    (problem,) = problems(lambda: json_document.load("x", text))
    assert problem.startswith(message)


def test_half_a_surrogate_pair_becomes_a_character_that_can_be_stored() -> None:
    assert (
        json_document.load("x", '["\\ud800", "\\ud83d\\ude00"]').root.items is not None
    )
    replaced, paired = (
        item.value
        for item in json_document.load("x", '["\\ud800", "\\ud83d\\ude00"]').root.items
        or []
    )
    assert (replaced, paired) == ("\ufffd", "\U0001f600")
