"""Counts in messages: `1 task`, `2 tasks`."""

from __future__ import annotations


def pluralize(number: int, singular: str, plural: str | None = None) -> str:
    """The number and its noun, e.g. `1 task` or `1204 dependencies`.

    `plural` is needed only for a noun that does not just add an s.
    """
    noun = singular if number == 1 else plural or f"{singular}s"
    return f"{number} {noun}"
