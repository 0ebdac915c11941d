"""Bisection sends back exactly the culprits, in few checks."""

from __future__ import annotations

import pytest

from tests.support.culprit_search import culprits_of


@pytest.mark.parametrize(
    ("count", "guilty", "max_checks"),
    [
        (0, set(), 0),
        (1, set(), 1),
        (8, set(), 1),
        (1, {0}, 1),
        (2, {0}, 3),
        (2, {1}, 2),
        (2, {0, 1}, 3),
        (256, {200}, 10),
        (256, {0, 255}, 19),
    ],
)
def test_few_checks_are_enough_to_find_the_culprits(
    count: int, guilty: set[int], max_checks: int
) -> None:
    sent_back, calls = culprits_of(lambda subset: not guilty & set(subset), count)
    assert sent_back == sorted(guilty)
    assert calls <= max_checks
