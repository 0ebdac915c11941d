"""Finds the results that make the merged tree red, in O(k log n) checks for k culprits,
by bisection as bors does, or by a split in more parts that are verified at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class CulpritSearch(Generic[T]):
    """What to verify next of ordered items, and what the verdicts add up to.

    A set is some items in their order: those accepted so far, and a prefix of the
    suspects. Several may be verified at once, each on top of those before it. A green
    set accepts all its items. Each of the `guilty` is the last item of the shortest red
    prefix, so the items before it are green together with those accepted so far.

    `accepted` are green together.
    """

    def __init__(self, items: Sequence[T] = ()) -> None:
        self.accepted: list[T] = []
        self.guilty: list[T] = []
        self._suspects = list(items)
        # the length of the shortest prefix of the suspects that is red, if one is
        self._red_length: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to verify."""
        return not self._suspects

    @property
    def is_splitting(self) -> bool:
        """Whether the suspects are red together."""
        return self._red_length is not None

    def add(self, items: Sequence[T]) -> None:
        """Items that come after all others."""
        self._suspects += items

    def next_sets(self, free: int, running: Collection[Sequence[T]]) -> list[list[T]]:
        """At most `free` sets to verify now, beside those that are `running`."""
        lengths = [self._length(each) for each in running]
        if self._red_length is None:
            whole = len(self._suspects)
            next_lengths = [whole] if whole and whole not in lengths else []
        elif any(0 < length < self._red_length for length in lengths):
            # their verdicts say where to split next
            next_lengths = []
        else:
            next_lengths = _splits(self._red_length, free)
        return [self._set(length) for length in next_lengths[:free]]

    def is_useful(self, items: Sequence[T]) -> bool:
        """Whether the verdict of a set that is being verified can still decide anything.

        Not on top of a red one, nor below a green one.
        """
        length = self._length(items)
        return length > 0 and (self._red_length is None or length < self._red_length)

    def record(self, items: Sequence[T], *, is_green: bool) -> None:
        """Take in the verdict of a set, which may be about what has changed since."""
        length = self._length(items)
        if length <= 0:
            return
        if is_green:
            self.accepted += self._suspects[:length]
            del self._suspects[:length]
            if self._red_length is not None and self._red_length > length:
                self._red_length -= length
            else:
                self._red_length = None
        elif self._red_length is None or length < self._red_length:
            self._red_length = length
        if self._red_length == 1:
            # the last suspect need not be verified alone
            self.guilty.append(self._suspects.pop(0))
            self._red_length = None

    def _set(self, length: int) -> list[T]:
        return [*self.accepted, *self._suspects[:length]]

    def _length(self, items: Sequence[T]) -> int:
        """How many suspects are in the set; 0 if it is none of these sets any more."""
        length = len(items) - len(self.accepted)
        if length > 0 and self._set(length) == list(items):
            return length
        return 0


def culprits(
    items: Sequence[T],
    are_green: Callable[[Sequence[Sequence[T]]], Sequence[bool | None]],
    at_once: int = 1,
) -> list[T]:
    """The items to send back so that the rest is green; none if all are green together.

    `are_green` is called with at most `at_once` ordered subsets, none of them empty. None
    is for one that the verdict of another has made useless.
    """
    search = CulpritSearch(items)
    while not search.is_over:
        sets = search.next_sets(at_once, ())
        for each, is_green in zip(sets, are_green(sets), strict=True):
            if is_green is not None:
                search.record(each, is_green=is_green)
    return search.guilty


def _splits(length: int, parts: int) -> list[int]:
    """Where to split a red prefix, so that the parts between are about equal."""
    positions = {round(length * part / (parts + 1)) for part in range(1, parts + 1)}
    return sorted(position for position in positions if 0 < position < length)
