"""Finds the results that make the merged tree red, in O(k log n) checks for k culprits,
by bisection as bors does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def culprits(items: Sequence[T], is_green: Callable[[Sequence[T]], bool]) -> list[T]:
    """The items to send back so that the rest is green; none if all are green together.

    `is_green` is called with ordered subsets, never with the empty one. Each culprit
    is the last item of the shortest red prefix, so the items before it are green
    together with those accepted so far.
    """
    accepted: list[T] = []
    rest = list(items)
    guilty: list[T] = []
    while rest and not is_green([*accepted, *rest]):
        index = _end_of_shortest_red_prefix(accepted, rest, is_green)
        accepted += rest[:index]
        guilty.append(rest[index])
        rest = rest[index + 1 :]
    return guilty


def _end_of_shortest_red_prefix(
    accepted: Sequence[T], rest: Sequence[T], is_green: Callable[[Sequence[T]], bool]
) -> int:
    """The index at which the shortest red prefix of `rest` ends.

    `rest` as a whole is known to be red.
    """
    green_length, red_length = 0, len(rest)
    while red_length - green_length > 1:
        middle = (green_length + red_length) // 2
        if is_green([*accepted, *rest[:middle]]):
            green_length = middle
        else:
            red_length = middle
    return red_length - 1
