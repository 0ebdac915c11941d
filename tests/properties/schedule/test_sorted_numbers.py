"""Properties of schedule.sorted_numbers, over generated inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.schedule.sorted_numbers import SortedNumbers

# Few enough that they are drawn again, far enough apart for many blocks.
NUMBERS = st.integers(0, 9).map(lambda number: number**4 * 3)


@given(st.frozensets(NUMBERS), st.lists(NUMBERS))
def test_they_are_a_set_in_descending_order(
    first: frozenset[int], changed: list[int]
) -> None:
    numbers, expected = SortedNumbers(first), set(first)
    untouched = numbers.copy()
    for number in changed:
        if number in expected:
            expected.remove(number)
            numbers.remove(number)
        else:
            expected.add(number)
            numbers.add(number)
        assert list(numbers) == sorted(expected, reverse=True)
        assert len(numbers) == len(expected)
    assert list(untouched) == sorted(first, reverse=True)
