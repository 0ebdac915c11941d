"""Searches for culprits and counts the checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.fan_in.culprits import culprits


def culprits_of(
    is_green: Callable[[Sequence[int]], bool], count: int, at_once: int = 1
) -> tuple[list[int], int]:
    """The culprits among 0 … count − 1, and the number of checks. Each check gets an
    ordered, non-empty subset; at most so many are made at once.
    """
    calls = 0

    def counted(subsets: Sequence[Sequence[int]]) -> list[bool]:
        nonlocal calls
        calls += len(subsets)
        assert 1 <= len(subsets) <= at_once
        for subset in subsets:
            assert subset
            assert list(subset) == sorted(set(subset))
        return [is_green(subset) for subset in subsets]

    return culprits(range(count), counted, at_once), calls
