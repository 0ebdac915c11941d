"""Counts in messages: `1 task`, `2 tasks`, `T1, T2 and 3 more`."""

from __future__ import annotations

from collections.abc import Sequence


def pluralize(number: int, singular: str, plural: str | None = None) -> str:
    """The number and its noun, e.g. `1 task` or `1204 dependencies`.

    `plural` is needed only for a noun that does not just add an s.
    """
    noun = singular if number == 1 else plural or f"{singular}s"
    return f"{number} {noun}"


def some_of(names: Sequence[str], total: int) -> str:
    """The names, and how many more there are in all, e.g. `T1, T2 and 3 more`."""
    text = ", ".join(names)
    more = total - len(names)
    return f"{text} and {more} more" if more else text
