"""Finds which results turn the merged tree red, in O(k log n) checks for k culprits
(bors' bisection).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def culprits(items: Sequence[T], is_green: Callable[[Sequence[T]], bool]) -> list[T]:
    """The items to send back so that the rest is green; none if all are green together.

    `is_green` is asked about ordered subsets, never about the empty one. Each culprit
    is the last item of the shortest red prefix, so everything before it is known to be
    green with what has been kept.
    """
    kept: list[T] = []
    rest = list(items)
    guilty: list[T] = []
    while rest and not is_green([*kept, *rest]):
        place = _shortest_red(kept, rest, is_green)
        kept += rest[:place]
        guilty.append(rest[place])
        rest = rest[place + 1 :]
    return guilty


def _shortest_red(
    kept: Sequence[T], rest: Sequence[T], is_green: Callable[[Sequence[T]], bool]
) -> int:
    """Index of the item that ends the shortest red prefix of `rest`, all of which
    together is known to be red.
    """
    # prefixes of these lengths are known green (or empty) and red
    green, red = 0, len(rest)
    while red - green > 1:
        middle = (green + red) // 2
        if is_green([*kept, *rest[:middle]]):
            green = middle
        else:
            red = middle
    return red - 1
