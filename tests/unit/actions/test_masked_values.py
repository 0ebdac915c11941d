"""Outputs that GitHub would drop are recognised, whatever the length of the value."""

from __future__ import annotations

import base64

import pytest

from runner.actions.masked_values import MaskedValues

ENVIRON = {
    "KEY": "correct-horse-battery",
    "SHORT": "T7",
    "LINES": "NAME=first-value\n\nOTHER=second",
    "EMPTY": "",
}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a correct-horse-battery b", "KEY"),
        (base64.b64encode(b"correct-horse-battery").decode(), "KEY"),
        ('{"task": "T7"}', "SHORT"),
        ("OTHER=second", "LINES"),
        ("second", None),
        ("", None),
    ],
)
def test_a_text_is_dropped_if_it_contains_a_value_or_one_of_its_lines(
    text: str, name: str | None
) -> None:
    masked = MaskedValues.of(ENVIRON, ["KEY", "SHORT", "LINES", "EMPTY", "MISSING"])
    assert masked.find(text) == name


def test_values_are_not_in_the_repr() -> None:
    assert "correct" not in repr(MaskedValues.of(ENVIRON, ["KEY"]))
