"""A count and its noun agree."""

from __future__ import annotations

import pytest

from runner.core.plurals import pluralize, some_of


@pytest.mark.parametrize(
    ("number", "nouns", "text"),
    [
        (0, ("task",), "0 tasks"),
        (1, ("task",), "1 task"),
        (2, ("task",), "2 tasks"),
        (1, ("dependency", "dependencies"), "1 dependency"),
        (1204, ("dependency", "dependencies"), "1204 dependencies"),
    ],
)
def test_only_one_takes_the_singular(
    number: int, nouns: tuple[str, ...], text: str
) -> None:
    assert pluralize(number, *nouns) == text


def test_names_that_are_not_shown_are_counted() -> None:
    assert some_of(["T1", "T2"], 2) == "T1, T2"
    assert some_of(["T1", "T2"], 5) == "T1, T2 and 3 more"
