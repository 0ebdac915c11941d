"""Numbers in descending order, of which some are added and removed all the time."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

# Numbers that share their higher bits share a list: inserting into one list of tens of
# thousands takes longer than all else that happens when a task ends.
_BITS = 11


class SortedNumbers:
    """A set of numbers from 0, iterated from the largest."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._blocks: list[list[int]] = []
        self._count = 0
        for number in numbers:
            self.add(number)

    def copy(self) -> SortedNumbers:
        """Another set of the same numbers."""
        other = SortedNumbers()
        other._blocks = list(map(list, self._blocks))
        other._count = self._count
        return other

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        for block in reversed(self._blocks):
            if block:
                yield from reversed(block)

    def add(self, number: int) -> None:
        """Add a number that is not in the set."""
        index = number >> _BITS
        while index >= len(self._blocks):
            self._blocks.append([])
        insort(self._blocks[index], number)
        self._count += 1

    def remove(self, number: int) -> None:
        """Remove a number of the set."""
        block = self._blocks[number >> _BITS]
        del block[bisect_left(block, number)]
        self._count -= 1
