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
from dataclasses import dataclass, field
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
    "task": "click, git, pydantic, yaml",
    "jobs": "click, pydantic, yaml, networkx, git, github, markdown_it",
    "continue": "click, pydantic, yaml, github",
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


@dataclass(frozen=True)
class Installation:
    """One way to run install.sh: `cache` is FANIN_CACHE, and `downloads` the folder of
    uv's downloads, which is emptied before unless `keeps_downloads`.
    """

    where: Path
    kind: str
    cache: str
    downloads: str
    keeps_downloads: bool = False
    home: Path = ROOT
    path: str = field(default_factory=_path)

    def seconds(self) -> float:
        """Install once; afterwards everything that it is for can be imported, and is
        compiled if the cache will have it.
        """
        target, downloads = self.where / self.kind, self.where / self.downloads
        shutil.rmtree(target, ignore_errors=True)
        if not self.keeps_downloads:
            shutil.rmtree(downloads, ignore_errors=True)
        given = environment(
            FANIN_HOME=str(self.home),
            FANIN_SET=self.kind,
            FANIN_VENV=str(target),
            FANIN_CACHE=self.cache,
            UV_CACHE_DIR=str(downloads),
            PIP_NO_CACHE_DIR="1",
            PATH=self.path,
        )
        seconds = seconds_of(lambda: run(["bash", str(INSTALL)], self.where, env=given))
        self._check(target / "bin" / "python")
        return seconds

    def _check(self, python: Path) -> None:
        program = f"""
import json, os, sys
sys.dont_write_bytecode = True
import {NEEDED[self.kind]}
print(json.dumps([os.path.exists(each.__cached__) for each in (click, yaml)]))
"""
        compiled = json.loads(
            run(
                [str(python), "-c", program], self.where, env=environment(PYTHONPATH="")
            )
        )
        expect(compiled, [self.cache != "none"] * 2, "compiled modules")


def _installs(report: Report, effort: Effort, where: Path) -> None:
    if effort.smoke:
        seconds = Installation(where, "task", "save", "cache").seconds()
        report.tables.append(
            Table("Installed", ["set", "seconds"], [["task", f"{seconds:.1f}"]])
        )
        return
    kinds = ("task", "jobs")
    variants = {}
    for kind in kinds:
        warm = Installation(where, kind, "save", "cache", keeps_downloads=True)
        warm.seconds()  # fills the cache
        variants[f"{kind}, warm"] = warm.seconds
        variants[f"{kind}, cold"] = Installation(where, kind, "save", "cold").seconds
    samples = interleaved(variants, effort.repeats)
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
        f"{kind}, {how}": Installation(
            where, kind, "none", "anew", home=home, path=path
        ).seconds
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


def _files(target: Path) -> int:
    return sum(1 for path in target.rglob("*") if path.is_file())
