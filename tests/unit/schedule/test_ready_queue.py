"""The ready queue gives what a scan of the whole plan would give, at the cost of an
update.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.task import Standing, Status, Task
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress, Record
from runner.plan.snapshot import Snapshot
from runner.schedule import selection
from runner.schedule.ready_queue import Frontier, ReadyQueue
from tests.support.builders import plan, quick, task

LIMIT = 2
OPEN, DONE, STUCK = Standing.OPEN, Standing.COMPLETED, Standing.STUCK


def snapshot(*tasks: Task, progress: Progress | None = None) -> Snapshot:
    native = plan(*tasks)
    return Snapshot(
        "0" * 40,
        native,
        TaskGraph(native.tasks, native.path),
        progress or Progress(native.path),
    )


def recorded(progress: Progress, task_id: str, status: Status) -> Progress:
    attempts = progress.records.get(task_id, Record()).attempts + 1
    return progress.with_records({task_id: Record(status=status, attempts=attempts)})


@given(st.data())
def test_picking_during_a_run_equals_choosing_from_the_whole_plan(
    data: st.DataObject,
) -> None:
    ids = [f"T{index}" for index in range(data.draw(st.integers(1, 7)))]
    tasks = [
        task(
            name,
            depends_on=data.draw(st.lists(st.sampled_from(ids[:index]), unique=True))
            if index
            else [],
            files=data.draw(st.sampled_from([None, ("a",), ("b",)])),
            priority=data.draw(st.integers(0, 1)),
            estimate=data.draw(st.sampled_from([None, 1.0, 9.0])),
        )
        for index, name in enumerate(ids)
    ]
    head = snapshot(*tasks)
    queue, running = ReadyQueue(LIMIT), list[str]()
    for _ in range(data.draw(st.integers(1, 15))):
        queue.sync(head, running)
        busy = [head.graph.tasks[name] for name in running]
        standings = head.progress.standings(head.plan, LIMIT)
        ready = [
            head.graph.tasks[name]
            for name in head.graph.ready(standings)
            if name not in running
        ]
        heights = head.graph.heights(head.progress.expected_seconds)
        slots = data.draw(st.integers(0, 3))
        picked = queue.pick(slots, busy)
        assert sorted(picked, key=ready.index) == selection.choose(
            ready, slots, heights, busy
        )
        if running and data.draw(st.sampled_from([True, False])):
            name = running.pop(data.draw(st.integers(0, len(running) - 1)))
            status = data.draw(st.sampled_from([Status.COMPLETED, Status.FAILED, None]))
            # None: not counted
            progress = (
                recorded(head.progress, name, status) if status else head.progress
            )
            queue.mark_done(name, progress)
            head = Snapshot(head.commit, head.plan, head.graph, progress)
        elif picked:
            queue.mark_started(picked[0].id)
            running.append(picked[0].id)


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


def in_plan_order(_: str) -> tuple[float, ...]:
    return ()


@given(st.data())
@quick
def test_an_updated_frontier_equals_one_built_from_the_whole_plan(
    data: st.DataObject,
) -> None:
    ids = [f"T{index}" for index in range(data.draw(st.integers(1, 8)))]
    tasks = []
    for index, task_id in enumerate(ids):
        depends_on = []
        if index:
            earlier = st.sampled_from(ids[:index])
            depends_on = data.draw(st.lists(earlier, unique=True))
        tasks.append(task(task_id, depends_on=tuple(depends_on)))
    graph = TaskGraph(tasks, "p")
    any_state = st.sampled_from([OPEN, DONE, STUCK])
    states = {task_id: data.draw(any_state) for task_id in ids}
    frontier = Frontier(graph, states, in_plan_order)
    running: set[str] = set()

    def without_running(ready: Iterable[str]) -> list[str]:
        return [task_id for task_id in ready if task_id not in running]

    for _ in range(data.draw(st.integers(0, 12))):
        changed = data.draw(st.sampled_from(ids))
        before = set(frontier)
        if data.draw(st.booleans()):
            frontier.mark_started(changed)
            running.add(changed)
            assert set(frontier) == before - {changed}
        else:
            states[changed] = data.draw(any_state)
            became_ready = frontier.mark_done(changed, states[changed])
            running.discard(changed)
            assert set(became_ready) == set(frontier) - before
        assert list(frontier) == without_running(graph.ready(states))
        assert len(frontier) == len(list(frontier))
        waiting = [i for i in ids if states[i] is OPEN and i not in running]
        assert frontier.waiting == len(waiting)
        merging = []
        if running:
            one_running = st.sampled_from(sorted(running))
            merging = data.draw(st.lists(one_running, unique=True))
        after_merge = graph.ready({**states, **dict.fromkeys(merging, DONE)})
        assert list(frontier.if_completed(merging)) == without_running(after_merge)


def test_the_smallest_rank_comes_first() -> None:
    tasks = [task(name) for name in "ABC"] + [task("D", depends_on=("A",))]
    ranks = {"A": 2, "B": 1, "C": 2, "D": 0}
    frontier = Frontier(
        TaskGraph(tasks, "p"),
        dict.fromkeys("ABCD", OPEN),
        lambda task_id: (ranks[task_id],),
    )
    assert list(frontier) == ["B", "A", "C"]
    assert frontier.mark_done("A", DONE) == ["D"]
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
