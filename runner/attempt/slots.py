"""Numbers for the programs of one run, so that those that run at once can be told apart."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from types import TracebackType

# The variable with the number, for setup, agent and verify.
VARIABLE = "FANIN_SLOT"


class Slots:
    """Whole numbers from 0, each for one holder at a time. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[int] = set()

    def take(
        self, preferred: Iterable[int] = (), avoided: Collection[int] = ()
    ) -> Slot:
        """The first of the preferred numbers that is free, or the smallest free one that
        is not to be avoided.
        """
        with self._lock:
            number = 0
            while number in self._taken or number in avoided:
                number += 1
            number = next(
                (each for each in preferred if each not in self._taken), number
            )
            self._taken.add(number)
        return Slot(self, number)

    def give_back(self, number: int) -> None:
        with self._lock:
            self._taken.discard(number)


class Slot:
    """A number until it is released. A context manager, which releases it at the end."""

    def __init__(self, slots: Slots, number: int) -> None:
        self.number = number
        self._slots = slots
        self._lock = threading.Lock()
        self._is_released = False

    def release(self) -> None:
        """Give the number back; another holder may have it then. Once is enough."""
        with self._lock:
            released, self._is_released = self._is_released, True
        if not released:
            self._slots.give_back(self.number)

    def __enter__(self) -> Slot:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.release()
