"""Job set-up: what a matrix leg installs (`task`) against what the other jobs do (`full`), warm and cold, by uv."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.harness import (
    ROOT,
    Effort,
    Report,
    Table,
    Target,
    Unavailable,
    environment,
    expect,
    folder,
    interleaved,
    run,
    seconds_of,
)

INSTALL = ROOT / ".github" / "actions" / "fanin" / "install.sh"
NEEDED = {"task": "click, pathspec, pydantic, yaml", "full": "click, pathspec, pydantic, yaml, networkx, git, github"}


def measure(effort: Effort) -> Report:
    report = Report("Job set-up")
    if not shutil.which("uv"):
        raise Unavailable("uv is not on PATH")
    with folder(effort, "job-setup") as where:
        if effort.smoke:
            sizes = {kind: _installed(where, kind, "warm") for kind in ("task",)}
            report.tables.append(Table("Installed", ["set", "seconds"], [["task", f"{sizes['task']:.1f}"]]))
            return report
        for kind in NEEDED:
            _installed(where, kind, "warm")  # fills the cache
        samples = interleaved(
            {
                f"{kind}, {state}": lambda kind=kind, state=state: _installed(where, kind, state)  # type: ignore[misc]
                for kind in NEEDED
                for state in ("warm", "cold")
            },
            effort.repeats,
        )
        sizes = {kind: _files(where / kind) for kind in NEEDED}
    for state in ("warm", "cold"):
        ratio = samples.ratio(f"task, {state}", f"full, {state}")
        report.targets.append(Target(f"install of the task set ÷ the full one, {state}", ratio, 0.3))
    rows = [[name, f"{samples.median(name):.2f}", f"{sizes[name.split(',')[0]]:,.0f}"] for name in samples.seconds]
    report.tables.append(Table("install.sh by uv, bytecode compiled", ["", "seconds", "files"], rows))
    report.notes.append(
        "`cold` has an empty uv cache; how far the registry is decides much of it. Between runs of the same lock the "
        "action restores the whole environment from the cache instead."
    )
    return report


def _installed(where: Path, kind: str, state: str) -> float:
    """Seconds of one installation, after which everything it is for can be imported, already compiled."""
    target, cache = where / kind, where / ("cache" if state == "warm" else "cold")
    shutil.rmtree(target, ignore_errors=True)
    if state == "cold":
        shutil.rmtree(cache, ignore_errors=True)
    given = environment(FANIN_SOURCE=str(ROOT), FANIN_SET=kind, FANIN_ENV=str(target), UV_CACHE_DIR=str(cache))
    seconds = seconds_of(lambda: run(["bash", str(INSTALL)], where, env=given))
    told = "import sys, json; sys.dont_write_bytecode = True\n"
    told += f"import {NEEDED[kind]}\n"
    told += "print(json.dumps([m.__cached__ for m in (click, yaml) if not __import__('os').path.exists(m.__cached__)]))"
    missing = json.loads(run([str(target / "bin" / "python"), "-c", told], where, env=environment(PYTHONPATH="")))
    expect(missing, [], "modules that are not compiled")
    return seconds


def _files(target: Path) -> int:
    return sum(1 for path in target.rglob("*") if path.is_file())
