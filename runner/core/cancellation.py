"""Ends what runs when one of several asks for it."""

from __future__ import annotations

import threading


class Cancellation(threading.Event):
    """Is set once it is set itself, or one of the `others` is. It cannot be waited for."""

    def __init__(self, *others: threading.Event | None) -> None:
        super().__init__()
        self._others = others

    def is_set(self) -> bool:
        if super().is_set():
            return True
        return any(each is not None and each.is_set() for each in self._others)
