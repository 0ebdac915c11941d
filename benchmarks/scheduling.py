"""Scheduling: wall time ÷ what no schedule can beat, fanin's schedules beside the peers, on the same graphs.

Fanin does more for each job than any peer: a clone of its own, what it left captured, merged and committed. That is
in its time; what it costs for each task is in the part `dispatch`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import typing
from collections.abc import Callable
from functools import partial
from pathlib import Path

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
from runner.config import Settings

NOTHING: Graph = {"n0": graphs.Job((), 0.0)}
SLOTS = (3, 8)
Run = Callable[[Graph, int, Commands], float]


def schedules() -> list[str]:
    """Every value that the setting `schedule` accepts."""
    return [str(value) for value in typing.get_args(Settings.model_fields["schedule"].annotation)]


def sleeps(graph: Graph) -> Commands:
    return {name: ["sleep", str(job.seconds)] for name, job in graph.items()}


def measure(effort: Effort) -> Report:
    report = Report("Scheduling")
    with folder(effort, "scheduling") as where:
        runs: dict[str, Run] = {}
        for schedule in schedules():
            runs[f"fanin {schedule}"] = partial(_fanin, where, schedule, True)
            runs[f"fanin {schedule}, durations unknown"] = partial(_fanin, where, schedule, False)
        peers = [peer for peer in PEERS if not effort.smoke or peer.name == "make"]
        venv, absent = environment_for(peers, effort.cache)
        runs |= {peer.name: partial(_peer, peer, where, venv) for peer in peers if peer.name not in absent}
        for name in list(runs):
            if said := _fault(runs[name], where, effort):
                report.notes.append(f"{name} is left out: {said}")
                del runs[name]
        report.notes += [f"{name} is left out: {why}" for name, why in absent.items()]
        _race(report, runs, effort)
    return report


def _race(report: Report, runs: dict[str, Run], effort: Effort) -> None:
    """All competitors on every graph, and each alone with a job that does nothing for its start-up."""
    cases = {f"{name} m={slots}": (make(), slots) for name, make in graphs.GRAPHS.items() for slots in SLOTS}
    if effort.smoke:
        cases = {"d m=3": (graphs.d(2), 3)}
    start = interleaved({name: partial(go, NOTHING, 3, sleeps(NOTHING)) for name, go in runs.items()}, effort.repeats)
    whole: dict[str, dict[str, float]] = {name: {} for name in runs}
    net: dict[str, dict[str, float]] = {name: {} for name in runs}
    for case, (graph, slots) in cases.items():
        found = interleaved(
            {name: partial(go, graph, slots, sleeps(graph)) for name, go in runs.items()}, effort.repeats
        )
        bound = lower_bound(graph, slots)
        for name in runs:
            whole[name][case] = found.median(name) / bound
            net[name][case] = (found.median(name) - start.median(name)) / bound
    bounds = ["lower bound, s", "", *(f"{lower_bound(graph, slots):.2f}" for graph, slots in cases.values())]
    for title, table in (("Wall time ÷ lower bound", whole), ("The same, net of start-up", net)):
        rows = [
            [name, f"{start.median(name) * 1e3:.0f}", *(f"{table[name][case]:.2f}" for case in cases)] for name in runs
        ]
        report.tables.append(Table(title, ["", "start-up, ms", *cases], [bounds, *rows]))
    _targets(report, net, start)


def _targets(report: Report, net: dict[str, dict[str, float]], start: Samples) -> None:
    """The bounds that a rolling schedule is held to, once there is one."""
    best = "fanin rolling"
    if best not in net:
        report.notes.append("The targets of a rolling schedule are checked as soon as `schedule` accepts it.")
        return
    for case, found in net[best].items():
        bound = 1.2 if case[0] in "cd" else 1.1
        report.targets.append(Target(f"rolling on {case}, net, ÷ lower bound", found, bound))
        if case[0] == "e":
            ratio = found / net["fanin batch"][case]
            report.targets.append(Target(f"rolling on {case} ÷ the batch barrier", ratio, 0.5))
        if case[0] in "be":
            fastest = min((net[name][case] for name in net if not name.startswith("fanin")), default=found)
            report.targets.append(Target(f"rolling on {case} ÷ the fastest peer", found / fastest, 1.0))
    report.notes.append(f"fanin's start-up: {start.median(best) * 1e3:.0f} ms, isolation of one task included.")


def _fault(go: Run, where: Path, effort: Effort) -> str | None:
    """What is wrong with a competitor's order, limit or number of jobs on graph b; None if nothing is."""
    graph, slots = (graphs.b(2, 3), 2) if effort.smoke else (graphs.b(), 3)
    log, note = where / "events", where / "note.py"
    log.write_text("")
    note.write_text(
        "import os, subprocess, sys, time\nlog, name, *argv = sys.argv[1:]\n"
        "def say(what):\n    with open(log, 'a') as f: f.write(f'{time.monotonic_ns()} {what} {name}\\n')\n"
        "say('s'); subprocess.run(argv, check=True); say('e')\n"
    )
    commands = {name: [sys.executable, "-S", str(note), str(log), name, *argv] for name, argv in sleeps(graph).items()}
    try:
        go(graph, slots, commands)
        events = [line.split() for line in log.read_text().splitlines()]
        wrong = graphs.faults(graph, slots, [(int(at), what, name) for at, what, name in events])
    except (WrongOutput, OSError) as error:
        return str(error)[:200]
    return "; ".join(wrong[:3]) or None


def _peer(peer: Peer, where: Path, venv: Path, graph: Graph, slots: int, commands: Commands) -> float:
    place = where / "peer"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    argv = peer.prepare(place, graph, commands, slots, venv)
    path = f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
    given = environment(PATH=path, HOME=str(where), PYTHONPATH="")
    return seconds_of(lambda: run(argv, place, env=given))


def _fanin(where: Path, schedule: str, known: bool, graph: Graph, slots: int, commands: Commands) -> float:
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
            **({"estimate": max(job.seconds, 0.001)} if known else {}),
        }
        for name, job in graph.items()
    ]
    settings = {"parallel": True, "max_concurrent": slots, "schedule": schedule, "limits": {"max_rounds": 10_000}}
    (repo / "tasks.yml").write_text(json.dumps({"version": 1, "tasks": tasks}))
    (repo / "fanin.yml").write_text(json.dumps(settings))
    for place in range(20):
        (repo / f"file{place}").write_text("content\n" * 50)
    who = {"GIT_AUTHOR_NAME": "b", "GIT_AUTHOR_EMAIL": "b@b", "GIT_COMMITTER_NAME": "b", "GIT_COMMITTER_EMAIL": "b@b"}
    given = environment(**who, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull)
    run(["git", "add", "-A"], repo)
    run(["git", "commit", "-qm", "plan"], repo, env=given)
    seconds = seconds_of(lambda: run([PYTHON, "-m", "runner", "run"], repo, env=given))
    told = json.loads(run(["git", "show", "HEAD:.fanin/progress.json"], repo))["tasks"]
    done = {name for name, record in told.items() if record["status"] == "completed"}
    expect(done, set(graph), "completed tasks")
    return seconds
