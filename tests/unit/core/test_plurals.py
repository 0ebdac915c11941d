"""A count and its noun agree."""

from __future__ import annotations

import pytest

from runner.core.plurals import pluralize


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
