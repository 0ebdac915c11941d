"""The ready queue gives what a scan of the whole plan would give, at the cost of an
update.
"""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.task import Standing, Status
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.snapshot import Snapshot
from runner.schedule.ready_queue import Frontier, ReadyQueue
from tests.support.builders import task
from tests.support.queue_snapshots import DONE, LIMIT, OPEN, recorded, snapshot

DONE_RECORD = Record(status=Status.COMPLETED, attempts=1, seconds=9.0)


@pytest.mark.parametrize(
    ("urgent", "ending", "slots", "starts"),
    [
        ({}, "", 1, ["A"]),
        ({"B": 9.0}, "X", 1, []),  # B is more urgent and will be ready in a moment
        ({"B": 9.0}, "X", 2, ["A"]),  # there is a slot for each
        ({"A": 9.0}, "X", 1, ["A"]),
        ({"B": 9.0, "C": 3.0}, "X", 2, ["C"]),
        ({"B": 9.0}, "Y", 1, ["A"]),  # B waits for both
    ],
)
def test_a_slot_is_reserved_for_a_more_urgent_task_whose_dependency_is_being_merged(
    urgent: dict[str, float], ending: str, slots: int, starts: list[str]
) -> None:
    needs = {
        "X": (),
        "Y": (),
        "A": (),
        "B": ("X",) if ending != "Y" else ("X", "Y"),
        "C": (),
    }
    head = snapshot(
        *(
            task(name, depends_on=deps, estimate=urgent.get(name, 1.0))
            for name, deps in needs.items()
        )
    )
    queue = ReadyQueue(LIMIT)
    queue.sync(head, "XY")
    assert [
        picked.id for picked in queue.pick_during_merge(ending, slots, [])
    ] == starts


def test_a_branch_that_somebody_else_moved_is_scanned_again() -> None:
    head = snapshot(task("A"), task("B", depends_on=("A",)))
    queue = ReadyQueue(LIMIT)
    queue.sync(head, [])
    assert (queue.waiting, [picked.id for picked in queue.pick(9, [])]) == (2, ["A"])
    moved = snapshot(
        task("B"), task("C"), progress=recorded(head.progress, "C", Status.COMPLETED)
    )
    queue.sync(moved, ["gone"])
    assert (queue.waiting, [picked.id for picked in queue.pick(9, [])]) == (1, ["B"])


def test_tasks_that_could_start_next_are_counted_up_to_a_number() -> None:
    head = snapshot(
        task("A"), task("B", depends_on=["A"]), task("C", depends_on=["B"]), task("D")
    )
    queue = ReadyQueue(LIMIT)
    queue.sync(head, ["A"])
    # D is ready, and B would be
    assert queue.ready_after(["A", "gone"], 9) == 2
    assert queue.ready_after(["A"], 1) == 1
    assert queue.ready_after([], 9) == 1


def test_a_plan_is_scanned_once_while_its_tasks_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scans: list[int] = []
    standings = Progress.standings

    def counting(progress: Progress, *args: Any) -> dict[str, Standing]:
        scans.append(1)
        return standings(progress, *args)

    monkeypatch.setattr(Progress, "standings", counting)
    names = [f"T{index}" for index in range(50)]
    head, queue = snapshot(*(task(name) for name in names)), ReadyQueue(LIMIT)
    for name in names:
        queue.sync(head, [])
        assert queue.pick(1, []) == [head.graph.tasks[name]]
        queue.mark_started(name)
        head = Snapshot(
            head.commit,
            head.plan,
            head.graph,
            recorded(head.progress, name, Status.COMPLETED),
        )
        queue.mark_done(name, head.progress)
    assert scans == [1]


def test_no_slot_is_reserved_for_dependents_of_a_task_that_left_the_plan() -> None:
    queue = ReadyQueue(LIMIT)
    queue.sync(snapshot(task("A")), ["gone"])
    assert [picked.id for picked in queue.pick_during_merge(["gone"], 1, [])] == ["A"]


def test_the_smallest_rank_comes_first() -> None:
    tasks = [task(name) for name in "ABC"] + [task("D", depends_on=("A",))]
    ranks = {"A": 2, "B": 1, "C": 2, "D": 0}
    frontier = Frontier(
        TaskGraph(tasks, "p"),
        dict.fromkeys("ABCD", OPEN),
        lambda task_id: (ranks[task_id],),
    )
    assert list(frontier) == ["B", "A", "C"]
    frontier.mark_done("A", DONE)
    assert list(frontier) == ["D", "B", "C"]


def test_finishing_all_tasks_ranks_each_a_few_times_and_never_the_whole_plan() -> None:
    count = 200
    ranked: list[str] = []

    def rank(task_id: str) -> tuple[float, ...]:
        ranked.append(task_id)
        return ()

    tasks = [task("T0")]
    tasks += [task(f"T{n}", depends_on=(f"T{n - 1}",)) for n in range(1, count)]
    graph = TaskGraph(tasks, "p")
    frontier = Frontier(graph, dict.fromkeys(graph.tasks, OPEN), rank)
    for index in range(count):
        assert list(frontier) == [f"T{index}"]
        frontier.mark_started(f"T{index}")
        frontier.mark_done(f"T{index}", DONE)
    assert len(ranked) <= 4 * count


@pytest.mark.parametrize(
    "changes",
    [
        {"A": DONE_RECORD},
        {"A": DONE_RECORD, "B": Record(status=Status.FAILED, attempts=1)},
        {"A": Record(status=Status.FAILED, attempts=LIMIT)},
        {"C": Record(skipped=True)},
        {"C": Record(status=Status.FAILED, attempts=1, conflict_paths=("x",))},
        {"gone": DONE_RECORD},
    ],
)
def test_a_snapshot_that_was_read_again_is_taken_over_by_what_changed(
    changes: dict[str, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [task("A"), task("B"), task("C"), task("D", depends_on=("A",))]
    first = snapshot(*tasks).progress
    first = first.with_records({each.id: Record() for each in tasks})
    head = snapshot(*tasks)._replace(progress=first)
    queue = ReadyQueue(LIMIT)
    queue.sync(head, [])
    read_again = head._replace(progress=first.with_records(changes))
    scanned = ReadyQueue(LIMIT)
    scanned.sync(read_again, [])
    monkeypatch.delattr(Progress, "standings")  # what a scan asks
    queue.sync(read_again, [])
    assert queue.waiting == scanned.waiting
    assert queue.pick(9, []) == scanned.pick(9, [])
    assert queue._has_conflicts == scanned._has_conflicts


@pytest.mark.parametrize(
    "changed",
    [
        # how long it takes is known now, and it runs again
        recorded(Progress("tasks.yml"), "A", Status.PENDING).with_records(
            {"A": Record(seconds=5.0)}
        ),
        Progress("tasks.yml", {"A": DONE_RECORD}, reopened=frozenset("A")),
        Progress("tasks.yml"),
    ],
)
def test_a_change_of_more_than_what_became_of_a_task_is_scanned(
    changed: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = snapshot(task("A"), task("B"))
    before = head._replace(progress=Progress("tasks.yml", {"A": DONE_RECORD}))
    queue = ReadyQueue(LIMIT)
    queue.sync(before, [])
    scans: list[int] = []
    standings = Progress.standings

    def counting(progress: Progress, *args: Any) -> dict[str, Standing]:
        scans.append(1)
        return standings(progress, *args)

    monkeypatch.setattr(Progress, "standings", counting)
    queue.sync(head._replace(progress=changed), [])
    assert scans == [1]
