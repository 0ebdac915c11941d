"""Bisection: exactly the culprits are sent back, in few checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.fan_in.culprits import culprits
from tests.support.builders import quick


def _asked(
    is_green: Callable[[Sequence[int]], bool], count: int
) -> tuple[list[int], int]:
    """The culprits among 0 … count − 1 and how often was asked; every question is an
    ordered, non-empty subset.
    """
    calls = 0

    def counted(some: Sequence[int]) -> bool:
        nonlocal calls
        calls += 1
        assert some
        assert list(some) == sorted(set(some))
        return is_green(some)

    return culprits(range(count), counted), calls


@pytest.mark.parametrize(
    ("count", "guilty", "most"),
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
def test_the_culprits_are_found_in_few_checks(
    count: int, guilty: set[int], most: int
) -> None:
    found, calls = _asked(lambda some: not guilty & set(some), count)
    assert found == sorted(guilty)
    assert calls <= most


@quick
@given(st.data(), st.integers(1, 80))
def test_exactly_the_culprits_are_sent_back_in_k_log_n_checks(
    data: st.DataObject, count: int
) -> None:
    guilty = data.draw(st.sets(st.integers(0, count - 1), max_size=min(count, 6)))
    found, calls = _asked(lambda some: not guilty & set(some), count)
    assert found == sorted(guilty)
    assert calls <= len(guilty) * (1 + math.ceil(math.log2(count))) + 1


@quick
@given(st.data(), st.integers(1, 20))
def test_where_only_some_together_are_red_the_last_of_each_is_sent_back_and_the_rest_is_green(
    data: st.DataObject, count: int
) -> None:
    together = data.draw(
        st.lists(
            st.frozensets(st.integers(0, count - 1), min_size=1, max_size=3), max_size=4
        )
    )

    def is_green(some: Sequence[int]) -> bool:
        return not any(group <= set(some) for group in together)

    found, _ = _asked(is_green, count)
    rest = [item for item in range(count) if item not in found]
    assert is_green(rest)
    for item in found:  # nobody was sent back who could have stayed
        earlier = [other for other in rest if other < item]
        assert not is_green([*earlier, item])
        assert item in {max(group) for group in together}
