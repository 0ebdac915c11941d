"""The task graph, the only importer of networkx: what depends on what, what may run, what is stuck and why.

Edges run from a dependency to its dependent. Answers about states take a `states` mapping (task id to
`Standing`), so the graph knows nothing of files, git or attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import networkx as nx

from runner.errors import InvalidInput, Problem
from runner.models import Standing, Task
from runner.validation import nearest

Weight = Callable[[Task], float]
MAX_GUESSES = 50  # comparing spellings is slow; a plan with so many unknown ids has one reason for all


def _one(_: Task) -> float:
    return 1.0


class TaskGraph:
    """A checked graph: every id known, no cycle, at least one task."""

    def __init__(self, tasks: Sequence[Task], path: str) -> None:
        """InvalidInput names every doubled, unknown or self-referring id and every cycle, with its line."""
        self.tasks = {task.id: task for task in tasks}
        problems = [*_id_problems(tasks, path), *_dependency_problems(tasks, path)]
        self._graph: nx.DiGraph[str] = nx.DiGraph()
        self._graph.add_nodes_from(self.tasks)
        self._graph.add_edges_from(
            (dep, task.id) for task in tasks for dep in task.depends_on if dep in self.tasks and dep != task.id
        )
        problems += _cycle_problems(self._graph, self.tasks, path)
        if problems:
            raise InvalidInput(problems)
        self._place = {task_id: place for place, task_id in enumerate(self.tasks)}
        self._order = tuple(nx.lexicographical_topological_sort(self._graph, key=self._place.__getitem__))

    def dependencies(self, task_id: str) -> tuple[str, ...]:
        """Ids that `task_id` needs directly, in plan order."""
        return self._in_plan_order(self._graph.predecessors(task_id))

    def dependents(self, task_id: str) -> tuple[str, ...]:
        """Ids that need `task_id` directly, in plan order."""
        return self._in_plan_order(self._graph.successors(task_id))

    @property
    def edges(self) -> int:
        return self._graph.number_of_edges()

    @property
    def roots(self) -> tuple[str, ...]:
        return tuple(task_id for task_id in self.tasks if self._graph.in_degree(task_id) == 0)

    @property
    def leaves(self) -> tuple[str, ...]:
        return tuple(task_id for task_id in self.tasks if self._graph.out_degree(task_id) == 0)

    def order(self) -> tuple[str, ...]:
        """All ids, dependencies first; plan order wherever the graph leaves a choice."""
        return self._order

    def related(self, one: str, other: str) -> bool:
        """Whether one of the two must wait for the other."""
        return bool(nx.has_path(self._graph, one, other) or nx.has_path(self._graph, other, one))

    def waves(self, among: Iterable[str] | None = None) -> list[tuple[str, ...]]:
        """What the graph would allow side by side with no cap: the generations, each in plan order.

        `among`: the tasks that are still to do; what they wait for besides counts as done.
        """
        graph = self._graph if among is None else self._graph.subgraph(among)
        return [self._in_plan_order(wave) for wave in nx.topological_generations(graph)]

    def heights(self, weight: Weight = _one) -> dict[str, float]:
        """For each task the heaviest way from its start to the end of the plan, itself included."""
        heights: dict[str, float] = {}
        for task_id in reversed(self._order):
            below = max((heights[after] for after in self._graph.successors(task_id)), default=0.0)
            heights[task_id] = weight(self.tasks[task_id]) + below
        return heights

    def critical_path(self, weight: Weight = _one) -> tuple[str, ...]:
        """Ids along a heaviest chain of dependencies; the plan cannot end sooner than their sum."""
        heights = self.heights(weight)
        path: list[str] = []
        choices: Iterable[str] = self.roots
        while choices := list(choices):
            path.append(max(choices, key=lambda task_id: (heights[task_id], -self._place[task_id])))
            choices = self._graph.successors(path[-1])
        return tuple(path)

    def ready(self, states: Mapping[str, Standing]) -> tuple[str, ...]:
        """Open tasks all of whose dependencies are completed, in plan order. AND, never any."""
        return tuple(
            task_id
            for task_id in self.tasks
            if states[task_id] is Standing.OPEN
            and all(states[dep] is Standing.COMPLETED for dep in self._graph.predecessors(task_id))
        )

    def blocked(self, states: Mapping[str, Standing]) -> dict[str, tuple[str, ...]]:
        """Open tasks that cannot run any more, each with the stuck tasks that are the reason."""
        reasons: dict[str, set[str]] = {}
        for task_id in self._order:
            mine: set[str] = set()
            for dep in self._graph.predecessors(task_id):
                mine |= {dep} if states[dep] is Standing.STUCK else reasons.get(dep, set())
            if mine and states[task_id] is Standing.OPEN:
                reasons[task_id] = mine
        return {task_id: self._in_plan_order(reasons[task_id]) for task_id in self.tasks if task_id in reasons}

    def _in_plan_order(self, ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(ids, key=self._place.__getitem__))


def _id_problems(tasks: Sequence[Task], path: str) -> list[Problem]:
    if not tasks:
        return [Problem(path, 1, "no tasks found", "a plan needs at least one task")]
    first: dict[str, Task] = {}
    problems = []
    for task in tasks:
        if task.id in first:
            problems.append(
                Problem(
                    task.path or path,
                    task.line,
                    f"the id {task.id} is used a second time (first on line {first[task.id].line})",
                    "give every task an id of its own",
                )
            )
        first.setdefault(task.id, task)
    return problems


def _dependency_problems(tasks: Sequence[Task], path: str) -> list[Problem]:
    known = {task.id for task in tasks}
    problems = []
    for task in tasks:
        for dep in task.depends_on:
            if dep == task.id:
                problems.append(
                    Problem(task.path or path, task.line, f"{task.id} depends on itself", f"remove {dep} there")
                )
            elif dep not in known:
                guess = nearest(dep, known) if len(problems) < MAX_GUESSES else None
                remedy = f"did you mean {guess}?" if guess else "name a task of this plan"
                problems.append(
                    Problem(
                        task.path or path, task.line, f"{task.id} depends on {dep}, which is not in the plan", remedy
                    )
                )
    return problems


def _cycle_problems(graph: nx.DiGraph[str], tasks: Mapping[str, Task], path: str) -> list[Problem]:
    problems = []
    for component in nx.strongly_connected_components(graph):
        if len(component) > 1:
            first = min(component, key=list(tasks).index)
            edges = nx.find_cycle(graph.subgraph(component), first)
            # Edges run dependency → dependent; people read "T2 needs T4 needs T2", so the ring is turned round.
            ring = [edges[0][0], *[edge[0] for edge in reversed(edges)]]
            problems.append(
                Problem(
                    tasks[ring[0]].path or path,
                    tasks[ring[0]].line,
                    f"dependency cycle: {' → '.join(ring)}",
                    "remove one of these dependencies",
                )
            )
    return problems
