"""The order of tasks that are done one after the other, save for those side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field


@dataclass
class Sequel:
    """Groups of units, each of which waits for the group before it."""

    groups: list[list[str | Sequel]] = field(default_factory=list)


@dataclass
class Waits:
    """Task id → the ids that it waits for.

    `open_before`: open tasks that it also waits for, because one between was ticked out
    of order.
    """

    depends_on: dict[str, list[str]] = field(default_factory=dict)
    open_before: dict[str, list[str]] = field(default_factory=dict)


def wait_in_order(sequence: Sequel, done: Set[str]) -> Waits:
    """What each task of the sequence waits for. `done`: ids of finished tasks."""
    waits = Waits()
    _chain(sequence, [], [], done, waits)
    return waits


def _chain(
    sequence: Sequel,
    before: list[str],
    open_before: list[str],
    done: Set[str],
    waits: Waits,
) -> tuple[list[str], list[str]]:
    """The ids that end the sequence, and the open ones that what follows waits for."""
    for group in sequence.groups:
        ends: list[str] = []
        still_open: list[str] = []
        for unit in group:
            if isinstance(unit, Sequel):
                unit_ends, unit_open = _chain(unit, before, open_before, done, waits)
            else:
                waits.depends_on[unit] = list(before)
                more = [name for name in open_before if name not in before]
                waits.open_before[unit] = more
                unit_ends = [unit]
                unit_open = open_before if unit in done else [unit]
            ends += unit_ends
            still_open += unit_open
        before = list(dict.fromkeys(ends))
        open_before = list(dict.fromkeys(still_open))
    return before, open_before


def flat(sequence: Sequel) -> list[str]:
    """The ids in the order of the file."""
    ids: list[str] = []
    for group in sequence.groups:
        for unit in group:
            ids += flat(unit) if isinstance(unit, Sequel) else [unit]
    return ids


def one_by_one(ids: Iterable[str]) -> Sequel:
    """These tasks, each after the one before it."""
    return Sequel([[task_id] for task_id in ids])


def in_agreement(
    sequence: Sequel, named: Mapping[str, Sequence[str]]
) -> tuple[Sequel, list[str]]:
    """The sequence in which every task comes after those that it names.

    It is the given one if that has nothing to say against it; otherwise the tasks are
    one after the other. The second value: the tasks that name a later one.
    """
    ids = flat(sequence)
    position = {task_id: index for index, task_id in enumerate(ids)}
    early = []
    for task_id in ids:
        later = [
            name
            for name in named.get(task_id, ())
            if position.get(name, -1) > position[task_id]
        ]
        if later:
            early.append(task_id)
    if not early:
        return sequence, []
    return one_by_one(_sorted_by_names(ids, named)), early


def _sorted_by_names(
    ids: Sequence[str], named: Mapping[str, Sequence[str]]
) -> list[str]:
    """The ids in their order, but each after those that it names; a cycle stays one."""
    known, seen = set(ids), set()
    result: list[str] = []
    for first in ids:
        waiting = [(first, False)]
        while waiting:
            task_id, is_ready = waiting.pop()
            if is_ready:
                result.append(task_id)
                continue
            if task_id in seen:
                continue
            seen.add(task_id)
            waiting.append((task_id, True))
            for name in reversed(named.get(task_id, ())):
                if name in known and name not in seen:
                    waiting.append((name, False))
    return result
