"""Scheduling: wall time ÷ what no schedule can beat, fanin's schedules beside the
peers, on the same graphs.

Fanin does more for each job than any peer: a clone of its own, what it left captured,
merged and committed. That is in its time; what it costs for each task is in the part
`dispatch`. What choosing alone decides is computed as well, by fanin's own ranks and a
clock that only the jobs move.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import graphs
from benchmarks.graphs import Graph, lower_bound
from benchmarks.harness import (
    PYTHON,
    Effort,
    Report,
    Samples,
    Table,
    Target,
    WrongOutput,
    environment,
    expect,
    folder,
    interleaved,
    run,
    seconds_of,
)
from benchmarks.peers import PEERS, Commands, Peer, environment_for
from runner.core.task import Task
from runner.plan.graph import TaskGraph
from runner.schedule import selection

NOTHING: Graph = {"n0": graphs.Job((), 0.0)}
SLOTS = (3, 8)
Run = Callable[[Graph, int, Commands], float]
BEST = "fanin rolling"
# schedule, and what it goes by: durations, the graph's shape, or the plan's order
FANINS = {
    BEST: ("rolling", "durations"),
    "fanin rolling, durations unknown": ("rolling", "shape"),
    "fanin rolling, first in, first out": ("rolling", "place"),
    "fanin batch": ("batch", "durations"),
}


def sleeps(graph: Graph) -> Commands:
    return {name: ["sleep", str(job.seconds)] for name, job in graph.items()}


def measure(effort: Effort) -> Report:
    report = Report("Scheduling")
    with folder(effort, "scheduling") as where:
        runs: dict[str, Run] = {
            name: partial(_fanin, where, *how) for name, how in FANINS.items()
        }
        peers = [peer for peer in PEERS if not effort.smoke or peer.name == "make"]
        venv, absent = environment_for(peers, effort.cache)
        runs |= {
            peer.name: partial(_peer, peer, where, venv)
            for peer in peers
            if peer.name not in absent
        }
        for name in list(runs):
            if said := _fault(runs[name], where, effort):
                report.notes.append(f"{name} is left out: {said}")
                del runs[name]
        report.notes += [f"{name} is left out: {why}" for name, why in absent.items()]
        _race(report, runs, effort)
    _choosing(report, 4 if effort.smoke else 200)
    return report


def _race(report: Report, runs: dict[str, Run], effort: Effort) -> None:
    """The competitors on the graphs, in turns, and each alone with a job that does
    nothing for its start-up.

    All of them on b and e; on the others the rolling schedule with known durations.
    """
    cases = {
        f"{name} m={slots}": (make(), slots)
        for name, make in graphs.GRAPHS.items()
        for slots in SLOTS
    }
    if effort.smoke:
        cases = {"e m=3": (graphs.e(1), 3)}
    start = interleaved(
        {name: partial(go, NOTHING, 3, sleeps(NOTHING)) for name, go in runs.items()},
        effort.repeats,
    )
    whole: dict[str, dict[str, float]] = {name: {} for name in runs}
    net: dict[str, dict[str, float]] = {name: {} for name in runs}
    for case, (graph, slots) in cases.items():
        named = {
            name: go for name, go in runs.items() if name == BEST or case[0] in "be"
        }
        commands = sleeps(graph)
        found = interleaved(
            {name: partial(go, graph, slots, commands) for name, go in named.items()},
            effort.repeats,
        )
        bound = lower_bound(graph, slots)
        for name in named:
            whole[name][case] = found.median(name) / bound
            net[name][case] = (found.median(name) - start.median(name)) / bound
    bounds = [
        "lower bound, s",
        "",
        *(f"{lower_bound(graph, slots):.2f}" for graph, slots in cases.values()),
    ]
    for title, table in (
        ("Wall time ÷ lower bound", whole),
        ("The same, net of start-up", net),
    ):
        rows = [
            [
                name,
                f"{start.median(name) * 1e3:.0f}",
                *(
                    f"{table[name][case]:.2f}" if case in table[name] else ""
                    for case in cases
                ),
            ]
            for name in runs
        ]
        report.tables.append(
            Table(title, ["", "start-up, ms", *cases], [bounds, *rows])
        )
    _targets(report, net, start)


def _choosing(report: Report, drawn: int) -> None:
    """What the order of starting decides, where nothing else takes time: on the graphs,
    and on many like b.
    """
    cases = {
        f"{name} m={slots}": (make(), slots)
        for name, make in graphs.GRAPHS.items()
        for slots in SLOTS
    }
    rows: dict[str, list[float]] = {
        "durations known": [],
        "durations unknown": [],
        "first in, first out": [],
    }
    for graph, slots in cases.values():
        bound = lower_bound(graph, slots)
        for name, ranks in zip(
            rows, (_ranks(graph, True), _ranks(graph, False), {}), strict=True
        ):
            rows[name].append(graphs.ideal(graph, slots, ranks) / bound)
    report.tables.append(
        Table(
            "Choosing alone, ÷ lower bound",
            ["", *cases],
            [[k, *(f"{v:.3f}" for v in row)] for k, row in rows.items()],
        )
    )
    worst = max(
        one / other
        for one, other in zip(
            rows["durations unknown"], rows["first in, first out"], strict=True
        )
    )
    report.targets.append(
        Target(
            "durations unknown ÷ first in, first out, the worst of all graphs",
            worst,
            1.0,
        )
    )
    lines = []
    for slots in SLOTS:
        many = [graphs.b(seed=seed) for seed in range(drawn)]
        ratios = [
            graphs.ideal(g, slots, _ranks(g, False)) / graphs.ideal(g, slots, {})
            for g in many
        ]
        lines.append(
            [
                f"m={slots}",
                f"{median(ratios):.3f}",
                f"{min(ratios):.3f}",
                f"{max(ratios):.3f}",
            ]
        )
    title = f"Durations unknown ÷ first in, first out, on {drawn} drawn graphs like b"
    report.tables.append(Table(title, ["", "median", "best", "worst"], lines))


def _ranks(graph: Graph, known: bool) -> dict[str, tuple[float, ...]]:
    """How fanin ranks the jobs."""
    tasks = [
        Task(
            id=name,
            title=name,
            depends_on=job.needs,
            estimate=max(job.seconds, 0.001) if known else None,
        )
        for name, job in graph.items()
    ]
    made = TaskGraph(tasks, "tasks.yml")
    heights = made.heights(lambda task: task.estimate or 60.0)
    return {task.id: selection.rank(task, heights) for task in tasks}


def _targets(report: Report, net: dict[str, dict[str, float]], start: Samples) -> None:
    for case, found in net[BEST].items():
        report.targets.append(
            Target(
                f"rolling on {case}, net, ÷ lower bound",
                found,
                1.2 if case[0] in "cd" else 1.1,
            )
        )
        if case[0] == "e":
            ratio = found / net["fanin batch"][case]
            report.targets.append(
                Target(f"rolling on {case} ÷ the batch barrier", ratio, 0.5)
            )
        if case[0] in "be":
            others = {
                name: net[name][case] for name in net if not name.startswith("fanin")
            }
            fastest = min(others, key=others.__getitem__, default=BEST)
            what = f"rolling on {case} ÷ the fastest peer ({fastest})"
            report.targets.append(Target(what, found / net[fastest][case], 1.0))
    report.notes.append(
        f"fanin's start-up: {start.median(BEST) * 1e3:.0f} ms, isolation of one task included."
    )


def _fault(go: Run, where: Path, effort: Effort) -> str | None:
    """What is wrong with a competitor's order, limit or number of jobs on graph b; None
    if nothing is.
    """
    graph, slots = (graphs.b(2, 3), 2) if effort.smoke else (graphs.b(), 3)
    log, note = where / "events", where / "note.py"
    log.write_text("")
    note.write_text(
        "import os, subprocess, sys, time\nlog, name, *argv = sys.argv[1:]\n"
        "def say(what):\n    with open(log, 'a') as f: f.write(f'{time.monotonic_ns()} {what} {name}\\n')\n"
        "say('s'); subprocess.run(argv, check=True); say('e')\n"
    )
    commands = {
        name: [sys.executable, "-S", str(note), str(log), name, *argv]
        for name, argv in sleeps(graph).items()
    }
    try:
        go(graph, slots, commands)
        events = [line.split() for line in log.read_text().splitlines()]
        wrong = graphs.faults(
            graph, slots, [(int(at), what, name) for at, what, name in events]
        )
    except (WrongOutput, OSError) as error:
        return str(error)[:200]
    return "; ".join(wrong[:3]) or None


def _peer(
    peer: Peer, where: Path, venv: Path, graph: Graph, slots: int, commands: Commands
) -> float:
    place = where / "peer"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    argv = peer.prepare(place, graph, commands, slots, venv)
    path = f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
    given = environment(PATH=path, HOME=str(where), PYTHONPATH="")
    return seconds_of(lambda: run(argv, place, env=given))


def _fanin(
    where: Path, schedule: str, by: str, graph: Graph, slots: int, commands: Commands
) -> float:
    repo = where / "repo"
    shutil.rmtree(repo, ignore_errors=True)
    run(["git", "init", "-q", "-b", "main", str(repo)], where)
    tasks = [
        {
            "id": name,
            "title": name,
            "depends_on": list(job.needs),
            "allow_empty": True,
            "agent": {"command": list(commands[name])},
            **({"estimate": max(job.seconds, 0.001)} if by == "durations" else {}),
            **({"priority": -place} if by == "place" else {}),
        }
        for place, (name, job) in enumerate(graph.items())
    ]
    settings = {
        "sandbox": "off",
        "parallel": True,
        "max_concurrent": slots,
        "schedule": schedule,
        "limits": {"max_rounds": 10_000},
    }
    (repo / "tasks.yml").write_text(json.dumps({"version": 1, "tasks": tasks}))
    (repo / "fanin.yml").write_text(json.dumps(settings))
    for place in range(20):
        (repo / f"file{place}").write_text("content\n" * 50)
    who = {
        "GIT_AUTHOR_NAME": "b",
        "GIT_AUTHOR_EMAIL": "b@b",
        "GIT_COMMITTER_NAME": "b",
        "GIT_COMMITTER_EMAIL": "b@b",
    }
    given = environment(**who, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull)
    run(["git", "add", "-A"], repo)
    run(["git", "commit", "-qm", "plan"], repo, env=given)
    seconds = seconds_of(lambda: run([PYTHON, "-m", "runner", "run"], repo, env=given))
    told = json.loads(run(["git", "show", "HEAD:.fanin/progress.json"], repo))["tasks"]
    done = {name for name, record in told.items() if record["status"] == "completed"}
    expect(done, set(graph), "completed tasks")
    return seconds
