"""A landing, as it is planned and as the journal of runs has it."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Landing(NamedTuple):
    """A move of a branch from commit `old` to `new`.

    `occupied` are the paths whose files were not as in `old` before it began: it has
    not made them. None if nobody knows them.
    """

    branch: str
    old: str
    new: str
    occupied: Collection[str] | None = None
