"""Properties of schedule.ready queue, over generated inputs."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from runner.core.task import Status
from runner.plan.graph import TaskGraph
from runner.plan.snapshot import Snapshot
from runner.schedule.ready_queue import Frontier, ReadyQueue
from tests.support.builders import quick, task
from tests.support.queue_snapshots import DONE, LIMIT, OPEN, STUCK, recorded, snapshot
from tests.support.scanned_choice import choose


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
        expected = choose(ready, slots, heights, busy)
        assert sorted(picked, key=ready.index) == expected
        if not busy:
            assert queue.pick_batch(slots) == expected
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
            frontier.mark_done(changed, states[changed])
            running.discard(changed)
        assert list(frontier) == without_running(graph.ready(states))
        assert len(frontier) == len(list(frontier))
        waiting = [i for i in ids if states[i] is OPEN and i not in running]
        assert frontier.waiting == len(waiting)
        merging = []
        if running:
            one_running = st.sampled_from(sorted(running))
            merging = data.draw(st.lists(one_running, unique=True))
        after_merge = graph.ready({**states, **dict.fromkeys(merging, DONE)})
        assert list(frontier.ready_after(merging)) == without_running(after_merge)
