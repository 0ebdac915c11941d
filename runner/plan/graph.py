"""The task graph: what depends on what, what may run, what is stuck and why.

Edges run from a dependency to its dependent. Questions about progress take a `states`
mapping (task id → `Standing`), so the graph knows nothing of files, git or attempts.
Only this module imports networkx.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from runner.core import gc_pause
from runner.core.errors import InvalidInput, Problem
from runner.core.plurals import some_of
from runner.core.task import Standing, Task
from runner.core.validation import nearest

if TYPE_CHECKING:
    import networkx as nx

Weight = Callable[[Task], float]

# Comparing spellings is slow, and a plan with more unknown ids than this has one cause.
MAX_GUESSES = 50
# Stuck tasks that are named as the reason why a task is blocked.
_MAX_BLOCKERS = 5
# Characters of their ids after which no other is named: thousands of tasks may wait for
# the same ones.
_ENOUGH_TEXT = 60


def _unit_weight(_: Task) -> float:
    return 1.0


class Blockers(NamedTuple):
    """The stuck tasks that a task waits for: the first in plan order, and how many."""

    first: tuple[str, ...]
    number: int

    def __str__(self) -> str:
        return some_of(self.first, self.number)


class TaskGraph:
    """A validated graph: every dependency is in the plan and there is no cycle.

    The questions that commands ask (order, waves, ready, heights) are answered from
    dictionaries. networkx takes longer to import than a small plan takes to check, so
    it is imported only to find cycles.
    """

    def __init__(self, tasks: Sequence[Task], path: str) -> None:
        """Build the graph of `tasks`, read from the plan at `path`.

        Raises InvalidInput with every duplicate id, unknown id, self-dependency and
        cycle.
        """
        with gc_pause.paused():
            self._build(tasks, path)

    def _build(self, tasks: Sequence[Task], path: str) -> None:
        self.tasks = {task.id: task for task in tasks}
        self._position = {task_id: index for index, task_id in enumerate(self.tasks)}
        self._dependencies: dict[str, list[str]] = {
            task_id: [] for task_id in self.tasks
        }
        self._dependents: dict[str, list[str]] = {task_id: [] for task_id in self.tasks}
        # Whether every dependency precedes its dependents in the plan.
        self._is_sorted = True
        # The last answer of `related`: a task id and all ids that are related to it.
        self._relatives: tuple[str, set[str]] | None = None

        problems: list[Problem] = []
        duplicate_ids: set[str] = set()
        if len(self.tasks) < len(tasks):
            problems += _duplicate_problems(tasks, path)
            duplicate_ids = _duplicate_ids(tasks)
        if not self._connect(tasks):
            problems += _dependency_problems(tasks, path, duplicate_ids)
        self._order = self._topological_order()
        if len(self._order) < len(self.tasks):
            problems += self._cycle_problems(path, duplicate_ids)
        if problems:
            raise InvalidInput(problems)

    def _connect(self, tasks: Sequence[Task]) -> bool:
        """Record the edges. Returns whether every dependency is another task."""
        position = self._position
        valid = True
        for task in tasks:
            if not task.waits_for:
                continue
            own_position = position[task.id]
            dependencies = self._dependencies[task.id]
            for dependency in dict.fromkeys(task.waits_for):
                # An unknown id gets the task's own position: both are invalid.
                dependency_position = position.get(dependency, own_position)
                if dependency_position == own_position:
                    valid = False
                    continue
                dependencies.append(dependency)
                self._dependents[dependency].append(task.id)
                if dependency_position > own_position:
                    self._is_sorted = False
        return valid

    def _topological_order(self) -> tuple[str, ...]:
        """Dependencies first, plan order otherwise; without tasks that wait on a cycle."""
        if self._is_sorted:
            return tuple(self.tasks)
        ids, position = list(self.tasks), self._position
        unmet = {task_id: len(deps) for task_id, deps in self._dependencies.items()}
        # A heap of positions. An ascending list is a valid heap.
        free = [position[task_id] for task_id, count in unmet.items() if count == 0]
        order = []
        while free:
            task_id = ids[heappop(free)]
            order.append(task_id)
            for dependent in self._dependents[task_id]:
                unmet[dependent] -= 1
                if unmet[dependent] == 0:
                    heappush(free, position[dependent])
        return tuple(order)

    @cached_property
    def _graph(self) -> nx.DiGraph[str]:
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.tasks)
        for task_id, dependencies in self._dependencies.items():
            for dependency in dependencies:
                graph.add_edge(dependency, task_id)
        return graph

    def position(self, task_id: str) -> int:
        """The index of the task in the plan, from 0."""
        return self._position[task_id]

    def dependencies(self, task_id: str) -> tuple[str, ...]:
        """Ids of the tasks that this one depends on directly, in plan order."""
        return self._in_plan_order(self._dependencies[task_id])

    def dependents(self, task_id: str) -> tuple[str, ...]:
        """Ids of the tasks that depend on this one directly, in plan order."""
        # The tasks were connected in plan order.
        return tuple(self._dependents[task_id])

    def ancestors(self, task_id: str) -> set[str]:
        """The ids of all tasks that must be completed before this one may start."""
        return _reachable(task_id, self._dependencies)

    @property
    def edges(self) -> int:
        """The number of dependencies."""
        return sum(map(len, self._dependencies.values()))

    @property
    def roots(self) -> tuple[str, ...]:
        """Ids of the tasks without dependencies, in plan order."""
        return tuple(
            task_id
            for task_id, dependencies in self._dependencies.items()
            if not dependencies
        )

    def order(self) -> tuple[str, ...]:
        """All ids, dependencies first; plan order wherever the graph leaves a choice."""
        return self._order

    def related(self, task_id: str, other_id: str) -> bool:
        """Whether one of the two must wait for the other, or both are the same task."""
        # Callers ask about one task many times in a row, and then never again.
        if self._relatives is None or self._relatives[0] != task_id:
            ancestors = _reachable(task_id, self._dependencies)
            descendants = _reachable(task_id, self._dependents)
            self._relatives = (task_id, {task_id} | ancestors | descendants)
        return other_id in self._relatives[1]

    def waves(self, remaining: Iterable[str] | None = None) -> list[tuple[str, ...]]:
        """The generations of the graph: what could run side by side without a limit.

        Only `remaining` tasks if given; their dependencies outside it count as done.
        """
        members = self.tasks.keys() if remaining is None else set(remaining)
        generations: dict[str, int] = {}
        waves: list[list[str]] = []
        for task_id in self._order:
            if task_id not in members:
                continue
            generation = 0
            for dependency in self._dependencies[task_id]:
                if dependency in generations:
                    generation = max(generation, generations[dependency] + 1)
            generations[task_id] = generation
            if generation == len(waves):
                waves.append([])
            waves[generation].append(task_id)
        return [self._in_plan_order(wave) for wave in waves]

    def heights(self, weight: Weight = _unit_weight) -> dict[str, float]:
        """Task id → weight of the heaviest chain from its start to the plan's end."""
        heights: dict[str, float] = {}
        for task_id in reversed(self._order):
            height = weight(self.tasks[task_id])
            dependents = self._dependents[task_id]
            if dependents:
                height += max(map(heights.__getitem__, dependents))
            heights[task_id] = height
        return heights

    def critical_path(self, weight: Weight = _unit_weight) -> tuple[str, ...]:
        """Ids along a heaviest chain; the plan cannot take less than their sum."""
        heights = self.heights(weight)

        def height_then_position(task_id: str) -> tuple[float, int]:
            return heights[task_id], -self._position[task_id]

        path: list[str] = []
        candidates: Sequence[str] = self.roots
        while candidates:
            heaviest = max(candidates, key=height_then_position)
            path.append(heaviest)
            candidates = self._dependents[heaviest]
        return tuple(path)

    def ready(
        self, states: Mapping[str, Standing], standing: Standing = Standing.OPEN
    ) -> tuple[str, ...]:
        """Tasks of this standing whose dependencies are all completed, in plan order."""
        completed = set()
        for task_id, state in states.items():
            if state is Standing.COMPLETED:
                completed.add(task_id)
        ready = []
        for task_id, dependencies in self._dependencies.items():
            if states[task_id] is standing and completed.issuperset(dependencies):
                ready.append(task_id)
        return tuple(ready)

    def unmet(self, states: Mapping[str, Standing]) -> dict[str, int]:
        """Task id → how many of its direct dependencies are not completed."""
        unmet = {}
        for task_id, dependencies in self._dependencies.items():
            count = 0
            for dependency in dependencies:
                count += states[dependency] is not Standing.COMPLETED
            unmet[task_id] = count
        return unmet

    def blocked(
        self, states: Mapping[str, Standing], by: Standing = Standing.STUCK
    ) -> dict[str, Blockers]:
        """Tasks that wait for tasks of the standing `by`, at any distance → which those
        are. By default they can no longer run.
        """
        # Sets as numbers: bit n is the n-th stuck task. Thousands of tasks may wait for
        # thousands of stuck ones.
        stuck_ids = [task_id for task_id in self.tasks if states[task_id] is by]
        bits = {task_id: 1 << n for n, task_id in enumerate(stuck_ids)}
        reasons: dict[str, int] = {}
        for task_id in self._order:
            if not states[task_id].may_run:
                continue
            stuck = 0
            for dependency in self._dependencies[task_id]:
                if dependency in bits:
                    stuck |= bits[dependency]
                elif dependency in reasons:
                    stuck |= reasons[dependency]
            if stuck:
                reasons[task_id] = stuck
        return {
            task_id: _blockers(reasons[task_id], stuck_ids)
            for task_id in self.tasks
            if task_id in reasons
        }

    def _in_plan_order(self, ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(ids, key=self._position.__getitem__))

    def _cycle_problems(self, path: str, duplicate_ids: set[str]) -> list[Problem]:
        """One problem for each group of tasks that depend on each other.

        A group with an id of `duplicate_ids` is left out: it is unclear whether its tasks
        really depend on each other.
        """
        import networkx as nx

        problems = []
        for component in nx.strongly_connected_components(self._graph):
            if len(component) == 1 or not duplicate_ids.isdisjoint(component):
                continue
            first = min(component, key=self._position.__getitem__)
            edges = nx.find_cycle(self._graph.subgraph(component), first)
            # Edges run from dependency to dependent, but "T2 → T4 → T2" is read as "T2
            # needs T4 needs T2", so the cycle is reversed. It need not contain `first`.
            start = edges[0][0]
            cycle = [start, *[edge[0] for edge in reversed(edges)]]
            problems.append(
                _problem(
                    self.tasks[start],
                    path,
                    f"dependency cycle: {' → '.join(cycle)}",
                    "remove one of these dependencies",
                )
            )
        return problems


def _reachable(start: str, edges: Mapping[str, Sequence[str]]) -> set[str]:
    """All ids that can be reached from `start`, without `start` itself."""
    reached: set[str] = set()
    pending = list(edges[start])
    while pending:
        task_id = pending.pop()
        if task_id not in reached:
            reached.add(task_id)
            pending += edges[task_id]
    return reached


def _duplicate_problems(tasks: Sequence[Task], path: str) -> list[Problem]:
    first_lines: dict[str, int | None] = {}
    problems = []
    for task in tasks:
        if task.id not in first_lines:
            first_lines[task.id] = task.line
            continue
        what = (
            f"the id {task.id} is used a second time "
            f"(first on line {first_lines[task.id]})"
        )
        problems.append(_problem(task, path, what, "give every task its own id"))
    return problems


def _duplicate_ids(tasks: Sequence[Task]) -> set[str]:
    counts = Counter(task.id for task in tasks)
    return {task_id for task_id, count in counts.items() if count > 1}


def _dependency_problems(
    tasks: Sequence[Task], path: str, duplicate_ids: set[str]
) -> list[Problem]:
    ids = {task.id for task in tasks}
    problems: list[Problem] = []
    for task in tasks:
        for dependency in task.depends_on:
            if dependency == task.id:
                # It may mean the other task with the same id.
                if task.id in duplicate_ids:
                    continue
                what = f"{task.id} depends on itself"
                remedy = f"remove {dependency} from its dependencies"
            elif dependency not in ids:
                what = f"{task.id} depends on {dependency}, which is not in the plan"
                remedy = "name a task of this plan"
                guess = None
                if len(problems) < MAX_GUESSES:
                    guess = nearest(dependency, ids)
                if guess:
                    remedy = f"did you mean {guess}?"
            else:
                continue
            problems.append(_problem(task, path, what, remedy))
    return problems


def _problem(task: Task, path: str, what: str, remedy: str) -> Problem:
    return Problem(task.path or path, task.line, what, remedy)


def _blockers(bits: int, stuck_ids: Sequence[str]) -> Blockers:
    first: list[str] = []
    length = 0
    rest = bits
    while rest and len(first) < _MAX_BLOCKERS and length < _ENOUGH_TEXT:
        lowest = rest & -rest
        first.append(stuck_ids[lowest.bit_length() - 1])
        length += len(first[-1])
        rest ^= lowest
    return Blockers(tuple(first), bits.bit_count())
