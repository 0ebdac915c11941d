"""Which of the ready tasks run now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from runner.core.task import AgentSettings, Task
from runner.plan.progress import PastConflicts
from runner.policy import globs
from runner.policy.globs import could_overlap
from runner.schedule import selection
from runner.schedule.ready_queue import ReadyQueue
from runner.schedule.selection import MayStart
from tests.support.builders import plan, task
from tests.support.queue_snapshots import snapshot

ROBOT = AgentSettings(command=("robot",))


def _choose(
    tasks: list[Task],
    slots: int = 3,
    heights: dict[str, float] | None = None,
    may_start: MayStart = selection.any_task,
) -> list[str]:
    """The batch of tasks that do not depend on each other, with these estimates."""
    heights = {candidate.id: 1.0 for candidate in tasks} | (heights or {})
    estimated = [
        each.model_copy(update={"estimate": heights[each.id]}) for each in tasks
    ]
    queue = ReadyQueue(max_attempts=3)
    queue.sync(snapshot(*estimated), running=())
    return [task.id for task in queue.pick_batch(slots, may_start)]


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        (("src/**",), ("src/a.py",), True),
        (("src/a.py",), ("src/b.py",), False),
        (None, ("src/a.py",), False),  # without files a conflict shows in the merge
        (None, None, False),
        ((), ("**",), False),
    ],
)
def test_two_tasks_overlap_if_their_files_could_name_one_path(
    first: tuple[str, ...] | None, second: tuple[str, ...] | None, overlap: bool
) -> None:
    assert selection.overlap(task("A", files=first), task("B", files=second)) is overlap


ABCD = [task(name) for name in "ABCD"]


@pytest.mark.parametrize(
    ("tasks", "slots", "heights", "chosen"),
    [
        (ABCD, 3, {}, ["A", "B", "C"]),
        (ABCD, 1, {}, ["A"]),
        (ABCD, 9, {}, ["A", "B", "C", "D"]),
        (ABCD, 0, {}, []),
        ([], 3, {}, []),
        # the longer chain to the end goes first; the result is in plan order
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


def test_pairs_that_only_their_files_keep_apart_are_listed_up_to_a_limit() -> None:
    tasks = [task(name, files=["x"]) for name in "ABC"] + [
        task("D"),
        task("E", files=["/y.py"]),
    ]
    waits = {("A", "B")}

    def related(first: str, second: str) -> bool:
        return (first, second) in waits

    assert selection.overlapping_pairs(plan(*tasks), related) == [
        ("A", "C"),
        ("B", "C"),
    ]
    assert selection.overlapping_pairs(plan(*tasks), related, limit=1) == [("A", "C")]


def test_take_consumes_no_more_candidates_than_it_needs() -> None:
    consumed = []

    def best_first() -> Iterator[Task]:
        for index in range(100):
            consumed.append(index)
            yield task(f"T{index}")

    assert [taken.id for taken in selection.take(best_first(), 3)] == ["T0", "T1", "T2"]
    assert consumed == [0, 1, 2]
    assert selection.take(best_first(), 0) == []
    assert consumed == [0, 1, 2]


def test_take_skips_a_task_that_overlaps_a_taken_or_running_one() -> None:
    tasks = [
        task("A", files=("src/**",)),
        task("B", files=("src/b.py",)),
        task("C", files=("lib/**",)),
    ]
    assert [taken.id for taken in selection.take(tasks, 2)] == ["A", "C"]
    assert [
        taken.id
        for taken in selection.take(tasks, 2, running=[task("R", files=("lib/c.py",))])
    ] == ["A"]


def test_overlaps_of_a_large_plan_are_found_without_comparing_every_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = [task(f"T{index}", files=(f"src/mod{index}/**",)) for index in range(400)]
    tasks.append(task("LAST", files=("src/mod7/x.py", "src/mod3/y.py")))
    compared: list[object] = []
    real = could_overlap

    def counting(ours: Iterable[str], theirs: Iterable[str]) -> bool:
        compared.append(theirs)
        return real(ours, theirs)

    monkeypatch.setattr(globs, "could_overlap", counting)
    assert selection.overlapping_pairs(plan(*tasks), lambda *_: False) == [
        ("T3", "LAST"),
        ("T7", "LAST"),
    ]
    assert len(compared) < 3 * len(tasks)


def test_the_search_for_overlaps_ends_early_if_all_tasks_share_files_and_depend_on_each_other() -> (
    None
):
    tasks = [task(f"T{index}", files=("src/**",)) for index in range(400)]
    lookups: list[str] = []

    def related(task_id: str, _: str) -> bool:
        lookups.append(task_id)
        return True

    assert selection.overlapping_pairs(plan(*tasks), related) == []
    assert len(lookups) <= 100_000


NOWHERE = PastConflicts()
IN_LOG = PastConflicts(("CHANGELOG.md",))


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ((None, IN_LOG), (None, IN_LOG), True),
        ((None, IN_LOG), (None, PastConflicts(("b", "CHANGELOG.md"))), True),
        ((None, IN_LOG), (None, PastConflicts(("b",))), False),
        # a file where another task has a folder
        ((None, PastConflicts(("a",))), (None, PastConflicts(("a/b",))), True),
        # what a name looks like is no pattern
        ((None, PastConflicts(("a[b]",))), (None, PastConflicts(("ab",))), False),
        # paths that are declared
        ((None, IN_LOG), (("*.md",), NOWHERE), True),
        ((None, IN_LOG), (("src/**",), NOWHERE), False),
        ((("src/**",), IN_LOG), (("src/a",), NOWHERE), True),
        ((("src/**",), IN_LOG), (("CHANGELOG.md",), NOWHERE), True),
        # nothing is known of the other
        ((None, IN_LOG), (None, NOWHERE), False),
        ((None, PastConflicts(("a",), alone=True)), (None, NOWHERE), True),
        ((None, PastConflicts(("a",), alone=True)), (("b",), NOWHERE), False),
    ],
    ids=str,
)
def test_tasks_run_apart_where_one_has_conflicted_and_the_other_may_go(
    first: tuple[Any, PastConflicts],
    second: tuple[Any, PastConflicts],
    apart: bool,
) -> None:
    one, other = task("A", files=first[0]), task("B", files=second[0])
    past = {"A": first[1], "B": second[1]}

    def past_of(asked: Task) -> PastConflicts:
        return past[asked.id]

    assert selection.must_run_apart(one, other, past_of) is apart
    assert selection.must_run_apart(other, one, past_of) is apart
    chosen = [one] if apart else [one, other]
    assert selection.take([one, other], 2, (), past_of) == chosen
    assert selection.take([other], 2, [one], past_of) == chosen[1:]
