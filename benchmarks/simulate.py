"""Simulate: the table of `fanin simulate` for a plan of 100,000 tasks.

Each task waits for up to two of the 2,000 before it, and one in two declares its files.
The table has both schedules with 1, 4 and 16 agents.
"""

from __future__ import annotations

import random
import time

from benchmarks.harness import Effort, Report, Table, Target, expect, interleaved
from runner.core.task import Plan, Task
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.snapshot import Snapshot
from runner.schedule.forecast import ForecastOptions, forecast

COUNT = 100_000
MOST_SECONDS = 15.0
_ROWS = [1, 4, 16]
_WINDOW = 2_000


def measure(effort: Effort) -> Report:
    count = 200 if effort.smoke else COUNT
    snapshot = _snapshot(count)
    rows = [*_ROWS] if count == COUNT else [*range(1, 17)]

    def simulate() -> float:
        used = time.process_time()
        found = forecast(snapshot, _OPTIONS)
        used = time.process_time() - used
        expect(found.tasks, count, "tasks that run")
        expect([row.max_concurrent for row in found.rows], rows, "rows")
        return used

    samples = interleaved({"simulate": simulate}, effort.repeats)
    seconds = samples.median("simulate")
    name = f"`fanin simulate` of {count:,} tasks, without reading the plan"
    title = "Processor time of the whole table, both schedules in each row"
    runs = len(rows) * 2
    row = [f"{count:,}", str(runs), f"{seconds:.1f}", f"{seconds / count * 1e6:.0f}"]
    return Report(
        "Simulate",
        tables=[Table(title, ["tasks", "runs", "seconds", "µs a task"], [row])],
        targets=[Target(name, seconds, MOST_SECONDS, "s")],
        notes=["A plan of more than 10,000 tasks has the rows 1, 4 and 16."],
    )


_OPTIONS = ForecastOptions(now=4, schedule="rolling", max_attempts=3, max_rounds=100)


def _snapshot(count: int) -> Snapshot:
    drawn = random.Random(1)
    tasks = []
    for number in range(count):
        first = max(0, number - _WINDOW)
        needs = {
            f"T{drawn.randrange(first, number)}"
            for _ in range(drawn.randint(0, 2) if number else 0)
        }
        tasks.append(
            Task(
                id=f"T{number}",
                title=f"task {number}",
                depends_on=tuple(sorted(needs)),
                estimate=float(drawn.randint(60, 900)),
                files=(f"src/{number % 997}/**",) if number % 2 else None,
            )
        )
    plan = Plan(path="tasks.yml", source="native", tasks=tuple(tasks))
    return Snapshot("", plan, TaskGraph(tasks, plan.path), Progress(plan.path))
