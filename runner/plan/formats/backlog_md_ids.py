"""Ids of Backlog.md, compared as it does: without case and leading zeros.

If no id matches, their prefixes are ignored too, because prefixes get renamed (in
Backlog.md's own repository from `task-` to `BACK-`) while the dependencies keep the old
one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ID = re.compile(
    r"(?:(?P<prefix>[A-Za-z][\w-]*?)-)?(?P<numbers>[0-9]+[A-Za-z]?(?:\.[0-9]+[A-Za-z]?)*)"
)
_LEADING_ZEROS = re.compile(r"^0+(?=[0-9])")


def canonical_id(task_id: str) -> tuple[str, ...]:
    """An id as Backlog.md compares it: without case and leading zeros, prefix first."""
    match = _ID.fullmatch(task_id.strip())
    if not match:
        return (task_id.strip().casefold(),)
    prefix = (match["prefix"] or "").casefold()
    numbers = match["numbers"].casefold().split(".")
    return (prefix, *[_LEADING_ZEROS.sub("", number) for number in numbers])


def sort_key(task_id: str) -> tuple[object, ...]:
    """Sorts ids by their numbers: 4.2 before 4.10."""
    prefix, *numbers = canonical_id(task_id)
    return (prefix, [(_leading_number(number), number) for number in numbers])


def _leading_number(text: str) -> int:
    match = re.match(r"[0-9]{1,9}", text)
    return int(match[0]) if match else 0


class Ids:
    """The ids of the plan, searched by how dependencies spell them."""

    def __init__(self, task_ids: Sequence[str]) -> None:
        self._by_id: dict[tuple[str, ...], list[str]] = {}
        self._by_numbers: dict[tuple[str, ...], list[str]] = {}
        for task_id in task_ids:
            key = canonical_id(task_id)
            self._by_id.setdefault(key, []).append(task_id)
            self._by_numbers.setdefault(_without_prefix(key), []).append(task_id)

    def find(self, written_id: str) -> list[str]:
        """The ids that `written_id` may mean: equal ones, else equal numbers."""
        key = canonical_id(written_id)
        if key in self._by_id:
            return self._by_id[key]
        return self._by_numbers.get(_without_prefix(key), [])


def _without_prefix(key: tuple[str, ...]) -> tuple[str, ...]:
    """The numbers of a canonical id, or the id itself if it has none."""
    return key[1:] or key
