"""Live view: fanin's own processor time while 16 agents write, beside that of `-q`, and
while they are silent; and how long an event takes to be on the screen.

Each run is a real one at a terminal of 80x24. Its own process measures itself, from the
moment at which all agents are at work, for as long as they surely still are.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import resource
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

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
)
from runner.core.events import (
    AgentOutput,
    AttemptStarted,
    PlannedTask,
    PlanRead,
    RunEvent,
    RunStarted,
)
from runner.ui.terminal import RunConsole, TerminalView

AGENTS = 16
RATE = 1_000_000  # bytes a second that a busy agent writes
VIEW, QUIET = "live view, 16 × 1 MB/s", "-q, 16 × 1 MB/s"
SILENT = "live view, silent agents"
MOST_OF_QUIET = 1.1
MOST_IDLE = 1.0  # per cent of one core
MOST_MILLISECONDS = 100.0  # from an event to the screen
_PLANNED = 256
# What the lines of one agent become at most, however much it writes.
_EVENTS_A_SECOND = 4
_COLUMNS, _ROWS = 80, 24
_POLL = 0.05
# It waits for the others, so that all write for the whole time that is measured.
_AGENT = """
import os, sys, time
began, count, total, seconds = sys.argv[1], *map(float, sys.argv[2:])
open(f"{began}/{os.getpid()}", "w").close()
while len(os.listdir(began)) < count:
    time.sleep(0.02)
line, start, sent = b"x" * 99 + b"\\n", time.monotonic(), 0
while (now := time.monotonic() - start) < seconds or sent < total:
    while sent < min(total, now / seconds * total):
        sent += os.write(1, line * 40)
    time.sleep(0.02)
"""


@dataclass(frozen=True)
class _Load:
    """So many agents are measured for so many `seconds`: `settling` seconds after the
    start of the last one, and `margin` seconds before they end.
    """

    agents: int
    seconds: float
    settling: float = 0.5
    margin: float = 1.0


def measure(effort: Effort) -> Report:
    load = _Load(AGENTS, 5.0)
    if effort.smoke:
        load = _Load(2, 0.1, settling=0.0, margin=0.4)
    with folder(effort, "live-view") as work:
        contest = {
            VIEW: partial(_share, work, load, RATE),
            QUIET: partial(_share, work, load, RATE, "-q"),
            SILENT: partial(_share, work, load, 0),
        }
        report = _report(interleaved(contest, effort.repeats), load)
    delays = _delays(3 if effort.smoke else 100)
    slowest = max(delays) * 1e3
    report.tables.append(
        Table(
            f"From an event to the screen, {_PLANNED} tasks and {AGENTS} agents",
            ["events", "median ms", "slowest ms"],
            [[str(len(delays)), f"{median(delays) * 1e3:.1f}", f"{slowest:.1f}"]],
        )
    )
    name = "from an event to the screen, the slowest"
    report.targets.append(Target(name, slowest, MOST_MILLISECONDS, "ms"))
    return report


def _report(samples: Samples, load: _Load) -> Report:
    rows = []
    for name in samples.seconds:
        share, ratio = samples.median(name) * 100, samples.ratio(name, QUIET)
        rows.append([name, f"{share:.2f} %", f"{ratio:.2f}"])
    targets = [
        Target(
            "own processor time with the live view ÷ with `-q`, agents writing",
            samples.ratio(VIEW, QUIET),
            MOST_OF_QUIET,
        ),
        Target(
            "share of one core while all agents are silent",
            samples.median(SILENT) * 100,
            MOST_IDLE,
            "%",
        ),
    ]
    note = (
        "User and system time of fanin's process alone, without agents and git, over "
        f"{load.seconds:g} s in which all agents are at work. Events and logs are written in "
        "all of them; every byte is found in the logs afterwards."
    )
    title = f"Share of one core, terminal of {_COLUMNS}x{_ROWS}"
    return Report(
        "Live view",
        tables=[Table(title, ["run", "of one core", "÷ `-q`"], rows)],
        targets=targets,
        notes=[note],
    )


def _share(work: Path, load: _Load, rate: int, *flags: str) -> float:
    """The share of one core that a run takes while its agents write so many bytes a
    second each.
    """
    with folder(Effort(work, work), "run") as where:
        began, out = where / "began", where / "share"
        began.mkdir()
        length = load.settling + load.seconds + load.margin
        # whole pieces of what the agent writes at once
        total = int(rate * length) // 4_000 * 4_000
        numbers = [str(number) for number in (load.agents, total, length)]
        repo = _project(where, [PYTHON, "-c", _AGENT, str(began), *numbers], load)
        own = [PYTHON, "-m", "benchmarks.live_view", str(out), str(began)]
        own += [str(number) for number in (load.agents, load.settling, load.seconds)]
        shown = _at_terminal([*own, *flags], repo)
        _check(repo, load.agents, total)
        expect("landed" in shown, not flags, "whether the view was shown")
        return float(out.read_text())


def _project(where: Path, command: list[str], load: _Load) -> Path:
    repo = where / "repo"
    run(["git", "init", "-q", "-b", "main", str(repo)], where)
    tasks = []
    for number in range(load.agents):
        tasks.append({"id": f"T{number}", "title": "write", "allow_empty": True})
    (repo / "tasks.yml").write_text(json.dumps({"version": 1, "tasks": tasks}))
    settings = {
        "agent": {"command": command},
        "parallel": True,
        "max_concurrent": load.agents,
    }
    (repo / "fanin.yml").write_text(json.dumps(settings))
    for name, value in (("user.name", "b"), ("user.email", "b@example.org")):
        run(["git", "config", name, value], repo)
    run(["git", "add", "-A"], repo)
    run(["git", "commit", "-qm", "plan"], repo)
    return repo


def _check(repo: Path, agents: int, total: int) -> None:
    told = json.loads(run(["git", "show", "HEAD:.fanin/progress.json"], repo))["tasks"]
    done = sum(record["status"] == "completed" for record in told.values())
    expect(done, agents, "completed tasks")
    runs = repo / ".git" / "fanin" / "runs"
    sizes = [log.stat().st_size for log in runs.rglob("agent.log")]
    expect(sizes, [total] * agents, "bytes in each log")


def _at_terminal(argv: list[str], cwd: Path) -> str:
    """What a program writes to a terminal of its own. WrongOutput if it fails."""
    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    env = environment(TERM="xterm")
    env.pop("CI", None)
    process = subprocess.Popen(
        argv, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env=env
    )
    os.close(theirs)
    read = bytearray()
    try:
        while data := os.read(ours, 2**16):
            read += data
    except OSError:  # the other side is closed
        pass
    finally:
        os.close(ours)
    text = read.decode("utf-8", "replace")
    if process.wait():
        raise WrongOutput(f"fanin run ended with {process.returncode}: {text[-800:]}")
    return text


def _delays(count: int) -> list[float]:
    """Seconds from each of so many events to the bytes that show it, while all agents
    write.
    """
    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    shown = bytearray()
    grown = threading.Condition()

    def read() -> None:
        with suppress(OSError):  # the other side is closed
            while data := os.read(ours, 2**16):
                with grown:
                    shown.extend(data)
                    grown.notify()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    drawn = random.Random(1)
    delays = []
    with os.fdopen(theirs, "w") as terminal:
        console = RunConsole(terminal)
        with TerminalView(console, environ={"TERM": "xterm"}) as view:
            for event in _run_with_agents():
                view.observe(event)
            for number in range(count):
                for _ in range(AGENTS):
                    time.sleep(drawn.random() * 2 / AGENTS / _EVENTS_A_SECOND)
                    agent = drawn.randrange(1, AGENTS)
                    view.observe(_output(agent, f"line {drawn.random()}"))
                # The first agent is among those that a small screen shows.
                mark = f"mark {number}."
                start = time.perf_counter()
                view.observe(_output(0, mark))
                with grown:
                    came = grown.wait_for(lambda: mark.encode() in shown, 10)  # noqa: B023
                delays.append(time.perf_counter() - start)
                expect(came, True, f"whether {mark} was shown")
    reader.join()
    os.close(ours)
    return delays


def _run_with_agents() -> Iterator[RunEvent]:
    yield RunStarted(
        run="r",
        branch="main",
        plan="tasks.yml",
        tasks=_PLANNED,
        schedule="rolling",
        max_concurrent=AGENTS,
    )
    planned = []
    for number in range(_PLANNED):
        task = PlannedTask(
            task=f"T{number}", title="write", state="ready", expected_seconds=60
        )
        planned.append(task)
    yield PlanRead(run="r", base="0" * 40, tasks=tuple(planned))
    for number in range(AGENTS):
        yield AttemptStarted(
            batch=f"r.{number}",
            task=f"T{number}",
            attempt=1,
            title="write",
            agent="claude",
        )


def _output(agent: int, line: str) -> AgentOutput:
    return AgentOutput(batch=f"r.{agent}", task=f"T{agent}", attempt=1, last_line=line)


def _own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _watch(out: Path, began: Path, load: _Load) -> None:
    """Write the share of a core that this process takes while its agents work."""
    while len([*began.iterdir()]) < load.agents:
        time.sleep(_POLL)
    time.sleep(load.settling)
    used, start = _own_seconds(), time.perf_counter()
    time.sleep(load.seconds)
    used = _own_seconds() - used
    out.write_text(str(used / (time.perf_counter() - start)))


def _measured(argv: list[str]) -> None:
    """`fanin run` here, which measures itself."""
    from runner.cli import main

    out, began, agents, settling, seconds, *flags = argv
    load = _Load(int(agents), float(seconds), float(settling))
    watch = partial(_watch, Path(out), Path(began), load)
    threading.Thread(target=watch, daemon=True).start()
    sys.argv = ["fanin", "run", *flags]
    main()


if __name__ == "__main__":
    _measured(sys.argv[1:])
