"""Bisection sends back exactly the culprits, in few checks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from runner.fan_in.culprits import CulpritSearch, culprits
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


def test_a_verdict_is_useful_below_a_red_set_and_above_a_green_one() -> None:
    search = CulpritSearch("ABCD")
    search.record("ABC", is_green=False)
    search.record("A", is_green=True)
    useful = [items for items in ("A", "AB", "ABC", "ABCD") if search.is_useful(items)]
    assert useful == ["AB"]


def test_sets_whose_verdict_another_one_has_made_useless_decide_nothing() -> None:
    def are_green(subsets: Sequence[Sequence[int]]) -> list[bool | None]:
        verdicts: list[bool | None] = [2 not in subset for subset in subsets]
        # only the shortest red one has ended
        for position in range(len(verdicts)):
            if False in verdicts[:position]:
                verdicts[position] = None
        return verdicts

    assert culprits(range(8), are_green, at_once=3) == [2]
