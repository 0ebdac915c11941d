"""What starting a command costs, against fanin at a fixed earlier commit.

Needs a clone that has that commit: `git archive` writes it beside the plan that both
work on. Counted is processor time, of the command and of all processes that it waits
for, in turns.
"""

from __future__ import annotations

import resource
import shutil
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

from benchmarks.harness import (
    PYTHON,
    ROOT,
    Effort,
    Report,
    Table,
    Target,
    Unavailable,
    WrongOutput,
    environment,
    folder,
    interleaved,
    run,
)

# The commit that the targets are about. It has no `fanin log`.
EARLIER = "6829b77"
COMMANDS = (["status"], ["check"], ["graph"], ["run"])
PLAN = "version: 1\ntasks:\n  - {id: A, title: a, allow_empty: true}\n"
OPEN_TASK = "  - {id: B, title: b, depends_on: [A], allow_empty: true}\n"


def measure(effort: Effort) -> Report:
    report = Report("Starts")
    with folder(effort, "starts") as where:
        sources = {"earlier": _earlier(where / "earlier"), "now": ROOT}
        for name, source in sources.items():
            _make_project(where / name / "plan", source)
        calls: dict[str, Callable[[], float]] = {}
        for argv in COMMANDS:
            for name, source in sources.items():
                call = partial(_seconds, where / name, source, argv)
                call()  # compiles what is not compiled yet
                calls[f"{name} {' '.join(argv)}"] = call
        samples = interleaved(calls, effort.repeats)
    rows = []
    for argv in COMMANDS:
        command = " ".join(argv)
        ratio = samples.ratio(f"now {command}", f"earlier {command}")
        medians = [samples.median(f"{name} {command}") for name in sources]
        milliseconds = [f"{seconds * 1e3:.0f}" for seconds in medians]
        rows.append([f"fanin {command}", *milliseconds, f"{ratio:.2f}"])
        report.targets.append(Target(f"`fanin {command}` ÷ {EARLIER}", ratio, 0.5))
    report.tables.append(
        Table(
            "Processor time, a plan of two tasks",
            ["", f"{EARLIER}, ms", "now, ms", "÷"],
            rows,
        )
    )
    report.notes.append(
        "`fanin run` has one task to run, with `true` as its agent, and lands it."
    )
    return report


def _earlier(target: Path) -> Path:
    """The source of the earlier commit, in a folder below `target`."""
    source = target / "source"
    source.mkdir(parents=True)
    try:
        archive = run(["git", "archive", "--format=tar", EARLIER], ROOT)
    except WrongOutput:
        raise Unavailable(f"this clone lacks {EARLIER}; it needs all history") from None
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(source, filter="data")
    return source


def _make_project(project: Path, source: Path) -> None:
    """A repository whose plan is done but for its last task."""
    project.mkdir(parents=True)
    run(["git", "init", "-q", "-b", "main"], project)
    (project / "fanin.yml").write_text('agent: {command: ["true"]}\n')
    _commit_plan(project, PLAN)
    _fanin(project, source, ["run"])
    _commit_plan(project, PLAN + OPEN_TASK)


def _commit_plan(project: Path, text: str) -> None:
    (project / "tasks.yml").write_text(text)
    who = ["-c", "user.name=b", "-c", "user.email=b@localhost"]
    run(["git", "add", "-A"], project)
    run(["git", *who, "commit", "-qm", "plan"], project)


def _seconds(folder: Path, source: Path, argv: Sequence[str]) -> float:
    """Processor seconds of the command in a copy of the plan's repository."""
    copy = folder / "copy"
    shutil.copytree(folder / "plan", copy, symlinks=True)
    try:
        before = _processor_seconds()
        _fanin(copy, source, argv)
        return _processor_seconds() - before
    finally:
        shutil.rmtree(copy)


def _processor_seconds() -> float:
    """Of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _fanin(project: Path, source: Path, argv: Sequence[str]) -> None:
    env = environment(PYTHONPATH=str(source))
    # not -m: that would put the project before the source
    program = "from runner.cli import main; main()"
    run([PYTHON, "-c", program, *argv], project, env=env)
