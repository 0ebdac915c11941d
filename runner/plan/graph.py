"""The task graph, the only importer of networkx: what depends on what, what may run,
what is stuck and why.

Edges run from a dependency to its dependent. Answers about states take a `states`
mapping (task id to `Standing`), so the graph knows nothing of files, git or attempts.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from heapq import heappop, heappush, merge
from typing import TYPE_CHECKING, Any

from runner.core import gc_pause
from runner.core.errors import InvalidInput, Problem
from runner.core.task import Standing, Task
from runner.core.validation import nearest

if TYPE_CHECKING:
    import networkx as nx

Weight = Callable[[Task], float]
Rank = Callable[[str], tuple[float, ...]]
# comparing spellings is slow; a plan with so many unknown ids has one reason for all
MAX_GUESSES = 50


def _one(_: Task) -> float:
    return 1.0


class TaskGraph:
    """A checked graph: every id known, no cycle, at least one task.

    What every command asks (order, ready, heights) is answered from two mappings.
    networkx, which takes longer to import than a small plan takes to check, is asked
    for the rest: which tasks form a cycle, waves, ways.
    """

    def __init__(self, tasks: Sequence[Task], path: str) -> None:
        """InvalidInput names every doubled, unknown or self-referring id and every
        cycle, with its line.
        """
        with gc_pause.paused():
            self._build(tasks, path)

    def _build(self, tasks: Sequence[Task], path: str) -> None:
        self.tasks = {task.id: task for task in tasks}
        self._relatives: dict[str, set[str]] = {}
        self._in_order = True  # whether every dependency stands before its dependents
        self._place = {task_id: place for place, task_id in enumerate(self.tasks)}
        self._needs: dict[str, list[str]] = {task_id: [] for task_id in self.tasks}
        self._feeds: dict[str, list[str]] = {task_id: [] for task_id in self.tasks}
        problems = (
            _id_problems(tasks, path)
            if len(self.tasks) < len(tasks) or not tasks
            else []
        )
        if not self._connect(tasks):
            problems += _dependency_problems(tasks, path)
        self._order = self._sorted()
        if len(self._order) < len(self.tasks):
            problems += _cycle_problems(self._graph, self.tasks, self._place, path)
        if problems:
            raise InvalidInput(problems)

    def _connect(self, tasks: Sequence[Task]) -> bool:
        """Note who needs whom; whether every dependency is another task of the plan."""
        needs, feeds, place, sound = self._needs, self._feeds, self._place, True
        for task in tasks:
            task_id, wanted = task.id, task.depends_on
            if not wanted:
                continue
            mine, here = needs[task_id], place[task_id]
            for dep in wanted if len(wanted) == 1 else dict.fromkeys(wanted):
                there = place.get(dep, here)
                if there == here:
                    sound = False
                    continue
                mine.append(dep)
                feeds[dep].append(task_id)
                if there > here:
                    self._in_order = False
        return sound

    def _sorted(self) -> tuple[str, ...]:
        """Dependencies first, plan order where there is a choice; without the tasks
        that wait for a cycle.
        """
        if self._in_order:
            return tuple(self.tasks)
        ids, place, feeds = list(self.tasks), self._place, self._feeds
        left = {task_id: len(needs) for task_id, needs in self._needs.items()}
        # in order, which a heap may be
        free = [place[task_id] for task_id, count in left.items() if not count]
        order = []
        while free:
            task_id = ids[heappop(free)]
            order.append(task_id)
            for after in feeds[task_id]:
                left[after] -= 1
                if not left[after]:
                    heappush(free, place[after])
        return tuple(order)

    @cached_property
    def _graph(self) -> nx.DiGraph[str]:
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.tasks)
        graph.add_edges_from(
            (dep, task_id) for task_id, needs in self._needs.items() for dep in needs
        )
        return graph

    def dependencies(self, task_id: str) -> tuple[str, ...]:
        """Ids that `task_id` needs directly, in plan order."""
        return self._in_plan_order(self._needs[task_id])

    def dependents(self, task_id: str) -> tuple[str, ...]:
        """Ids that need `task_id` directly, in plan order."""
        return self._in_plan_order(self._feeds[task_id])

    @property
    def edges(self) -> int:
        return sum(map(len, self._needs.values()))

    @property
    def roots(self) -> tuple[str, ...]:
        return tuple(task_id for task_id, needs in self._needs.items() if not needs)

    def order(self) -> tuple[str, ...]:
        """All ids, dependencies first; plan order wherever the graph leaves a choice."""
        return self._order

    def related(self, one: str, other: str) -> bool:
        """Whether one of the two must wait for the other."""
        if one not in self._relatives:
            # the next questions are about the same task, or about another one for good
            self._relatives.clear()
            self._relatives[one] = (
                {one} | _reached(one, self._needs) | _reached(one, self._feeds)
            )
        return other in self._relatives[one]

    def waves(self, among: Iterable[str] | None = None) -> list[tuple[str, ...]]:
        """What the graph would allow side by side with no cap: the generations, each in
        plan order.

        `among`: the tasks that are still to do; what they wait for besides counts as
        done.
        """
        import networkx as nx

        graph = self._graph if among is None else self._graph.subgraph(among)
        return [self._in_plan_order(wave) for wave in nx.topological_generations(graph)]

    def heights(self, weight: Weight = _one) -> dict[str, float]:
        """For each task the heaviest way from its start to the end of the plan, itself
        included.
        """
        heights: dict[str, float] = {}
        tasks, feeds = self.tasks, self._feeds
        height = heights.__getitem__
        for task_id in reversed(self._order):
            after = feeds[task_id]
            heights[task_id] = weight(tasks[task_id]) + (
                max(map(height, after)) if after else 0.0
            )
        return heights

    def critical_path(self, weight: Weight = _one) -> tuple[str, ...]:
        """Ids along a heaviest chain of dependencies; the plan cannot end sooner than
        their sum.
        """
        heights = self.heights(weight)
        path: list[str] = []
        choices: Iterable[str] = self.roots
        while choices := list(choices):
            path.append(
                max(
                    choices,
                    key=lambda task_id: (heights[task_id], -self._place[task_id]),
                )
            )
            choices = self._feeds[path[-1]]
        return tuple(path)

    def ready(self, states: Mapping[str, Standing]) -> tuple[str, ...]:
        """Open tasks all of whose dependencies are completed, in plan order. AND, never
        any.
        """
        done, open_ = Standing.COMPLETED, Standing.OPEN
        completed = {task_id for task_id, state in states.items() if state is done}
        return tuple(
            [
                task_id
                for task_id, needs in self._needs.items()
                if states[task_id] is open_
                and (not needs or completed.issuperset(needs))
            ]
        )

    def blocked(self, states: Mapping[str, Standing]) -> dict[str, tuple[str, ...]]:
        """Open tasks that cannot run any more, each with the stuck tasks that are the
        reason.
        """
        reasons: dict[str, set[str]] = {}
        for task_id in self._order:
            mine: set[str] = set()
            for dep in self._needs[task_id]:
                mine |= (
                    {dep} if states[dep] is Standing.STUCK else reasons.get(dep, set())
                )
            if mine and states[task_id] is Standing.OPEN:
                reasons[task_id] = mine
        return {
            task_id: self._in_plan_order(reasons[task_id])
            for task_id in self.tasks
            if task_id in reasons
        }

    def frontier(
        self, states: Mapping[str, Standing], rank: Rank | None = None
    ) -> Frontier:
        """`ready`, to be kept up to date as states change one by one; the best `rank`
        (the smallest) comes first.
        """
        return Frontier(
            self._needs, self._feeds, self._place, states, rank or (lambda _: ())
        )

    def _in_plan_order(self, ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(ids, key=self._place.__getitem__))


def _reached(start: str, steps: Mapping[str, Sequence[str]]) -> set[str]:
    """Everything on the ways from `start`."""
    found: set[str] = set()
    ahead = list(steps[start])
    while ahead:
        task_id = ahead.pop()
        if task_id not in found:
            found.add(task_id)
            ahead += steps[task_id]
    return found


class Frontier:
    """The ready tasks of a graph, kept in order: a change of one task costs its
    dependents, not the whole plan.
    """

    def __init__(
        self,
        needs: Mapping[str, Sequence[str]],
        feeds: Mapping[str, Sequence[str]],
        place: Mapping[str, int],
        states: Mapping[str, Standing],
        rank: Rank,
    ) -> None:
        self._feeds, self._place, self._rank = feeds, place, rank
        self._states = dict(states)
        self._running: set[str] = set()
        self._waits = {
            task_id: sum([states[dep] is not Standing.COMPLETED for dep in deps])
            for task_id, deps in needs.items()
        }
        self._ready = sorted(
            [self._key(task_id) for task_id in needs if self.offers(task_id)]
        )
        self._open = sum([state is Standing.OPEN for state in self._states.values()])

    def __len__(self) -> int:
        return len(self._ready)

    def __iter__(self) -> Iterator[str]:
        """The ready tasks that are not running, the best first."""
        return (key[-1] for key in self._ready)

    def after(self, ended: Iterable[str]) -> Iterator[str]:
        """The ready tasks as they would be if these were completed as well, the best
        first.
        """
        pending = [
            task_id
            for task_id in ended
            if self._states[task_id] is not Standing.COMPLETED
        ]
        freed = Counter(after for task_id in pending for after in self._feeds[task_id])
        more = [
            task_id
            for task_id, count in freed.items()
            if self._waits[task_id] == count and self._is_free(task_id)
        ]
        return (key[-1] for key in merge(self._ready, sorted(map(self._key, more))))

    @property
    def waiting(self) -> int:
        """How many tasks are open and do not run."""
        return self._open - sum(
            [self._states[task_id] is Standing.OPEN for task_id in self._running]
        )

    def begin(self, task_id: str) -> None:
        """The task runs: it is not offered again until it is settled."""
        self._running.add(task_id)
        self._sort_in(task_id)

    def settle(self, task_id: str, standing: Standing) -> list[str]:
        """The task stands so now and does not run; the ids that became ready by it, in
        plan order.
        """
        before, self._states[task_id] = self._states[task_id], standing
        was_done = before is Standing.COMPLETED
        self._open += (standing is Standing.OPEN) - (before is Standing.OPEN)
        self._running.discard(task_id)
        step = was_done - (standing is Standing.COMPLETED)
        touched = [task_id, *(self._feeds[task_id] if step else ())]
        for after in touched[1:]:
            self._waits[after] += step
        return sorted(
            [one for one in touched if self._sort_in(one)], key=self._place.__getitem__
        )

    def offers(self, task_id: str) -> bool:
        """Whether the task is ready and does not run."""
        return not self._waits[task_id] and self._is_free(task_id)

    def _is_free(self, task_id: str) -> bool:
        return self._states[task_id] is Standing.OPEN and task_id not in self._running

    def _key(self, task_id: str) -> tuple[Any, ...]:
        return self._rank(task_id), self._place[task_id], task_id

    def _sort_in(self, task_id: str) -> bool:
        """Put the task where it belongs; whether it is new among the ready ones."""
        key = self._key(task_id)
        at = bisect_left(self._ready, key)
        there = at < len(self._ready) and self._ready[at] == key
        if self.offers(task_id):
            if not there:
                insort(self._ready, key)
            return not there
        if there:
            del self._ready[at]
        return False


def _id_problems(tasks: Sequence[Task], path: str) -> list[Problem]:
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
                    Problem(
                        task.path or path,
                        task.line,
                        f"{task.id} depends on itself",
                        f"remove {dep} there",
                    )
                )
            elif dep not in known:
                guess = nearest(dep, known) if len(problems) < MAX_GUESSES else None
                remedy = (
                    f"did you mean {guess}?" if guess else "name a task of this plan"
                )
                problems.append(
                    Problem(
                        task.path or path,
                        task.line,
                        f"{task.id} depends on {dep}, which is not in the plan",
                        remedy,
                    )
                )
    return problems


def _cycle_problems(
    graph: nx.DiGraph[str],
    tasks: Mapping[str, Task],
    place: Mapping[str, int],
    path: str,
) -> list[Problem]:
    import networkx as nx

    problems = []
    for component in nx.strongly_connected_components(graph):
        if len(component) > 1:
            first = min(component, key=place.__getitem__)
            edges = nx.find_cycle(graph.subgraph(component), first)
            # Edges run dependency → dependent; people read "T2 needs T4 needs T2", so
            # the ring is turned round.
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
