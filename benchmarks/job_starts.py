"""Job starts: how many jobs of GitHub Actions start one after the other for a plan.

Nothing is timed. The rounds are those that fanin's own selection gives, and the jobs
those that start by the shipped workflow files in the tests' model of GitHub.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil
from typing import Any

from benchmarks import graphs
from benchmarks.graphs import Graph
from benchmarks.harness import ROOT, Effort, Report, Table, Target
from runner.cli.job_options import MOST_ROUNDS_PER_RUN
from runner.core.task import Plan, Task
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.snapshot import Snapshot
from runner.schedule.simulation import ExpectedAttempt, Simulation
from tests.support.github.model import JobEnd, RunModel
from tests.support.github.workflows import Document, load

SLOTS = 3  # the default of max_concurrent
SECONDS_A_START = (5, 10, 15)
PLANS: dict[str, Graph] = {
    "1": graphs.c(1),
    "6 (graph a)": graphs.a(),
    "20 (four layers of five)": graphs.b(layers=4, width=5),
    "60 (graph b)": graphs.b(),
}


def measure(effort: Effort) -> Report:  # noqa: ARG001  nothing is measured in time
    report = Report("Job starts")
    for verify in (False, True):
        rows = [_row(tasks, graph, verify=verify) for tasks, graph in PLANS.items()]
        title = "Jobs that start one after the other"
        if verify:
            title += ", with `verify`"
        columns = ["tasks", "rounds", "runs", "one round a run", "five rounds a run"]
        columns += [f"at {seconds} s a start" for seconds in SECONDS_A_START]
        report.tables.append(Table(title, columns, rows))
        added = starts(2, verify=verify) - starts(1, verify=verify)
        name = "jobs in a row that a round adds"
        if verify:
            name += ", with `verify`"
        report.targets.append(Target(name, added, 3 if verify else 2, "jobs"))
    report.notes.append(
        "A start is what passes from the end of a job to the first step of the next: "
        "GitHub creates it, a runner takes it, checks out, restores the environment. "
        f"`max_concurrent` is {SLOTS}. `one round a run` is how the workflow worked "
        "before several rounds shared a run, and what `rounds-per-run: 1` still does. "
        "`runs` are those of five rounds. The last columns are seconds, one round a run "
        "and five."
    )
    return report


def rounds_of(graph: Graph) -> int:
    """How many batches the plan takes, each of the most urgent tasks that are ready."""
    tasks = [
        Task(id=name, title=name, depends_on=job.needs) for name, job in graph.items()
    ]
    plan = Plan(path="tasks.yml", source="native", tasks=tuple(tasks))
    snapshot = Snapshot("", plan, TaskGraph(tasks, plan.path), Progress(plan.path))
    simulation = Simulation(snapshot, 1, lambda _task, _attempt: ExpectedAttempt(1.0))
    return len(simulation.run("batch", SLOTS).batches)


def starts(
    rounds: int, *, verify: bool, rounds_per_run: int = MOST_ROUNDS_PER_RUN
) -> int:
    """Jobs in a row for these rounds, by the shipped workflow files."""
    workflow = _workflow("$/.github/workflows/fanin.yml")
    # It shows what has landed already, and nothing waits for it.
    del workflow["jobs"]["report"]
    total = 0
    while rounds > 0:
        behaviour = _Rounds(rounds, rounds_per_run, verify=verify)
        model = RunModel(_workflow, behaviour, {"event_name": "workflow_dispatch"})
        model.run(workflow, {})
        total += model.depth
        rounds -= rounds_per_run
    return total


def _row(tasks: str, graph: Graph, *, verify: bool) -> list[str]:
    rounds = rounds_of(graph)
    before = starts(rounds, verify=verify, rounds_per_run=1)
    now = starts(rounds, verify=verify)
    runs = ceil(rounds / MOST_ROUNDS_PER_RUN)
    seconds = [f"{before * each} → {now * each}" for each in SECONDS_A_START]
    return [tasks, str(rounds), str(runs), str(before), str(now), *seconds]


def _workflow(uses: str) -> Document:
    return load((ROOT / uses.removeprefix("$/")).read_bytes())


class _Rounds:
    """Jobs that all succeed, of a plan that takes so many rounds."""

    def __init__(self, rounds: int, rounds_per_run: int, *, verify: bool) -> None:
        self.rounds = rounds
        self.rounds_per_run = rounds_per_run
        self.verify = verify

    def __call__(self, path: str, inputs: Mapping[str, Any]) -> JobEnd:
        if path == "next":
            return JobEnd(outputs={"round": self._round(1)})
        if not path.endswith("/merge"):
            return JobEnd()
        number = json.loads(inputs["round"])["number"] + 1
        outputs = {"round": "", "again": "false", "state": "{}", "moved": "false"}
        if number <= min(self.rounds, self.rounds_per_run):
            outputs["round"] = self._round(number)
        elif number <= self.rounds:
            outputs["again"] = "true"
        return JobEnd(outputs=outputs)

    def _round(self, number: int) -> str:
        return json.dumps({"number": number, "verify": self.verify})
