"""Dispatch: fanin's own time for each task that does nothing, where that time goes, and
what a busy log costs.

By both schedules: batch by batch, which is the default, each round waits for its
slowest and then lands a commit.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import subprocess
import sys
import threading
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.harness import (
    PYTHON,
    Effort,
    Report,
    Samples,
    Table,
    Target,
    environment,
    expect,
    folder,
    run,
)
from runner.agents import process

SLOTS = 8
SCHEDULES = ("batch", "rolling")
_FLOOD = """
import os, sys, time
rate, seconds = float(sys.argv[1]), float(sys.argv[2])
chunk = (b"x" * 99 + b"\\n") * 655
began, sent = time.monotonic(), 0
while (now := time.monotonic() - began) < seconds:
    while sent < now * rate:
        sent += os.write(1, chunk)
    time.sleep(0.005)
"""


def measure(effort: Effort) -> Report:
    report = Report("Dispatch")
    count = 3 if effort.smoke else 1_000
    walls, floors = dict[str, float](), list[float]()
    with folder(effort, "dispatch") as where:
        for schedule in SCHEDULES:
            repo = _project(where, count, schedule)
            floors.append(_floor(where, repo, count))
            began = perf_counter()
            run([PYTHON, "-m", "runner", "run"], repo, env=_environment(), timeout=3600)
            walls[schedule] = perf_counter() - began
            _check(repo, count)
        floors.append(_floor(where, repo, count))
        floor = sum(floors) / len(floors)
        fewer = min(count, 104)
        independent = _profile(where, fewer, "batch")
        chain = _profile(where, min(count, 30), "rolling", seconds=0.02)
    alone = f"the same clones and processes alone, {SLOTS} at a time (mean of {len(floors)})"
    rows = {
        **{f"fanin run, schedule: {name}": wall for name, wall in walls.items()},
        alone: floor,
    }
    shown = [
        [name, f"{wall:.2f}", f"{wall / count * 1e3:.1f}"]
        for name, wall in rows.items()
    ]
    report.tables.append(
        Table(
            f"{count:,} tasks that do nothing, m = {SLOTS}",
            ["", "seconds", "ms a task"],
            shown,
        )
    )
    for name, wall in walls.items():
        own = max(0.0, wall - floor) / count * 1e3
        report.targets.append(
            Target(
                f"fanin's own time a task beyond clone and process, {name}",
                own,
                5.0,
                "ms",
            )
        )
    report.tables.append(
        Table(
            f"Where the time goes ({fewer} tasks, batch by batch, all threads)",
            *independent,
        )
    )
    report.tables.append(
        Table(
            "Where the time goes at each link of a chain of 20 ms each (rolling, all threads)",
            *chain,
        )
    )
    _log(report, effort)
    return report


def _environment() -> dict[str, str]:
    who = {
        "GIT_AUTHOR_NAME": "b",
        "GIT_AUTHOR_EMAIL": "b@b",
        "GIT_COMMITTER_NAME": "b",
        "GIT_COMMITTER_EMAIL": "b@b",
    }
    return environment(**who, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull)


def _project(
    where: Path, count: int, schedule: str, seconds: float | None = None
) -> Path:
    """A repository with as many tasks: of no time and independent, or a chain of so
    many seconds each.
    """
    repo = where / f"repo-{count}-{schedule}"
    run(["git", "init", "-q", "-b", "main", str(repo)], where)
    tasks = [
        {
            "id": f"T{place:04d}",
            "title": "nothing",
            "allow_empty": True,
            "depends_on": [f"T{place - 1:04d}"]
            if seconds is not None and place
            else [],
        }
        for place in range(count)
    ]
    (repo / "tasks.yml").write_text(json.dumps({"version": 1, "tasks": tasks}))
    settings = {
        "agent": {"command": ["true"] if seconds is None else ["sleep", str(seconds)]},
        "sandbox": "off",
        "parallel": True,
        "schedule": schedule,
        "max_concurrent": SLOTS,
        "limits": {"max_rounds": 10_000},
    }
    (repo / "fanin.yml").write_text(json.dumps(settings))
    for place in range(20):
        (repo / f"file{place}").write_text("content\n" * 50)
    run(["git", "add", "-A"], repo)
    run(["git", "commit", "-qm", "plan"], repo, env=_environment())
    return repo


def _check(repo: Path, count: int) -> None:
    told = json.loads(run(["git", "show", "HEAD:.fanin/progress.json"], repo))["tasks"]
    done = sum(record["status"] == "completed" for record in told.values())
    expect(done, count, "completed tasks")


def _floor(where: Path, repo: Path, count: int) -> float:
    """Seconds for as many clones that borrow the objects, the process in each, and
    their removal; nothing else.
    """
    script = (
        f'git clone -q --shared "{repo}" "{where}/floor-$1" && cd "{where}/floor-$1" && true && cd / '
        f'&& rm -rf "{where}/floor-$1"'
    )
    ids = "\n".join(str(place) for place in range(count)).encode()
    began = perf_counter()
    run(
        ["xargs", "-P", str(SLOTS), "-I{}", "sh", "-c", script, "sh", "{}"],
        where,
        stdin=ids,
        env=_environment(),
    )
    return perf_counter() - began


def _profile(
    where: Path, count: int, schedule: str, seconds: float | None = None
) -> tuple[list[str], list[list[str]]]:
    """The functions of `runner` that cost most, over all threads of a shorter run."""
    place = where / f"profiled-{schedule}"
    place.mkdir()
    repo, out = _project(place, count, schedule, seconds), place / "profile"
    run([PYTHON, "-m", "benchmarks.dispatch", str(out)], repo, env=_environment())
    _check(repo, count)
    stats = pstats.Stats(str(out)).stats  # type: ignore[attr-defined]
    total: dict[str, tuple[int, float]] = {}
    for (file, _, name), (_, calls, _, cumulative, _) in stats.items():
        room = Path(file).stem if "runner" in Path(file).parts else None
        if (
            room
            and room != "working"
            and name
            not in {"<module>", "__call__", "_rounds", "_roll", "main", "invoke"}
        ):
            total[f"{room}.{name}"] = (calls, cumulative)
    worst = sorted(total.items(), key=lambda item: -item[1][1])[:20]
    rows = [
        [name, f"{calls:,}", f"{cost / count * 1e3:.2f}"]
        for name, (calls, cost) in worst
    ]
    return ["function, with all it calls and waits for", "calls", "ms a task"], rows


def _log(report: Report, effort: Effort) -> None:
    """CPU that reading an agent's output costs at 100 MB/s, against an agent that is
    silent for as long.
    """
    names, seconds = (
        ("silent", "100 MB/s", "100 MB/s, read and thrown away"),
        0.2 if effort.smoke else 2.0,
    )
    samples = Samples({name: [] for name in names})
    with folder(effort, "log") as where:
        for _ in range(effort.repeats):
            samples.seconds[names[2]].append(_thrown_away(seconds) / seconds)
            for name, rate in (("silent", 0.0), ("100 MB/s", 100e6)):
                began = process_time()
                ended = process.run(
                    [PYTHON, "-c", _FLOOD, str(rate), str(seconds)],
                    cwd=where,
                    env=environment(),
                    stdin=None,
                    log=where / "log",
                    timeout=60,
                )
                samples.seconds[name].append((process_time() - began) / seconds)
                expect(ended.exit_code, 0, "exit code of the agent")
    extra = (samples.median("100 MB/s") - samples.median("silent")) * 100
    rows = [[name, f"{samples.median(name) * 100:.1f} %"] for name in samples.seconds]
    report.tables.append(
        Table("CPU of one core while an agent writes", ["output", "CPU"], rows)
    )
    report.targets.append(
        Target("CPU of one core for a log of 100 MB/s", extra, 5.0, "%")
    )


def _thrown_away(seconds: float) -> float:
    """CPU seconds of the least that can be done with such an output: ask the system for
    it, in large pieces.
    """
    agent = subprocess.Popen(
        [PYTHON, "-c", _FLOOD, "100e6", str(seconds)],
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert agent.stdout is not None
    began = process_time()
    with agent, agent.stdout as pipe:
        while os.read(pipe.fileno(), 2**20):
            pass
    expect(agent.returncode, 0, "exit code of the agent")
    return process_time() - began


def _profiled(out: Path) -> None:
    """`fanin run` here, with a profile of every thread."""
    from runner.cli import main

    profiles: list[cProfile.Profile] = []

    def bootstrap(self: threading.Thread, inner: object = threading.Thread.run) -> None:
        mine = cProfile.Profile()
        profiles.append(mine)
        mine.runcall(inner, self)  # type: ignore[arg-type]

    threading.Thread.run = bootstrap  # type: ignore[method-assign]
    own = cProfile.Profile()
    sys.argv = ["fanin", "run"]
    try:
        own.runcall(main)
    except SystemExit as end:
        if end.code:
            raise
    stats = pstats.Stats(own)
    for each in profiles:
        stats.add(each)
    stats.dump_stats(str(out))


if __name__ == "__main__":
    _profiled(Path(sys.argv[1]))
