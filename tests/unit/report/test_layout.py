"""The columns in which a graph is drawn."""

from __future__ import annotations

from runner.plan.graph import TaskGraph
from runner.report.layout import columns
from tests.support.builders import task


def _crossings(graph: TaskGraph, found: list[list[str]]) -> int:
    place = {each: n for column in found for n, each in enumerate(column)}
    count = 0
    for column in found:
        edges = [
            (place[need], place[each])
            for each in column
            for need in graph.dependencies(each)
        ]
        count += sum((a - c) * (b - d) < 0 for a, b in edges for c, d in edges)
    return count // 2


def test_a_column_has_what_could_run_side_by_side() -> None:
    graph = TaskGraph(
        [
            task("A"),
            task("B"),
            task("C", depends_on=("A",)),
            task("D", depends_on=("C", "B")),
        ],
        "p",
    )
    assert [sorted(column) for column in columns(graph)] == [["A", "B"], ["C"], ["D"]]
    assert columns(TaskGraph([], "p")) == []


def test_neighbours_stand_beside_each_other() -> None:
    first = [task(f"A{n}") for n in range(6)]
    second = [task(f"B{n}", depends_on=(f"A{5 - n}",)) for n in range(6)]
    graph = TaskGraph([*first, *second], "p")
    assert _crossings(graph, [list(wave) for wave in graph.waves()]) == 15
    assert _crossings(graph, columns(graph)) == 0
