"""Planning: reading a plan against its YAML loader alone, choosing against plain
dictionaries, draining, memory.
"""

from __future__ import annotations

import gc
import heapq
import json
import random
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import yaml

from benchmarks.harness import (
    PYTHON,
    ROOT,
    Effort,
    Report,
    Samples,
    Table,
    Target,
    environment,
    expect,
    run,
)
from runner import pipeline
from runner.config.settings import Settings
from runner.core.task import AgentSettings, Plan, Standing, Task
from runner.plan.formats import MemoryTree
from runner.plan.formats.native import Native
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.snapshot import Snapshot
from runner.schedule import selection
from runner.schedule.ready_queue import Frontier

SLOTS = 8


def plan_text(count: int) -> str:
    """A plan of realistic size: half a kilobyte a task, up to six dependencies among
    the last five hundred.
    """
    drawn, tasks = random.Random(1), list[dict[str, Any]]()
    for place in range(count):
        needs = (
            {
                drawn.randrange(max(0, place - 500), place)
                for _ in range(drawn.randint(0, 6))
            }
            if place
            else set()
        )
        lines = [
            f"Line {line} of what to do: {drawn.getrandbits(64):x}" for line in range(6)
        ]
        tasks.append(
            {
                "id": f"task-{place:06d}",
                "title": f"Change number {place}",
                "prompt": "\n".join(lines) + "\n",
                "files": [
                    f"pkg{place % 97:02d}/mod{place:06d}/**",
                    f"tests/test_{place:06d}.py",
                ],
                "depends_on": [f"task-{need:06d}" for need in sorted(needs)],
                "estimate": drawn.randint(1, 3600),
            }
        )
    return yaml.dump(
        {"version": 1, "tasks": tasks}, Dumper=yaml.CSafeDumper, sort_keys=False
    )


def _mapped(
    tasks: tuple[Task, ...],
) -> tuple[dict[str, list[str]], dict[str, int], list[str], dict[str, float]]:
    """Who waits for whom, how many each waits for, who is ready, and each one's way to
    the end: dictionaries only.
    """
    after: dict[str, list[str]] = {task.id: [] for task in tasks}
    left = {}
    for task in tasks:
        left[task.id] = len(task.depends_on)
        for need in task.depends_on:
            after[need].append(task.id)
    ready = [name for name, count in left.items() if not count]
    order, waits = list(ready), dict(left)
    for name in order:
        for next_ in after[name]:
            waits[next_] -= 1
            if not waits[next_]:
                order.append(next_)
    expect(len(order), len(tasks), "tasks in order")
    cost = {task.id: task.estimate or 60.0 for task in tasks}
    height: dict[str, float] = {}
    for name in reversed(order):
        height[name] = cost[name] + max(
            [height[next_] for next_ in after[name]], default=0.0
        )
    return after, left, ready, height


def with_dictionaries(tasks: tuple[Task, ...]) -> list[str]:
    """Build, check, sort, measure and choose with nothing but dictionaries: what fanin
    is held against.
    """
    _, _, ready, height = _mapped(tasks)
    return sorted(ready, key=lambda name: -height[name])[:SLOTS]


def with_fanin(plan: Plan) -> list[str]:
    graph = TaskGraph(plan.tasks, plan.path)
    graph.order()
    graph.critical_path(lambda task: task.estimate or 60.0)
    settings = Settings(
        parallel=True, max_concurrent=SLOTS, agent=AgentSettings(command=("true",))
    )
    snapshot = Snapshot("0" * 40, plan, graph, Progress(plan.path))
    manifest = pipeline.next_batch(
        snapshot,
        settings,
        pipeline.BatchRequest(run="r", round_number=1, branch="main", slots=SLOTS),
    )
    return [entry.task.id for entry in manifest.entries] if manifest else []


def drained(plan: Plan) -> int:
    """How many tasks ran, when every completion offers what it made ready and the best
    one starts.
    """
    graph = TaskGraph(plan.tasks, plan.path)
    heights = graph.heights(lambda task: task.estimate or 60.0)
    states = dict.fromkeys(graph.tasks, Standing.OPEN)
    frontier = Frontier(
        graph, states, lambda task_id: selection.rank(graph.tasks[task_id], heights)
    )
    running: list[str] = []
    count = 0
    while True:
        at_work = [graph.tasks[task_id] for task_id in running]
        for task in selection.take(
            (graph.tasks[t] for t in frontier), SLOTS - len(running), at_work
        ):
            frontier.mark_started(task.id)
            running.append(task.id)
        if not running:
            return count
        frontier.mark_done(running.pop(0), Standing.COMPLETED)
        count += 1


def drained_with_dictionaries(tasks: tuple[Task, ...]) -> int:
    after, left, ready, height = _mapped(tasks)
    heap = [(-height[name], name) for name in ready]
    heapq.heapify(heap)
    running: list[str] = []
    count = 0
    while heap or running:
        while heap and len(running) < SLOTS:
            running.append(heapq.heappop(heap)[1])
        count += 1
        for next_ in after[running.pop(0)]:
            left[next_] -= 1
            if not left[next_]:
                heapq.heappush(heap, (-height[next_], next_))
    return count


def _child(file: Path, count: int) -> None:
    """One round in a process of its own, so that its peak memory is its own: prints
    seconds and MiB as JSON.
    """
    text = file.read_text(encoding="utf-8")
    native, tree, plans = Native(), MemoryTree({"tasks.yml": text}), list[Plan]()
    found: dict[str, float] = {}

    def timed(name: str, call: Callable[[], object]) -> None:
        gc.collect()
        began = perf_counter()
        call()
        found[name] = perf_counter() - began

    if "--memory" in sys.argv:
        plans.append(native.load("tasks.yml", tree, {}))
        expect(bool(with_fanin(plans[0])), True, "a first batch")
        print(
            json.dumps(
                {"MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
            )
        )
        return
    timed("loader", lambda: yaml.load(text, yaml.CSafeLoader))
    timed("load", lambda: plans.append(native.load("tasks.yml", tree, {})))
    plan = plans[0]
    expect(len(plan.tasks), count, "tasks that were read")
    first = with_dictionaries(plan.tasks)
    expect(sorted(with_fanin(plan)), sorted(first), "the first batch")
    timed("dictionaries", lambda: with_dictionaries(plan.tasks))
    timed("choose", lambda: with_fanin(plan))
    expect(drained(plan), count, "tasks that were drained")
    timed("drain, dictionaries", lambda: drained_with_dictionaries(plan.tasks))
    timed("drain", lambda: drained(plan))
    print(json.dumps(found))


def measure(effort: Effort) -> Report:
    report = Report("Planning")
    sizes = [50, 100] if effort.smoke else [1_000, 10_000, 100_000]
    rows, per_task = [], dict[int, dict[str, float]]()
    for size in sizes:
        file = effort.work / f"plan-{size}.yml"
        file.write_text(plan_text(size), encoding="utf-8")
        samples = _sampled(file, size, effort)
        memory = _round(file, size, "--memory")["MiB"]
        names = list(samples.seconds)
        per_task[size] = {name: samples.median(name) / size * 1e6 for name in names}
        rows.append(
            [
                f"{size:,}",
                *(f"{samples.median(name) * 1e3:,.1f}" for name in names),
                f"{samples.ratio('load', 'loader'):.2f}",
                f"{samples.ratio('choose', 'dictionaries'):.2f}",
                f"{samples.ratio('drain', 'drain, dictionaries'):.2f}",
                f"{memory:,.0f}",
            ]
        )
        if size == sizes[-2]:
            report.targets += [
                Target(
                    f"load of {size:,} tasks ÷ the YAML loader alone",
                    samples.ratio("load", "loader"),
                    1.2,
                ),
                Target(
                    f"validate, order, critical path, first batch of {size:,} ÷ plain dictionaries",
                    samples.ratio("choose", "dictionaries"),
                    2.0,
                ),
            ]
        if size == sizes[-1]:
            report.targets.append(
                Target(f"peak memory of {size:,} tasks", memory / 1024, 1.0, "GiB")
            )
    columns = [
        "tasks",
        *names,
        "load ÷ loader",
        "choose ÷ dictionaries",
        "drain ÷ dictionaries",
        "peak MiB",
    ]
    report.tables.append(Table("Milliseconds", columns, rows))
    growth = [
        [f"{size:,}", *(f"{per_task[size][name]:.1f}" for name in names)]
        for size in sizes
    ]
    report.tables.append(
        Table(
            "Microseconds a task: a column that stays level grows linearly",
            columns[:7],
            growth,
        )
    )
    report.notes.append(
        "`loader` is `yaml.load` with the C loader; `load` gives checked tasks with their lines. Fanin's reader "
        "pauses Python's cyclic collector, which is what makes it faster than the loader it is built on. `drain` "
        "completes all tasks one by one, eight at once, and unlike the dictionaries keeps apart what would overlap. "
        "Each round is a process of its own; there are three of the largest size."
    )
    return report


def _sampled(file: Path, size: int, effort: Effort) -> Samples:
    found = Samples()
    for _ in range(1 if effort.smoke else 3 if size > 10_000 else effort.repeats):
        for name, seconds in _round(file, size).items():
            found.seconds.setdefault(name, []).append(seconds)
    return found


def _round(file: Path, size: int, *flags: str) -> dict[str, float]:
    told = run(
        [PYTHON, "-m", "benchmarks.planning", str(file), str(size), *flags],
        ROOT,
        env=environment(),
    )
    return {str(name): float(value) for name, value in json.loads(told).items()}


if __name__ == "__main__":
    _child(Path(sys.argv[1]), int(sys.argv[2]))
