"""Selects the tasks of the next batch among those that are ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from runner.core.task import Plan, Task
from runner.policy import globs

_PAIRS = 100_000  # overlapping pairs that `overlapping_pairs` asks the graph about


def overlap(one: Task, other: Task) -> bool:
    """Whether the two tasks' `files` could name one path. Absent `files` overlap with
    nothing (DESIGN, Words).
    """
    if one.files is None or other.files is None:
        return False
    return globs.could_overlap(one.files, other.files)


def choose(
    ready: Sequence[Task],
    slots: int,
    heights: Mapping[str, float],
    running: Sequence[Task] = (),
) -> list[Task]:
    """At most `slots` of the ready tasks, no two that overlap each other or a running
    one; in plan order.

    Taken first: higher priority, then the longer way to the end of the plan, then the
    plan's own order.
    """
    place = {task.id: index for index, task in enumerate(ready)}
    chosen = take(
        sorted(ready, key=lambda t: (*rank(t, heights), place[t.id])), slots, running
    )
    return sorted(chosen, key=lambda t: place[t.id])


def rank(task: Task, heights: Mapping[str, float]) -> tuple[float, float]:
    """What is taken first has the smaller one: higher priority, then the longer way to
    the end of the plan.
    """
    return -task.priority, -heights[task.id]


def take(
    best_first: Iterable[Task], slots: int, running: Sequence[Task] = ()
) -> list[Task]:
    """The first `slots` of the tasks that overlap neither each other nor a running one.
    Looks no further than that.
    """
    chosen: list[Task] = []
    for task in best_first if slots > 0 else ():
        if not any(overlap(task, other) for other in (*chosen, *running)):
            chosen.append(task)
            if len(chosen) >= slots:
                break
    return chosen


def overlapping_pairs(
    plan: Plan, related: Callable[[str, str], bool], most: int = 20
) -> list[tuple[str, str]]:
    """Up to `most` pairs of tasks that the graph would let run side by side and that
    `files` keep apart.

    It is a hint: in a plan where thousands of tasks wait for each other and share their
    files, the search ends early.
    """
    found: list[tuple[str, str]] = []
    with_files = [task for task in plan.tasks if task.files]
    index = globs.Index()
    for task in with_files:
        index.add(task.files or ())
    looked = 0
    for place, one in enumerate(with_files):
        for other in index.overlapping(one.files or ()):
            if len(found) >= most or looked > _PAIRS:
                return found
            looked += 1
            if other > place and not related(one.id, with_files[other].id):
                found.append((one.id, with_files[other].id))
    return found
