"""Where the tasks stand in the drawing of the graph: in columns, from left to right.

A column is a wave: what could run side by side. Within it the tasks are ordered by the
mean place of their neighbours, so that few edges cross (the barycentre method of
Sugiyama, Tagawa and Toda, 1981).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from runner.plan.graph import TaskGraph

_SWEEPS = 4


def columns(graph: TaskGraph) -> list[list[str]]:
    """The ids of each column, from top to bottom."""
    found = [list(wave) for wave in graph.waves()]
    for _ in range(_SWEEPS):
        for column in found[1:]:
            _sort(column, graph.dependencies, _places(found))
        for column in reversed(found[:-1]):
            _sort(column, graph.dependents, _places(found))
    return found


def _places(found: Sequence[Sequence[str]]) -> dict[str, float]:
    """Each task's place in its column, from 0 at the top to 1 at the bottom."""
    places = {}
    for column in found:
        for number, task_id in enumerate(column):
            places[task_id] = (number + 0.5) / len(column)
    return places


def _sort(
    column: list[str],
    neighbours: Callable[[str], Sequence[str]],
    places: Mapping[str, float],
) -> None:
    def mean_place(task_id: str) -> float:
        near = [places[each] for each in neighbours(task_id)]
        return sum(near) / len(near) if near else places[task_id]

    column.sort(key=mean_place)
