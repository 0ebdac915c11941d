"""Which of the ready tasks run now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.task import AgentSettings, Task
from runner.policy import globs
from runner.policy.globs import could_overlap
from runner.schedule import selection
from tests.support.builders import plan, quick, task

ROBOT = AgentSettings(command=("robot",))


def _choose(
    tasks: list[Task],
    slots: int = 3,
    heights: dict[str, float] | None = None,
    **more: Any,
) -> list[str]:
    heights = {one.id: 1.0 for one in tasks} | (heights or {})
    return [one.id for one in selection.choose(tasks, slots, heights, **more)]


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (("src/**",), ("src/a.py",), True),
        (("src/a.py",), ("src/b.py",), False),
        (None, ("src/a.py",), False),  # absent files: a clash is found by the merge
        (None, None, False),
        ((), ("**",), False),
    ],
)
def test_two_tasks_overlap_if_their_files_could_name_one_path(
    one: tuple[str, ...] | None, other: tuple[str, ...] | None, overlap: bool
) -> None:
    assert selection.overlap(task("A", files=one), task("B", files=other)) is overlap


ABCD = [task(name) for name in "ABCD"]


@pytest.mark.parametrize(
    ("tasks", "slots", "heights", "chosen"),
    [
        (ABCD, 3, {}, ["A", "B", "C"]),
        (ABCD, 1, {}, ["A"]),
        (ABCD, 9, {}, ["A", "B", "C", "D"]),
        (ABCD, 0, {}, []),
        ([], 3, {}, []),
        # the longer way to the end goes first; told in plan order
        (ABCD, 2, {"D": 5.0, "C": 4.0}, ["C", "D"]),
        ([*ABCD, task("E", priority=1)], 1, {"D": 5.0}, ["E"]),
        ([*ABCD, task("E", priority=-1)], 4, {"E": 9.0}, ["A", "B", "C", "D"]),
        (
            [
                task("A", files=["x/**"]),
                task("B", files=["x/y"]),
                task("C", files=["/z"]),
            ],
            3,
            {},
            ["A", "C"],
        ),
        ([task("A", files=["x/**"]), task("B", files=["x/y"])], 3, {"B": 2.0}, ["B"]),
        # a name without a slash means any folder's: z could be x/z
        ([task("A", files=["x/**"]), task("B", files=["z"])], 3, {}, ["A"]),
        (
            [task("A", files=["x"]), task("B"), task("C", files=["x"])],
            3,
            {},
            ["A", "B"],
        ),
    ],
)
def test_a_batch_takes_the_most_urgent_that_do_not_overlap_up_to_its_limit(
    tasks: list[Task], slots: int, heights: dict[str, float], chosen: list[str]
) -> None:
    assert _choose(tasks, slots, heights) == chosen


def test_what_runs_already_keeps_away_what_overlaps_it() -> None:
    tasks = [task("A", files=["x/y"]), task("B", files=["/z"])]
    assert _choose(tasks, running=[task("R", files=["x/**"])]) == ["B"]


_FILES = st.none() | st.lists(
    st.sampled_from(["a/x", "a/**", "b", "b/y", "*/x", "c"]), max_size=2
).map(tuple)


@quick
@given(st.lists(_FILES, max_size=6), st.integers(1, 4), st.data())
def test_a_batch_is_within_its_limit_free_of_overlaps_and_never_empty_without_need(
    files: list[tuple[str, ...] | None], slots: int, data: st.DataObject
) -> None:
    tasks = [task(str(n), files=globs) for n, globs in enumerate(files)]
    heights = {one.id: data.draw(st.floats(0, 9)) for one in tasks}
    chosen = selection.choose(tasks, slots, heights)
    assert len(chosen) <= slots
    assert [int(one.id) for one in chosen] == sorted({int(one.id) for one in chosen})
    assert not any(
        selection.overlap(a, b) for a in chosen for b in chosen if a is not b
    )
    left = [one for one in tasks if one not in chosen]
    assert len(chosen) == slots or all(
        any(selection.overlap(one, other) for other in chosen) for one in left
    )


def test_check_names_the_pairs_that_files_keep_apart_and_the_graph_would_not() -> None:
    tasks = [task(name, files=["x"]) for name in "ABC"] + [
        task("D"),
        task("E", files=["/y.py"]),
    ]
    waits = {("A", "B")}
    related = lambda one, other: (one, other) in waits  # noqa: E731
    assert selection.overlapping_pairs(plan(*tasks), related) == [
        ("A", "C"),
        ("B", "C"),
    ]
    assert selection.overlapping_pairs(plan(*tasks), related, limit=1) == [("A", "C")]


def test_taking_looks_no_further_than_the_slots_need() -> None:
    looked = []

    def best_first() -> Iterator[Task]:
        for place in range(100):
            looked.append(place)
            yield task(f"T{place}")

    assert [one.id for one in selection.take(best_first(), 3)] == ["T0", "T1", "T2"]
    assert looked == [0, 1, 2]
    assert selection.take(best_first(), 0) == []
    assert looked == [0, 1, 2]


def test_taking_passes_over_what_overlaps_with_a_running_task() -> None:
    tasks = [
        task("A", files=("src/**",)),
        task("B", files=("src/b.py",)),
        task("C", files=("lib/**",)),
    ]
    assert [one.id for one in selection.take(tasks, 2)] == ["A", "C"]
    assert [
        one.id
        for one in selection.take(tasks, 2, running=[task("R", files=("lib/c.py",))])
    ] == ["A"]


def test_clashes_of_a_large_plan_are_found_without_comparing_every_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = [task(f"T{place}", files=(f"src/mod{place}/**",)) for place in range(400)]
    tasks.append(task("LAST", files=("src/mod7/x.py", "src/mod3/y.py")))
    compared: list[object] = []
    real = could_overlap

    def counted(ours: Iterable[str], theirs: Iterable[str]) -> bool:
        compared.append(theirs)
        return real(ours, theirs)

    monkeypatch.setattr(globs, "could_overlap", counted)
    assert selection.overlapping_pairs(plan(*tasks), lambda *_: False) == [
        ("T3", "LAST"),
        ("T7", "LAST"),
    ]
    assert len(compared) < 3 * len(tasks)


def test_the_search_for_clashes_ends_early_where_all_tasks_share_files_and_wait_for_each_other() -> (
    None
):
    tasks = [task(f"T{place}", files=("src/**",)) for place in range(400)]
    asked: list[str] = []

    def related(one: str, _: str) -> bool:
        asked.append(one)
        return True

    assert selection.overlapping_pairs(plan(*tasks), related) == []
    assert len(asked) <= 100_000
