"""Takes landed tasks out of a tree again, by a three-way merge.

The tree without a task is what the merge of its batch would have made without it. It is
merged with the branch's present tree, on the tree that the batch made. Pure: the caller
passes the git operations as `union.Trees`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from runner.core.manifest import BatchEntry
from runner.core.task import Task
from runner.fan_in.union import Blob, Candidate, Trees, unite
from runner.policy.change import Change

# A line of `Record.changed`.
_COUNTED = re.compile(r"(?P<path>.+) \+(?:\d+|-) -(?:\d+|-)")


class Step(NamedTuple):
    """A task's own change: the tree that it started from, and the one that it made."""

    task: str
    base: str
    tree: str


@dataclass(frozen=True)
class Landed:
    """Tasks that landed together: the branch's tree before and after, and the tasks' own
    changes in the order in which they were merged.
    """

    before: str
    after: str
    steps: tuple[Step, ...]


class Obstacle(NamedTuple):
    """Why tasks cannot be taken out: the paths of the conflict."""

    paths: tuple[str, ...]


def take_out(
    head: str, landed: Landed, tasks: Collection[str], trees: Trees
) -> str | Obstacle:
    """The tree `head` without the tasks' changes, or what git cannot decide."""
    without = tree_without(landed, tasks, trees)
    if isinstance(without, Obstacle):
        return without
    # Nothing came after: no merge that might take one file for another.
    if head == landed.after:
        return without
    merged = trees.merge_trees(landed.after, head, without)
    return merged if isinstance(merged, str) else Obstacle(tuple(merged.paths))


def tree_without(
    landed: Landed, tasks: Collection[str], trees: Trees
) -> str | Obstacle:
    """The tree that would have landed without the tasks."""
    remaining = [step for step in landed.steps if step.task not in tasks]
    tree = landed.before
    for base, steps in groupby(remaining, key=lambda step: step.base):
        candidates = [
            Candidate(
                _entry(number, step.task), step.tree, trees.changes(base, step.tree)
            )
            for number, step in enumerate(steps)
        ]
        for outcome in unite(base, tree, candidates, trees, tree_per_task=False):
            if outcome.failure is not None:
                return Obstacle(outcome.failure.paths)
            tree = outcome.tree or tree
    return tree


def _entry(number: int, task_id: str) -> BatchEntry:
    """An entry of which the merge reads the task's id alone."""
    task = Task.model_construct(id=task_id, title=task_id)
    fields: dict[str, Any] = {"index": number, "task": task}
    return BatchEntry.model_construct(**fields)


def changes_by_task(
    changes: Sequence[Change], changed: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Blob | None]] | None:
    """Which of the changes of a landing are whose, as path → the new blob.

    `changed` has the lines of each task's record about its files. None if these do not
    say of each change which one task made it.
    """
    if len(changed) == 1:
        made = {change.path: change.new for change in changes}
        return dict.fromkeys(changed, made)
    owners: dict[str, list[str]] = {}
    for task, lines in changed.items():
        for path in named_paths(lines) or ():
            owners.setdefault(path, []).append(task)
    own: dict[str, dict[str, Blob | None]] = {task: {} for task in changed}
    for change in changes:
        tasks = owners.pop(change.path, [])
        if len(tasks) != 1:
            return None
        own[tasks[0]][change.path] = change.new
    # A path that several changed may be as it was: each took back what the other did.
    if any(len(tasks) > 1 for tasks in owners.values()):
        return None
    return own


def steps_by_path(
    before: str,
    changes: Sequence[Change],
    changed: Mapping[str, Sequence[str]],
    trees: Trees,
) -> tuple[Step, ...] | None:
    """The steps of tasks that landed together on the tree `before` and changed different
    files; None if nobody knows which, as `changes_by_task`.
    """
    own = changes_by_task(changes, changed)
    if own is None:
        return None
    return tuple(
        Step(task, before, trees.write_tree(before, paths) if paths else before)
        for task, paths in own.items()
    )


def named_paths(changed: Sequence[str]) -> tuple[str, ...] | None:
    """The paths in lines such as `src/a.py +3 -1`; None unless the lines have them all."""
    paths = []
    for line in changed:
        match = _COUNTED.fullmatch(line)
        if match is None:
            return None
        paths.append(match["path"])
    return tuple(paths)
