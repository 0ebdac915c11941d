"""Selects the tasks of the next batch from the ready ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from runner.core.task import Plan, Task
from runner.plan.progress import PastConflicts
from runner.policy import globs

PastConflictsOf = Callable[[Task], PastConflicts]
MayStart = Callable[[Task], bool]

# How many overlapping pairs are looked up in the graph before the search gives up.
_MAX_PAIRS = 100_000


def overlap(first: Task, second: Task) -> bool:
    """Whether the `files` of the two tasks could match one path.

    A task without `files` overlaps with nothing: a conflict shows in the merge.
    """
    if first.files is None or second.files is None:
        return False
    return globs.could_overlap(first.files, second.files)


def no_conflicts(_task: Task) -> PastConflicts:
    """For tasks none of which has ever conflicted."""
    return PastConflicts()


def any_task(_task: Task) -> bool:
    """For a caller whose tasks may all start."""
    return True


def must_run_apart(
    first: Task, second: Task, past_conflicts: PastConflictsOf = no_conflicts
) -> bool:
    """Whether the two tasks overlap, or have conflicted where they could meet again."""
    if overlap(first, second):
        return True
    if past_conflicts is no_conflicts:
        return False
    ours, theirs = past_conflicts(first), past_conflicts(second)
    if not ours.paths and not theirs.paths:
        return False
    if ours.alone and _is_unknown(second, theirs):
        return True
    if theirs.alone and _is_unknown(first, ours):
        return True
    return (
        _declares(first, theirs.paths)
        or _declares(second, ours.paths)
        or _meet(ours.paths, theirs.paths)
    )


def _is_unknown(task: Task, past: PastConflicts) -> bool:
    """Whether nothing is known of the paths that the task will change."""
    return task.files is None and not past.paths


def _declares(task: Task, paths: Sequence[str]) -> bool:
    if task.files is None:
        return False
    return any(globs.matches(task.files, path) for path in paths)


def _meet(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether a path is in both, or a folder in one and a file in the other."""
    for our_path in ours:
        for their_path in theirs:
            if f"{our_path}/".startswith(f"{their_path}/"):
                return True
            if f"{their_path}/".startswith(f"{our_path}/"):
                return True
    return False


def rank(task: Task, heights: Mapping[str, float]) -> tuple[float, float]:
    """The sort key of a task; the smallest is the most urgent.

    Higher priority first, then the longer chain to the end of the plan.
    """
    return -task.priority, -heights[task.id]


def take(
    candidates: Iterable[Task],
    slots: int,
    running: Sequence[Task] = (),
    past_conflicts: PastConflictsOf = no_conflicts,
) -> list[Task]:
    """The first `slots` candidates that need not run apart from each other or `running`.

    Consumes no more candidates than that takes.
    """
    taken: list[Task] = []
    if slots <= 0:
        return taken
    others = list(running)
    for task in candidates:
        if _may_run_beside(task, others, past_conflicts):
            taken.append(task)
            others.append(task)
            if len(taken) >= slots:
                break
    return taken


def _may_run_beside(
    task: Task, others: Iterable[Task], past_conflicts: PastConflictsOf
) -> bool:
    """Whether the task need not run apart from any of the others."""
    if past_conflicts is not no_conflicts:
        return not any(must_run_apart(task, other, past_conflicts) for other in others)
    # The same, where only `files` count; most plans have no conflicts.
    if task.files is None:
        return True
    declared = [other.files for other in others if other.files is not None]
    return not globs.overlaps_one_of(task.files, declared)


def overlapping_pairs(
    plan: Plan, related: Callable[[str, str], bool], limit: int = 20
) -> list[tuple[str, str]]:
    """Up to `limit` pairs of ids that only their overlapping `files` keep apart.

    `related` tells whether one of two tasks waits for the other. The result is a hint:
    the search stops early where thousands of tasks share files and wait for each other.
    """
    tasks = [task for task in plan.tasks if task.files]
    index = globs.Index()
    for task in tasks:
        index.add(task.files or ())
    pairs: list[tuple[str, str]] = []
    examined = 0
    for position, task in enumerate(tasks):
        for match in index.overlapping(task.files or ()):
            if len(pairs) >= limit or examined > _MAX_PAIRS:
                return pairs
            examined += 1
            # Each pair is found from both sides and counts once.
            if match > position and not related(task.id, tasks[match].id):
                pairs.append((task.id, tasks[match].id))
    return pairs
