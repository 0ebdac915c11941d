"""What starting a command costs, against fanin at a fixed earlier commit.

Needs a clone that has that commit: `git archive` writes it beside the plan that both
work on. Counted is processor time, of the command and of all processes that it waits
for, in turns.

`fanin run` is counted until its first agent starts: it is killed as soon as the agent
is seen in /proc, which is looked at again and again.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
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
EARLIER_COMMANDS = (["status"], ["check"], ["graph"], ["run"])
FIRST_AGENT = "run, until its first agent starts"
# The issue names no other commands. `fanin log` has `fanin status` to compare with.
TARGETS = {
    "status": "status",
    "check": "check",
    "log A": "status",
    FIRST_AGENT: FIRST_AGENT,
}
# The agent that is waited for, by an argument that no other process has.
AGENT = ("sleep", "27.1828")
MAX_WAIT = 60.0  # seconds for an agent to start
PLAN = "version: 1\ntasks:\n  - {id: A, title: a, allow_empty: true}\n"
OPEN_TASK = "  - {id: B, title: b, depends_on: [A], allow_empty: true}\n"


def measure(effort: Effort) -> Report:
    report = Report("Starts")
    with folder(effort, "starts") as where:
        sources = {"earlier": _earlier(where / "earlier"), "now": ROOT}
        for name, source in sources.items():
            _make_project(where / name / "plan", source)
        calls: dict[str, Callable[[], float]] = {}
        for name, source in sources.items():
            for argv in EARLIER_COMMANDS:
                command = " ".join(argv)
                calls[f"{name} {command}"] = partial(
                    _seconds, where / name, source, argv
                )
            calls[f"{name} {FIRST_AGENT}"] = partial(
                _seconds_to_agent, where / name, source
            )
        calls["now log A"] = partial(_seconds, where / "now", ROOT, ["log", "A"])
        for call in calls.values():
            call()  # compiles what is not compiled yet
        samples = interleaved(calls, effort.repeats)
    rows = []
    for now in ("status", "check", "log A", "graph", FIRST_AGENT, "run"):
        then = TARGETS.get(now, now)
        ratio = samples.ratio(f"now {now}", f"earlier {then}")
        medians = [samples.median(f"earlier {then}"), samples.median(f"now {now}")]
        milliseconds = [f"{seconds * 1e3:.0f}" for seconds in medians]
        rows.append([f"fanin {now}", *milliseconds, f"{ratio:.2f}"])
        if now in TARGETS:
            what = f"`fanin {now}` ÷ {EARLIER}"
            if then != now:
                what += f", `fanin {then}`"
            report.targets.append(Target(what, ratio, 0.5))
    report.tables.append(
        Table(
            "Processor time, a plan of two tasks",
            ["", f"{EARLIER}, ms", "now, ms", "÷"],
            rows,
        )
    )
    report.notes.append(
        "`fanin run` has one task to run, with `true` as its agent, and lands it. "
        f"{EARLIER} has no `fanin log`, so that is compared with its `fanin status`."
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


def _seconds_to_agent(folder: Path, source: Path) -> float:
    """Processor seconds of `fanin run` until its first agent starts."""
    if not Path("/proc/self/cmdline").exists():
        raise Unavailable("the first agent is looked for in /proc")
    copy, temporary = folder / "copy", folder / "tmp"
    shutil.copytree(folder / "plan", copy, symlinks=True)
    temporary.mkdir()
    try:
        before = _processor_seconds()
        with subprocess.Popen(
            [*_program(), "run", "--agent-command", " ".join(AGENT)],
            cwd=copy,
            env=environment(PYTHONPATH=str(source), TMPDIR=str(temporary)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as fanin:
            agent = _first_agent(fanin)
            fanin.kill()
        seconds = _processor_seconds() - before
        _end(agent)
        return seconds
    finally:
        shutil.rmtree(copy)
        shutil.rmtree(temporary)


def _first_agent(fanin: subprocess.Popen[bytes]) -> int:
    """The id of the agent's process, once there is one."""
    wanted = b"".join(word.encode() + b"\0" for word in AGENT)
    deadline = time.monotonic() + MAX_WAIT
    while fanin.poll() is None and time.monotonic() < deadline:
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and _command_line(process) == wanted:
                return int(process.name)
    fanin.kill()
    raise WrongOutput("fanin run started no agent")


def _end(process: int) -> None:
    """End an agent that fanin, which was killed, may have left, and wait until it is gone."""
    while _command_line(Path("/proc", str(process))):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def _command_line(folder: Path) -> bytes:
    """That of a process by its folder in /proc; empty if it has ended."""
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


def _processor_seconds() -> float:
    """Of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _fanin(project: Path, source: Path, argv: Sequence[str]) -> None:
    env = environment(PYTHONPATH=str(source))
    run([*_program(), *argv], project, env=env)


def _program() -> list[str]:
    # not -m: that would put the project before the source
    return [PYTHON, "-c", "from runner.cli import main; main()"]
