"""Realistic work: the rolling schedule in a repository of 20,000 files, with set-up and
verify, beside what nobody can leave out.

The bound of a round is the best schedule of jobs that each take the job, a plain
`git worktree add` and the set-up, and one verify at the end. The three are measured
alone in the same round. Fanin runs with the defaults and, but for the jobs of 20 s, with
`start_after: merge` and `workspace: pooled`.

With `--small`, the cases with jobs of 2 s are measured once, without the peers: 10 to 20
minutes. `python -m benchmarks.realistic [CASE…] [--rounds N]` measures some of the cases,
such as `a-3-2 e-8-2` (graph, slots, seconds of a job), and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import graphs, scheduling
from benchmarks.graphs import Graph, Job, lower_bound
from benchmarks.harness import (
    PYTHON,
    Effort,
    Report,
    Table,
    Target,
    as_text,
    disk,
    environment,
    expect,
    folder,
    run,
    seconds_of,
)
from benchmarks.peers import PEERS, environment_for

FILES, SMALL = 20_000, 200
PACKAGES = 300  # files that set-up brings
ROUNDS = 3
# what is set beside the defaults
VARIANTS: Mapping[str, Mapping[str, str]] = {
    "defaults": {},
    "after merge, pooled": {"start_after": "merge", "workspace": "pooled"},
}
LONG = 20  # seconds of a job
BOUND = 1.05
SETUP = "sh tools/setup.sh"
VERIFY = "sh tools/verify.sh"
# Seconds that set-up and verify wait beside their work. Jobs of 2 s stand for agents of
# some minutes, and these for a package manager's cache and a short test suite.
WAIT = 0.2
SETUP_SCRIPT = "sleep {seconds}\ncp -r tools/packages deps\n"
VERIFY_SCRIPT = """test -e deps/0.js || exit 1
for file in work/*
do test "$(cat $file)" = "${{file#work/}}" || exit 1
done
sleep {seconds}
"""
IDENTITY = {
    "GIT_AUTHOR_NAME": "x",
    "GIT_AUTHOR_EMAIL": "x@example.org",
    "GIT_COMMITTER_NAME": "x",
    "GIT_COMMITTER_EMAIL": "x@example.org",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


@dataclass(frozen=True)
class Case:
    """A graph whose jobs all take `seconds`, with so many slots."""

    graph: str
    slots: int
    seconds: float

    @property
    def name(self) -> str:
        return f"{self.graph}-{self.slots}-{self.seconds:g}"

    @property
    def variants(self) -> Sequence[str]:
        """Those that it is measured with. Beside long jobs they make little difference."""
        return [*VARIANTS][:1] if self.seconds >= LONG else [*VARIANTS]

    def jobs(self, more: float = 0.0) -> Graph:
        """The jobs, each of which takes so many more seconds."""
        graph = graphs.GRAPHS[self.graph]()
        return {
            name: Job(job.needs, self.seconds + more) for name, job in graph.items()
        }


CASES = (
    *(Case(graph, slots, 2) for graph in "abe" for slots in (3, 8)),
    Case("b", 3, LONG),
)
PEER_CASE = CASES[2]


@dataclass(frozen=True)
class Alone:
    """Seconds of what nobody can leave out, each measured alone."""

    checkout: float
    setup: float
    verify: float

    def bound(self, case: Case) -> float:
        jobs = case.jobs(self.checkout + self.setup)
        return lower_bound(jobs, case.slots) + self.verify


class Project:
    """The repository, whose first commit has all but the plan."""

    def __init__(self, where: Path, files: int, seconds: float) -> None:
        """Set-up and verify wait for so many seconds."""
        self.root, self._where = where / "repository", where
        self._base = _repository(self.root, files, seconds)

    def alone(self) -> Alone:
        """What a task and the end of a run cannot do without, done by hand."""
        checkout = self._where / "alone"
        argv = ["git", "worktree", "add", "-q", "--detach", str(checkout), self._base]
        seconds = [seconds_of(partial(run, argv, self.root))]
        for command in (SETUP, VERIFY):
            argv = ["sh", "-c", command]
            seconds.append(seconds_of(partial(run, argv, checkout)))
        shutil.rmtree(checkout)
        run(["git", "worktree", "prune"], self.root)
        return Alone(*seconds)

    def fanin(self, case: Case, **settings: object) -> float:
        """Seconds of `fanin run` from a new plan to the last landing."""
        graph = case.jobs()
        self._write_plan(graph, case, settings)
        argv = [PYTHON, "-m", "runner", "run"]
        given = environment(**IDENTITY)
        seconds = seconds_of(lambda: run(argv, self.root, env=given, timeout=3600))
        self._check(graph)
        return seconds

    def _write_plan(
        self, graph: Graph, case: Case, settings: dict[str, object]
    ) -> None:
        run(["git", "reset", "-q", "--hard", self._base], self.root)
        shutil.rmtree(self.root / ".git" / "fanin", ignore_errors=True)
        refs = run(
            ["git", "for-each-ref", "--format=delete %(refname)", "refs/fanin"],
            self.root,
        )
        run(["git", "update-ref", "--stdin"], self.root, stdin=refs)
        tasks = [
            {
                "id": name,
                "title": name,
                "depends_on": list(job.needs),
                "files": [f"work/{name}"],
                "agent": {"command": ["sh", "tools/agent.sh", name, str(job.seconds)]},
                "estimate": job.seconds,
            }
            for name, job in graph.items()
        ]
        whole = {
            "sandbox": "off",
            "parallel": True,
            "schedule": "rolling",
            "max_concurrent": case.slots,
            "setup": SETUP,
            "verify": VERIFY,
            "limits": {"max_rounds": 10_000},
            **settings,
        }
        (self.root / "tasks.yml").write_text(json.dumps({"version": 1, "tasks": tasks}))
        (self.root / "fanin.yml").write_text(json.dumps(whole))
        _commit(self.root, "plan")

    def _check(self, graph: Graph) -> None:
        argv = ["git", "show", "HEAD:.fanin/progress.json"]
        records = json.loads(run(argv, self.root))["tasks"]
        done = {name for name, each in records.items() if each["status"] == "completed"}
        expect(done, set(graph), "completed tasks")
        written = {each.name: each.read_text() for each in self.root.glob("work/*")}
        wanted = {name: f"{name}\n" for name in [*graph, "start"]}
        expect(written, wanted, "what the tasks wrote")


def _repository(root: Path, files: int, seconds: float) -> str:
    """Make the repository; its commit."""
    drawn = random.Random(1)
    for number in range(files):
        part = root / f"src/part{number // 1000}/module{number // 50}"
        part.mkdir(parents=True, exist_ok=True)
        lines = drawn.randint(1, 40)
        (part / f"file{number}.txt").write_text(
            f"{number}\n" + ("x" * 59 + "\n") * lines
        )
    tools = root / "tools"
    (tools / "packages").mkdir(parents=True)
    for number in range(PACKAGES):
        (tools / "packages" / f"{number}.js").write_text(f"// {number}\n" * 50)
    (tools / "setup.sh").write_text(SETUP_SCRIPT.format(seconds=seconds))
    (tools / "verify.sh").write_text(VERIFY_SCRIPT.format(seconds=seconds))
    (tools / "agent.sh").write_text("sleep $2\nmkdir -p work\necho $1 > work/$1\n")
    (root / ".gitignore").write_text("deps/\n")
    # For a verify of the repository alone.
    (root / "work").mkdir()
    (root / "work" / "start").write_text("start\n")
    run(["git", "init", "-q", "-b", "main"], root)
    # git commit would pack so many files in the background, beside what is measured.
    run(["git", "config", "gc.auto", "0"], root)
    _commit(root, "files")
    run(["git", "repack", "-adq"], root)
    return run(["git", "rev-parse", "HEAD"], root).decode().strip()


def _commit(root: Path, message: str) -> None:
    run(["git", "add", "-A"], root)
    run(["git", "commit", "-qm", message], root, env=environment(**IDENTITY))


def measure(effort: Effort) -> Report:
    cases: Sequence[Case] = CASES
    rounds = min(ROUNDS, effort.repeats)
    if effort.small:
        cases, rounds = [case for case in CASES if case.seconds < LONG], 1
    if effort.smoke:
        cases = [Case("a", 3, 0.01)]
    with folder(effort, "realistic") as where:
        seconds = 0.01 if effort.smoke else WAIT
        project = Project(where, SMALL if effort.smoke else FILES, seconds)
        report, alone = _raced(project, cases, rounds)
        if not effort.small:
            _add_peers(report, where, effort, alone)
        report.notes.append(
            "`after merge, pooled`: with `start_after: merge` and `workspace: pooled`."
        )
        report.notes.append(f"This part ran on {disk(where)}.")
    return report


def _raced(
    project: Project, cases: Sequence[Case], rounds: int
) -> tuple[Report, Alone]:
    """The cases in turns, each with its bound of the same round, and that of the last."""
    contests = [(case, each) for case in cases for each in case.variants]
    found: dict[tuple[Case, str], list[tuple[float, float]]] = {
        contest: [] for contest in contests
    }
    alone: list[Alone] = []
    for number in range(rounds):
        turn = number % len(contests)
        alone.append(project.alone())
        for case, variant in [*contests[turn:], *contests[:turn]]:
            seconds = project.fanin(case, **VARIANTS[variant])
            found[case, variant].append((alone[-1].bound(case), seconds))
    report = Report("Realistic work")
    rows = []
    for (case, variant), pairs in found.items():
        ratios = [seconds / bound for bound, seconds in pairs]
        bound, seconds = (median(each) for each in zip(*pairs, strict=True))
        row = [_title(case), variant, f"{bound:.1f}", f"{seconds:.1f}"]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        rows.append([*row, f"{median(ratios):.2f}", spread])
        name = f"{_title(case)}, {variant}, ÷ the bound"
        report.targets.append(Target(name, median(ratios), BOUND))
    columns = ["", "settings", "bound, s", "rolling, s", "÷ bound", "of the rounds"]
    report.tables.append(Table(f"{rounds} rounds", columns, rows))
    parts = [
        ("`git worktree add`", median(each.checkout for each in alone)),
        ("set-up", median(each.setup for each in alone)),
        ("verify", median(each.verify for each in alone)),
    ]
    lines = [[name, f"{seconds:.2f}"] for name, seconds in parts]
    report.tables.append(Table("Alone", ["", "seconds"], lines))
    return report, alone[-1]


def _title(case: Case) -> str:
    return f"graph {case.graph}, jobs of {case.seconds:g} s, m={case.slots}"


def _add_peers(report: Report, where: Path, effort: Effort, alone: Alone) -> None:
    """The peers once, with the jobs alone."""
    case = Case("a", 3, 0.01) if effort.smoke else PEER_CASE
    peers = [peer for peer in PEERS if not effort.smoke or peer.name == "make"]
    venv, absent = environment_for(peers, effort.cache)
    commands = scheduling.sleeps(case.jobs())
    rows = []
    for peer in peers:
        if peer.name in absent:
            report.notes.append(f"{peer.name} is left out: {absent[peer.name]}")
            continue
        seconds = scheduling._peer(peer, where, venv, case.jobs(), case.slots, commands)
        rows.append([peer.name, f"{seconds:.1f}", f"{seconds / alone.bound(case):.2f}"])
    title = f"Peers, once: {_title(case)}"
    report.tables.append(Table(title, ["", "seconds", "÷ bound"], rows))
    report.notes.append(
        "The peers isolate nothing: they run the jobs in one folder, without a checkout, "
        "set-up, a merge or verify."
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.realistic", description=__doc__
    )
    names = {case.name: case for case in CASES}
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args(argv)
    if unknown := set(options.cases) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    cases = [names[name] for name in options.cases or names]
    with tempfile.TemporaryDirectory(prefix="fanin-realistic-") as where:
        project = Project(Path(where), FILES, WAIT)
        print(as_text(_raced(project, cases, options.rounds)[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
