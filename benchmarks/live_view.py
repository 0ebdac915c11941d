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
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from runner.attempt.reports import LastLine
from runner.core.events import (
    AgentOutput,
    AttemptStarted,
    PlannedTask,
    PlanRead,
    RunEvent,
    RunStarted,
)
from runner.ui.console import RunConsole
from runner.ui.terminal import TerminalView

AGENTS = 16
RATE = 1_000_000  # bytes a second that a busy agent writes
VIEW, QUIET = "live view, 16 × 1 MB/s", "-q, 16 × 1 MB/s"
SILENT = "live view, silent agents"
MOST_OF_QUIET = 1.1
MOST_IDLE = 1.0  # per cent of one core
MOST_MILLISECONDS = 100.0  # from an event to the screen
_PLANNED = 256
_LONG = 3600  # seconds; agents are ended before
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
    with folder(effort, "delays") as work:
        delays = _delays(work, 3 if effort.smoke else 100)
    rows = []
    for name, seconds in delays.items():
        slowest = max(seconds) * 1e3
        middle = f"{median(seconds) * 1e3:.1f}"
        rows.append([name, str(len(seconds)), middle, f"{slowest:.1f}"])
        target = f"from {name} to the screen, the slowest"
        report.targets.append(Target(target, slowest, MOST_MILLISECONDS, "ms"))
    title = (
        f"To the screen, {_PLANNED} tasks and {AGENTS} agents that write 1 MB/s each"
    )
    report.tables.append(
        Table(title, ["from", "times", "median ms", "slowest ms"], rows)
    )
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
        "sandbox": "off",
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


class _Terminal:
    """A pseudo-terminal, and all that was written to it."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        self.file = os.fdopen(theirs, "w")
        self._shown = bytearray()
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self.resize(_COLUMNS)
        self._reader.start()

    def resize(self, columns: int) -> None:
        size = struct.pack("HHHH", _ROWS, columns, 0, 0)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, size)
        # The kernel does that, but only where the terminal is the process's own.
        signal.raise_signal(signal.SIGWINCH)

    def wait_for(self, text: str) -> float:
        """Seconds until it is shown. WrongOutput if it is not within ten seconds."""
        start, sought = time.perf_counter(), text.encode()
        with self._grown:
            came = self._grown.wait_for(lambda: sought in self._shown, 10)
        expect(came, True, f"whether {text} was shown")
        return time.perf_counter() - start

    def close(self) -> None:
        self.file.close()
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        with suppress(OSError):  # the other side is closed
            while data := os.read(self._ours, 2**16):
                with self._grown:
                    self._shown.extend(data)
                    self._grown.notify()


def _delays(work: Path, count: int) -> dict[str, list[float]]:
    """Seconds from each of so many events, and resizes of the terminal, to the bytes that
    show it, while all agents write.
    """
    terminal = _Terminal()
    drawn = random.Random(1)
    events, resizes = [], []
    console = RunConsole(terminal.file)
    with TerminalView(console, environ={"TERM": "xterm"}) as view:
        for event in _run_with_agents():
            view.observe(event)
        with _writing(work, view):
            for number in range(count):
                time.sleep(drawn.random() / 2)
                # The first agent is among those that a small screen shows.
                start, end = f"mark {number}.", f"end {number}."
                view.observe(_output(0, f"{start}{'-' * _COLUMNS}{end}"))
                events.append(terminal.wait_for(start))
                time.sleep(drawn.random() / 2)
                # Only then there is room for the end of the line.
                terminal.resize(3 * _COLUMNS)
                resizes.append(terminal.wait_for(end))
                terminal.resize(_COLUMNS)
    terminal.close()
    return {"an event": events, "a resize": resizes}


@contextmanager
def _writing(work: Path, view: TerminalView) -> Iterator[None]:
    """All agents write to their logs, and their last lines go to the view as in a run.

    Not that of the first: its line is what is measured.
    """
    writers = []
    threads = []
    for number in range(AGENTS):
        numbers = map(str, (AGENTS, RATE * _LONG, _LONG))
        argv = [PYTHON, "-c", _AGENT, str(work), *numbers]
        writer = subprocess.Popen(argv, stdout=subprocess.PIPE)
        log = work.with_name(f"{work.name}-{number}.log")
        thread = threading.Thread(target=_follow, args=(writer, log, view, number))
        thread.start()
        writers.append(writer)
        threads.append(thread)
    try:
        while len([*work.iterdir()]) < AGENTS:
            time.sleep(_POLL)
        yield
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
        for thread in threads:
            thread.join()


def _follow(
    writer: subprocess.Popen[bytes], log: Path, view: TerminalView, number: int
) -> None:
    def show(line: str) -> None:
        if number:
            view.observe(_output(number, line))

    last_line = LastLine(show)
    assert writer.stdout is not None
    with writer.stdout, log.open("wb") as sink:
        while data := os.read(writer.stdout.fileno(), 2**16):
            sink.write(data)
            last_line.feed(data)
    log.unlink()


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
