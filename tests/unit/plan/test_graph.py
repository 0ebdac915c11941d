"""The task graph: order, ready and blocked tasks, and every mistake in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runner.core.errors import InvalidInput
from runner.core.task import Standing
from runner.plan.graph import TaskGraph
from tests.support.builders import problems, task
from tests.support.standings import DONE, OPEN, STUCK


def _graph(**depends_on: str) -> TaskGraph:
    return TaskGraph(
        [
            task(name, depends_on=tuple(deps.split()))
            for name, deps in depends_on.items()
        ],
        "p",
    )


def _problems(**depends_on: str) -> list[str]:
    """The problems of a plan whose nth task is on line n."""
    tasks = [
        task(i, depends_on=tuple(d.split()), line=n)
        for n, (i, d) in enumerate(depends_on.items(), 1)
    ]
    return problems(lambda: TaskGraph(tasks, "p"))


SIX = _graph(T1="", T2="T1", T3="T2", T4="T2", T5="T1", T6="T3 T4 T5")


def test_a_graph_answers_what_its_dependencies_say() -> None:
    assert SIX.order() == ("T1", "T2", "T3", "T4", "T5", "T6")
    assert SIX.waves() == [("T1",), ("T2", "T5"), ("T3", "T4"), ("T6",)]
    assert (SIX.roots, SIX.edges) == (("T1",), 7)
    assert SIX.dependencies("T6") == ("T3", "T4", "T5")
    assert SIX.dependents("T1") == ("T2", "T5")
    assert SIX.critical_path() == ("T1", "T2", "T3", "T6")


def test_order_follows_the_plan_wherever_the_graph_leaves_a_choice() -> None:
    assert _graph(C="", A="B", B="", D="C").order() == ("C", "B", "A", "D")


def test_a_repeated_dependency_counts_once() -> None:
    assert _graph(A="", B="A A").edges == 1


def test_the_critical_path_is_the_heaviest_and_not_the_longest_chain() -> None:
    weights = {"A": 1.0, "B": 1.0, "C": 1.0, "Z": 9.0}
    graph = _graph(A="", B="A", C="B", Z="")
    assert graph.critical_path(lambda weighed: weights[weighed.id]) == ("Z",)
    assert graph.heights(lambda weighed: weights[weighed.id]) == {
        "A": 3.0,
        "B": 2.0,
        "C": 1.0,
        "Z": 9.0,
    }
    assert graph.critical_path() == ("A", "B", "C")


def test_equal_critical_paths_are_resolved_by_plan_order() -> None:
    assert _graph(B="", A="").critical_path() == ("B",)


@pytest.mark.parametrize(
    ("first", "second", "related"),
    [
        ("T1", "T6", True),
        ("T6", "T1", True),
        ("T3", "T4", False),
        ("T5", "T2", False),
        ("T3", "T3", True),
    ],
)
def test_two_tasks_are_related_if_one_waits_for_the_other(
    first: str, second: str, related: bool
) -> None:
    assert SIX.related(first, second) is related


@pytest.mark.parametrize(
    ("states", "ready"),
    [
        ({}, ["T1"]),
        ({"T1": DONE}, ["T2", "T5"]),
        ({"T1": DONE, "T2": DONE}, ["T3", "T4", "T5"]),
        ({"T1": DONE, "T2": DONE, "T3": DONE, "T5": DONE}, ["T4"]),
        ({"T1": DONE, "T2": DONE, "T3": DONE, "T4": DONE, "T5": DONE}, ["T6"]),
        # a task completed by hand unlocks nothing while others are open
        ({"T3": DONE, "T4": DONE}, ["T1"]),
        ({"T1": STUCK}, []),
        (dict.fromkeys(SIX.tasks, DONE), []),
    ],
    ids=str,
)
def test_a_task_is_ready_only_when_all_its_dependencies_are_completed(
    states: dict[str, Standing], ready: list[str]
) -> None:
    assert list(SIX.ready(dict.fromkeys(SIX.tasks, OPEN) | states)) == ready


@pytest.mark.parametrize(
    ("states", "blocked"),
    [
        ({}, {}),
        (
            {"T1": STUCK},
            {"T2": ("T1",), "T3": ("T1",), "T4": ("T1",), "T5": ("T1",), "T6": ("T1",)},
        ),
        ({"T1": DONE, "T2": DONE, "T3": STUCK, "T4": STUCK}, {"T6": ("T3", "T4")}),
        ({"T1": DONE, "T2": STUCK, "T3": DONE}, {"T4": ("T2",), "T6": ("T2",)}),
        # a completed dependent waits for nothing
        ({"T1": DONE, "T2": STUCK, "T3": DONE, "T4": DONE}, {}),
        (
            {"T1": STUCK, "T5": STUCK},
            {"T2": ("T1",), "T3": ("T1",), "T4": ("T1",), "T6": ("T1", "T5")},
        ),
        ({"T6": STUCK}, {}),
    ],
    ids=str,
)
def test_a_stuck_dependency_blocks_its_dependents(
    states: dict[str, Standing], blocked: dict[str, tuple[str, ...]]
) -> None:
    blockers = SIX.blocked(dict.fromkeys(SIX.tasks, OPEN) | states)
    assert {task_id: by.first for task_id, by in blockers.items()} == blocked
    assert all(by.number == len(by.first) for by in blockers.values())


def test_of_many_stuck_tasks_the_first_are_named_and_the_others_counted() -> None:
    roots = [task(f"R{number}") for number in range(2_000)]
    waiting = [task("W", depends_on=tuple(root.id for root in roots))]
    waiting += [task(f"X{number}", depends_on=("W",)) for number in range(2_000)]
    graph = TaskGraph([*roots, *waiting], "tasks.yml")
    states = dict.fromkeys(graph.tasks, OPEN)
    states |= {root.id: STUCK for root in roots}
    blockers = graph.blocked(states)
    assert len(blockers) == 2_001
    assert {str(by) for by in blockers.values()} == {"R0, R1, R2, R3, R4 and 1995 more"}


def test_stuck_tasks_with_long_ids_are_counted_after_the_first() -> None:
    roots = [task(f"{number:02}{'x' * 60}") for number in range(20)]
    waiting = task("W", depends_on=tuple(root.id for root in roots))
    graph = TaskGraph([*roots, waiting], "tasks.yml")
    states = {"W": OPEN, **{root.id: STUCK for root in roots}}
    assert str(graph.blocked(states)["W"]) == f"{roots[0].id} and 19 more"


@pytest.mark.parametrize(
    ("depends_on", "expected"),
    [
        (
            {"T1": "", "T2": "T4", "T3": "", "T4": "T2"},
            ["p:2: dependency cycle: T2 → T4 → T2; remove one of these dependencies"],
        ),
        (
            {"A": "B", "B": "C", "C": "A"},
            ["p:1: dependency cycle: A → B → C → A; remove one of these dependencies"],
        ),
        (
            {"A": "B", "B": "A", "C": "D", "D": "C", "E": "D"},
            [
                "p:1: dependency cycle: A → B → A; remove one of these dependencies",
                "p:3: dependency cycle: C → D → C; remove one of these dependencies",
            ],
        ),
        # the first task of the group is not part of the cycle that is found
        (
            {"R": "Z", "X": "R Y", "Y": "X", "Z": "Y"},
            ["p:2: dependency cycle: X → Y → X; remove one of these dependencies"],
        ),
        ({"A": "A"}, ["p:1: A depends on itself; remove A from its dependencies"]),
        (
            {"A": "A B", "B": "A"},
            [
                "p:1: A depends on itself; remove A from its dependencies",
                "p:1: dependency cycle: A → B → A; remove one of these dependencies",
            ],
        ),
        (
            {"login": "", "B": "logn"},
            ["p:2: B depends on logn, which is not in the plan; did you mean login?"],
        ),
        (
            {"A": "", "B": "zzz"},
            [
                "p:2: B depends on zzz, which is not in the plan; name a task of this plan"
            ],
        ),
        (
            {"A": "B C C", "B": "A", "D": "D", "task-five": "task-fvie"},
            [
                "p:1: A depends on C, which is not in the plan; name a task of this plan",
                "p:1: dependency cycle: A → B → A; remove one of these dependencies",
                "p:3: D depends on itself; remove D from its dependencies",
                "p:4: task-five depends on task-fvie, which is not in the plan; did you mean task-five?",
            ],
        ),
    ],
    ids=str,
)
def test_every_problem_has_its_ids_and_line(
    depends_on: dict[str, str], expected: list[str]
) -> None:
    assert _problems(**depends_on) == expected


def test_an_id_used_twice_names_both_lines() -> None:
    tasks = [task("A", line=3), task("B", line=5), task("A", line=8)]
    (problem,) = problems(lambda: TaskGraph(tasks, "p"))
    assert problem.startswith("p:8: the id A is used a second time (first on line 3)")


def test_networkx_is_not_imported_for_a_graph_without_cycles() -> None:
    program = """
import sys
from runner.plan.graph import TaskGraph
from runner.core.task import Standing, Task
from runner.schedule.ready_queue import Frontier
graph = TaskGraph([Task(id="A", title="a"), Task(id="B", title="b", depends_on=("A",))], "p")
states = dict.fromkeys("AB", Standing.OPEN)
graph.order(), graph.ready(states), graph.blocked(states), graph.critical_path(), graph.edges
graph.waves()
Frontier(graph, states, lambda _: ())
assert "networkx" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_doubled_id_is_not_also_reported_as_a_cycle_or_as_its_own_dependency() -> (
    None
):
    tasks = [
        task("A"),
        task("A", depends_on=("A",)),
        task("B", depends_on=("C",)),
        task("C", depends_on=("A", "B")),
        task("D", depends_on=("A",)),
        task("A", depends_on=("D",)),
    ]
    with pytest.raises(InvalidInput) as error:
        TaskGraph(tasks, "tasks.yml")
    reported = [problem.what for problem in error.value.problems]
    assert sorted(reported) == [
        "dependency cycle: B → C → B",
        "the id A is used a second time (first on line 1)",
    ]
