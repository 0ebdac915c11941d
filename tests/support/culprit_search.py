"""Searches for culprits and counts the checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.fan_in.culprits import culprits


def culprits_of(
    is_green: Callable[[Sequence[int]], bool], count: int
) -> tuple[list[int], int]:
    """The culprits among 0 … count − 1, and the number of checks. Each check gets an
    ordered, non-empty subset.
    """
    calls = 0

    def counted(subset: Sequence[int]) -> bool:
        nonlocal calls
        calls += 1
        assert subset
        assert list(subset) == sorted(set(subset))
        return is_green(subset)

    return culprits(range(count), counted), calls
