"""What may run next is the same, whether it is kept up to date or looked up in the
whole plan.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.task import Standing, Status, Task
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress, Record
from runner.plan.snapshot import Snapshot
from runner.schedule import selection
from runner.schedule.ready_queue import ReadyQueue
from tests.support.builders import plan, task

LIMIT = 2


def snapshot(*tasks: Task, progress: Progress | None = None) -> Snapshot:
    made = plan(*tasks)
    return Snapshot(
        "0" * 40,
        made,
        TaskGraph(made.tasks, made.path),
        progress or Progress(made.path),
    )


def recorded(known: Progress, task_id: str, status: Status) -> Progress:
    attempts = known.records.get(task_id, Record()).attempts + 1
    return known.with_records({task_id: Record(status=status, attempts=attempts)})


@given(st.data())
def test_following_a_run_task_by_task_finds_what_the_whole_plan_says(
    data: st.DataObject,
) -> None:
    ids = [f"T{place}" for place in range(data.draw(st.integers(1, 7)))]
    tasks = [
        task(
            name,
            depends_on=data.draw(st.lists(st.sampled_from(ids[:place]), unique=True))
            if place
            else [],
            files=data.draw(st.sampled_from([None, ("a",), ("b",)])),
            priority=data.draw(st.integers(0, 1)),
            estimate=data.draw(st.sampled_from([None, 1.0, 9.0])),
        )
        for place, name in enumerate(ids)
    ]
    head = snapshot(*tasks)
    upcoming, running = ReadyQueue(LIMIT), list[str]()
    for _ in range(data.draw(st.integers(1, 15))):
        upcoming.sync(head, running)
        busy = [head.graph.tasks[name] for name in running]
        standings = head.progress.standings(head.plan, LIMIT)
        ready = [
            head.graph.tasks[name]
            for name in head.graph.ready(standings)
            if name not in running
        ]
        heights = head.graph.heights(head.progress.expected_seconds)
        slots = data.draw(st.integers(0, 3))
        found = upcoming.pick(slots, busy)
        assert sorted(found, key=ready.index) == selection.choose(
            ready, slots, heights, busy
        )
        if running and data.draw(st.sampled_from([True, False])):
            name = running.pop(data.draw(st.integers(0, len(running) - 1)))
            status = data.draw(st.sampled_from([Status.COMPLETED, Status.FAILED, None]))
            # None: not counted
            progress = (
                recorded(head.progress, name, status) if status else head.progress
            )
            upcoming.mark_done(name, progress)
            head = Snapshot(head.commit, head.plan, head.graph, progress)
        elif found:
            upcoming.mark_started(found[0].id)
            running.append(found[0].id)


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
def test_a_slot_is_kept_for_a_more_urgent_task_whose_dependency_is_being_merged(
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
    upcoming = ReadyQueue(LIMIT)
    upcoming.sync(head, "XY")
    assert [one.id for one in upcoming.pick_during_merge(ending, slots, [])] == starts


def test_a_head_that_somebody_else_moved_is_looked_through_anew() -> None:
    head = snapshot(task("A"), task("B", depends_on=("A",)))
    upcoming = ReadyQueue(LIMIT)
    upcoming.sync(head, [])
    assert (upcoming.waiting, [one.id for one in upcoming.pick(9, [])]) == (2, ["A"])
    moved = snapshot(
        task("B"), task("C"), progress=recorded(head.progress, "C", Status.COMPLETED)
    )
    upcoming.sync(moved, ["gone"])
    assert (upcoming.waiting, [one.id for one in upcoming.pick(9, [])]) == (1, ["B"])


def test_a_plan_is_looked_through_once_while_its_tasks_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []
    standings = Progress.standings

    def counted(known: Progress, *how: Any) -> dict[str, Standing]:
        looks.append(1)
        return standings(known, *how)

    monkeypatch.setattr(Progress, "standings", counted)
    names = [f"T{place}" for place in range(50)]
    head, upcoming = snapshot(*(task(name) for name in names)), ReadyQueue(LIMIT)
    for name in names:
        upcoming.sync(head, [])
        assert upcoming.pick(1, []) == [head.graph.tasks[name]]
        upcoming.mark_started(name)
        head = Snapshot(
            head.commit,
            head.plan,
            head.graph,
            recorded(head.progress, name, Status.COMPLETED),
        )
        upcoming.mark_done(name, head.progress)
    assert looks == [1]


def test_a_slot_is_kept_for_no_task_after_one_that_is_no_longer_in_the_plan() -> None:
    upcoming = ReadyQueue(LIMIT)
    upcoming.sync(snapshot(task("A")), ["gone"])
    assert [one.id for one in upcoming.pick_during_merge(["gone"], 1, [])] == ["A"]
