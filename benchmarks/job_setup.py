"""Job set-up: what a matrix leg installs (`task`) against what the other jobs do
(`jobs`), warm and cold, by uv; what a job without the cache installs where there is no
uv; and how long a leg takes in all from its first step until its agent runs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    ROOT,
    Effort,
    Report,
    Table,
    Target,
    Unavailable,
    WrongOutput,
    environment,
    expect,
    folder,
    interleaved,
    run,
    seconds_of,
)

INSTALL = ROOT / ".github" / "actions" / "fanin" / "install.sh"
NEEDED = {
    "task": "click, git, pathspec, pydantic, yaml",
    "jobs": "click, pathspec, pydantic, yaml, networkx, git, github, markdown_it",
    "continue": "click, pathspec, pydantic, yaml, github",
}
# What install.sh calls.
PROGRAMS = ("bash", "rm", "touch")


def measure(effort: Effort) -> Report:
    report = Report("Job set-up")
    if not shutil.which("uv", path=_path()):
        raise Unavailable("uv is not on PATH (pip install uv)")
    with folder(effort, "job-setup") as where:
        _installs(report, effort, where)
    if not effort.smoke:
        with folder(effort, "job-setup") as where:
            _installs_without_cache(report, effort, where)
        with folder(effort, "legs") as where:
            _legs(report, effort, where)
    return report


def _path() -> str:
    """PATH with what is installed beside this Python."""
    return f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"


def _installs(report: Report, effort: Effort, where: Path) -> None:
    if effort.smoke:
        seconds = _installed(where, "task", "warm")
        report.tables.append(
            Table("Installed", ["set", "seconds"], [["task", f"{seconds:.1f}"]])
        )
        return
    kinds = ("task", "jobs")
    for kind in kinds:
        _installed(where, kind, "warm")  # fills the cache
    samples = interleaved(
        {
            f"{kind}, {state}": partial(_installed, where, kind, state)
            for kind in kinds
            for state in ("warm", "cold")
        },
        effort.repeats,
    )
    sizes = {kind: _files(where / kind) for kind in kinds}
    for state in ("warm", "cold"):
        ratio = samples.ratio(f"task, {state}", f"jobs, {state}")
        report.targets.append(
            Target(
                f"install of the task set ÷ that of the other jobs, {state}", ratio, 0.3
            )
        )
    rows = [
        [name, f"{samples.median(name):.2f}", f"{sizes[name.split(',')[0]]:,.0f}"]
        for name in samples.seconds
    ]
    report.tables.append(
        Table("install.sh by uv, bytecode compiled", ["", "seconds", "files"], rows)
    )
    report.notes.append(
        "`cold` has an empty uv cache; how far the registry is decides much of it. Between runs of the same lock the "
        "action restores the whole environment from the cache instead."
    )


def _installs_without_cache(report: Report, effort: Effort, where: Path) -> None:
    """What `merge` and `continue` do before they start; every download is made anew."""
    no_uv = _path_without_uv(where / "machine")
    no_lock = where / "home"  # of uv, so that pip installs everything
    shutil.copytree(INSTALL.parent, no_lock / INSTALL.parent.relative_to(ROOT))
    (no_lock / INSTALL.parent.relative_to(ROOT) / "requirements-uv.txt").unlink()
    variants = {
        f"{kind}, {how}": partial(_installed_anew, where, kind, home, path)
        for kind in ("jobs", "continue")
        for how, home, path in (
            ("uv is there", ROOT, _path()),
            ("uv is fetched first", ROOT, no_uv),
            ("pip alone", no_lock, no_uv),
        )
    }
    samples = interleaved(variants, effort.repeats)
    fetched = samples.median("jobs, uv is fetched first")
    report.targets.append(
        Target("install of job merge without a cache and without uv", fetched, 3, "s")
    )
    rows = [
        [name, f"{samples.median(name):.2f}", f"{min(taken):.2f}", f"{max(taken):.2f}"]
        for name, taken in samples.seconds.items()
    ]
    report.tables.append(
        Table(
            "install.sh for a job with a token that may write: no cache, no bytecode",
            ["", "seconds", "least", "most"],
            rows,
        )
    )


def _path_without_uv(machine: Path) -> str:
    machine.mkdir(parents=True)
    python3 = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    (machine / "python3").symlink_to(python3)
    for name in PROGRAMS:
        (machine / name).symlink_to(str(shutil.which(name)))
    return str(machine)


def _installed_anew(where: Path, kind: str, home: Path, path: str) -> float:
    target, cache = where / kind, where / "anew"
    shutil.rmtree(target, ignore_errors=True)
    shutil.rmtree(cache, ignore_errors=True)
    given = environment(
        FANIN_HOME=str(home),
        FANIN_SET=kind,
        FANIN_VENV=str(target),
        FANIN_CACHE="none",
        UV_CACHE_DIR=str(cache),
        PIP_NO_CACHE_DIR="1",
        PATH=path,
    )
    seconds = seconds_of(lambda: run(["bash", str(INSTALL)], where, env=given))
    program = f"import {NEEDED[kind]}"
    run([str(target / "bin/python"), "-c", program], where, env=environment())
    return seconds


def _legs(report: Report, effort: Effort, where: Path) -> None:
    """Seconds from a leg's first step until its agent starts: the shipped workflow
    under act, round after round.
    """
    from tests.support.github import harness, world
    from tests.support.github.forge import Forge

    try:
        harness.find_act()
    except harness.ActMissingError as error:
        report.notes.append(f"From job start to agent start: left out: {error}")
        return

    class Timed(harness.Harness):
        """Every job says first what time it is."""

        def prepare(self, *given: Any) -> Any:
            prepared = super().prepare(*given)
            for job in prepared.document["jobs"].values():
                job["steps"].insert(
                    0, {"name": "Clock", "run": "echo job-started=$(date +%s.%N)"}
                )
            return prepared

    command = "echo agent-started=$(date +%s.%N); echo done > $FANIN_TASK"
    tasks = [
        {"id": f"T{n}", "depends_on": [f"T{n - 1}"] if n else []}
        for n in range(1 + effort.repeats)
    ]
    settings = {"agent": {"command": ["sh", "-c", command]}}
    callers = {f".github/workflows/{world.DISPATCH}": world.example(world.DISPATCH)}
    with Forge(where / "forge") as forge:
        repository = forge.create(
            world.NAME, {**world.files(tasks, settings), **callers}
        )
        runs = Timed(
            forge,
            where / "work",
            env={"STANDIN_CACHE": str(where / "cache")},
            timeout=250,
        )
        runs.press(world.NAME, world.DISPATCH, {})
        first, *others = [
            _until_the_agent(run.printed(job))
            for run in runs.run_until_quiet()
            for job in world.TASK_JOBS
            if run.jobs[job] != "skipped"
        ]
        told = json.loads(
            repository.git.read("refs/heads/main", ".fanin/progress.json")
        )["tasks"]
        expect(
            {record["status"] for record in told.values()},
            {"completed"},
            "tasks that the rounds completed",
        )
    rows = [
        ["first round: fanin is installed", f"{first:.2f}", "1"],
        [
            "later rounds: its environment comes from the cache",
            f"{statistics.median(others):.2f}",
            f"{len(others)}",
        ],
    ]
    report.tables.append(
        Table(
            "Seconds from job start to agent start under act",
            ["", "seconds", "legs"],
            rows,
        )
    )
    report.notes.append(
        "The legs are the shipped workflow's, with stand-ins for checkout, cache and artifacts on one machine: "
        "what GitHub's own actions and network take is not in it."
    )


def _until_the_agent(printed: str) -> float:
    began = re.search(r"job-started=([\d.]+)", printed)
    acted = re.search(r"agent-started=([\d.]+)", printed)
    if not began or not acted:
        raise WrongOutput(
            f"a leg does not say when it began and when its agent did: {printed[-500:]}"
        )
    return float(acted[1]) - float(began[1])


def _installed(where: Path, kind: str, state: str) -> float:
    """Seconds of one installation, after which everything it is for can be imported,
    already compiled.
    """
    target, cache = where / kind, where / ("cache" if state == "warm" else "cold")
    shutil.rmtree(target, ignore_errors=True)
    if state == "cold":
        shutil.rmtree(cache, ignore_errors=True)
    given = environment(
        FANIN_HOME=str(ROOT),
        FANIN_SET=kind,
        FANIN_VENV=str(target),
        FANIN_CACHE="save",
        UV_CACHE_DIR=str(cache),
        PATH=_path(),
    )
    seconds = seconds_of(lambda: run(["bash", str(INSTALL)], where, env=given))
    told = "import sys, json; sys.dont_write_bytecode = True\n"
    told += f"import {NEEDED[kind]}\n"
    told += "print(json.dumps([m.__cached__ for m in (click, yaml) if not __import__('os').path.exists(m.__cached__)]))"
    missing = json.loads(
        run(
            [str(target / "bin" / "python"), "-c", told],
            where,
            env=environment(PYTHONPATH=""),
        )
    )
    expect(missing, [], "modules that are not compiled")
    return seconds


def _files(target: Path) -> int:
    return sum(1 for path in target.rglob("*") if path.is_file())
