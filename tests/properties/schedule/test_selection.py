"""Properties of schedule.selection, over generated inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.core.task import Task
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.schedule import selection
from runner.schedule.ready_queue import ReadyQueue
from tests.support.builders import quick, task
from tests.support.queue_snapshots import snapshot

_FILES = st.none() | st.lists(
    st.sampled_from(["a/x", "a/**", "b", "b/y", "*/x", "c"]), max_size=2
).map(tuple)


def _estimated(one: Task, seconds: float) -> Task:
    return one.model_copy(update={"estimate": seconds})


@quick
@given(st.lists(_FILES, max_size=6), st.integers(1, 4), st.data())
def test_a_batch_is_within_its_limit_without_overlaps_and_as_large_as_possible(
    files: list[tuple[str, ...] | None], slots: int, data: st.DataObject
) -> None:
    tasks = [task(str(n), files=globs) for n, globs in enumerate(files)]
    tasks = [_estimated(each, data.draw(st.floats(1, 9))) for each in tasks]
    queue = ReadyQueue(max_attempts=3)
    queue.sync(snapshot(*tasks), running=())
    chosen = queue.pick_batch(slots)
    assert len(chosen) <= slots
    numbers = [int(candidate.id) for candidate in chosen]
    assert numbers == sorted(set(numbers))
    assert not any(
        selection.overlap(a, b) for a in chosen for b in chosen if a is not b
    )
    if len(chosen) < slots:
        for rejected in (task for task in tasks if task not in chosen):
            assert any(selection.overlap(rejected, taken) for taken in chosen)


@quick
@given(st.lists(_FILES, max_size=8), st.integers(1, 4), st.data())
def test_tasks_that_have_not_conflicted_are_chosen_by_urgency_and_files_alone(
    files: list[tuple[str, ...] | None], slots: int, data: st.DataObject
) -> None:
    tasks = [
        task(str(n), files=globs, priority=data.draw(st.integers(0, 1)))
        for n, globs in enumerate(files)
    ]
    tasks = [_estimated(each, data.draw(st.integers(1, 3))) for each in tasks]
    attempts = {each.id: data.draw(st.integers(0, 3)) for each in tasks}
    progress = Progress(
        "p",
        {
            task_id: Record.model_validate(
                {"status": "failed" if count else "pending", "attempts": count}
            )
            for task_id, count in attempts.items()
        },
    )
    running = [task("R", files=data.draw(_FILES))]
    queue = ReadyQueue(max_attempts=4)
    queue.sync(snapshot(*tasks, progress=progress), running=())
    chosen = queue.pick(slots, running)
    most_urgent_first = sorted(
        tasks, key=lambda each: (-each.priority, -(each.estimate or 0), int(each.id))
    )
    expected: list[Task] = []
    for each in most_urgent_first:
        clear = not any(
            selection.overlap(each, other) for other in [*expected, *running]
        )
        if clear and len(expected) < slots:
            expected.append(each)
    assert chosen == expected
