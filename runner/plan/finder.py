"""The plans that a repository has, found where the tools of their formats keep them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from runner.core.errors import FaninError
from runner.core.plurals import pluralize
from runner.core.task import Plan, PlanSettings, Status
from runner.plan import formats
from runner.plan.formats import Tree
from runner.plan.graph import TaskGraph

# A repository with more has the plans of many features, and most of them are done.
MAX_PLANS = 50
# The path of a plan; a group is the folder that is the plan. The first is preferred.
_PLACES = (
    r"tasks\.ya?ml",
    r"\.taskmaster/tasks/tasks\.json",
    r"tasks/tasks\.json",
    r"\.beads/issues\.jsonl",
    r"(backlog|\.backlog)/tasks/[^/]+\.md",
    r"openspec/changes/(?!archive/)[^/]+/tasks\.md",
    r"\.kiro/specs/[^/]+/tasks\.md",
    r"(?:\.specify/)?specs/[^/]+/tasks\.md",
    r"\.ai-sdlc/stories/[^/]+/[^/]+\.md",
    r"(?:[^/]+/)*sprint-status\.yaml",
    r"(?:[^/]+/)*prd\.json",
    r"(?:[^/]+/)*feature_list\.json",
    r"IMPLEMENTATION_PLAN\.md",
    r"PLAN\.md",
    r"TODO\.md",
)


class FoundPlan(NamedTuple):
    """A plan at `path`: its format, how many tasks it has, and how many are open.

    `has_barriers`: in batches, tasks that could start would wait for others of a batch.
    `problem` says why it cannot be read; then it has neither format nor tasks.
    """

    path: str
    source: str = ""
    tasks: int = 0
    open: int = 0
    has_barriers: bool = False
    problem: str | None = None

    def describe(self) -> str:
        """Format and counts in a few words."""
        if self.problem is not None:
            return f"cannot be read: {self.problem}"
        return f"{self.source}, {pluralize(self.tasks, 'task')}, {self.open} open"


def find_plans(paths: Iterable[str], tree: Tree) -> list[FoundPlan]:
    """The plans among the paths, the preferred one first.

    A plan with open tasks precedes a finished one, and one that can be read precedes
    one that cannot; else the order is that of the formats' places. `paths` are those of
    the repository.
    """
    found = []
    for path in plan_paths(paths):
        plan = read_plan(path, tree)
        # A file of such a name need not be a plan.
        if plan is not None:
            found.append(plan)
        if len(found) >= MAX_PLANS:
            break
    return sorted(found, key=_rank)


def read_plan(path: str, tree: Tree) -> FoundPlan | None:
    """The plan at `path`; None if no format takes what is there for a plan."""
    try:
        source = formats.detect(path, tree)
        if source is None:
            return None
        plan = formats.load(PlanSettings(path=path, source=source.name), tree)
    except FaninError as error:
        return FoundPlan(path, problem=str(error).splitlines()[0])
    open_tasks = _open_tasks(plan)
    barriers = False
    with suppress(FaninError):  # the command that runs it says what is wrong
        barriers = has_barriers(TaskGraph(plan.tasks, path), open_tasks)
    return FoundPlan(path, plan.source, len(plan.tasks), len(open_tasks), barriers)


def has_barriers(graph: TaskGraph, open_tasks: Sequence[str], slots: int = 3) -> bool:
    """Whether a batch of several tasks comes before another one, if at most `slots` of
    the open tasks run at once. Then the next one could start before all of it is over.
    """
    are_open = frozenset(open_tasks)
    awaited = {
        task_id: len(are_open.intersection(graph.dependencies(task_id)))
        for task_id in open_tasks
    }
    ready = deque(task_id for task_id in open_tasks if not awaited[task_id])
    remaining = len(open_tasks)
    while ready:
        batch = [ready.popleft() for _ in range(min(slots, len(ready)))]
        remaining -= len(batch)
        if len(batch) > 1 and remaining:
            return True
        for task_id in batch:
            for dependent in graph.dependents(task_id):
                if dependent in awaited:
                    awaited[dependent] -= 1
                    if not awaited[dependent]:
                        ready.append(dependent)
    return False


def _rank(plan: FoundPlan) -> tuple[bool, bool]:
    return plan.problem is not None, plan.open == 0


def plan_paths(paths: Iterable[str]) -> Iterator[str]:
    """The places among the paths at which a plan may be, the preferred one first."""
    remaining = sorted(paths)
    seen = set()
    for pattern in _PLACES:
        place = re.compile(pattern)
        for path in remaining:
            match = place.fullmatch(path)
            if match is None:
                continue
            plan = match[1] if match.groups() else path
            if plan not in seen:
                seen.add(plan)
                yield plan


def _open_tasks(plan: Plan) -> list[str]:
    """The ids of the tasks that are still to be done."""
    ids = []
    for task in plan.tasks:
        done = task.source_status is Status.COMPLETED
        if not (done or task.skipped or task.blocker):
            ids.append(task.id)
    return ids
