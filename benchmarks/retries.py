"""`python -m benchmarks.retries [--tasks N] [--seeds N] [--retry-from base]`: what retries
cost where tasks change the same lines without saying so.

A scripted agent (tests/resources/line_agent.py) writes each line of its task that its
checkout lacks. Some pairs of tasks append to one file. Exit 1 if a line is missing or
twice in the final tree, if agents write more than a tenth of the lines twice, or if one
conflict in twenty is not over after one more attempt.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.config.settings import load, read_settings_file
from runner.core.result import FailureKind
from runner.local.run import LocalRun
from runner.repo.repository import Repository
from tests.support.project import Project, Quiet

AGENT = Path(__file__).parents[1] / "tests" / "resources" / "line_agent.py"
SCHEDULES = ("batch", "rolling")
SLOTS = 6
# Of the tasks; some do not run beside each other, so that about 28 % conflict.
PAIRS = 0.3
_OWN_LINES, _SHARED_LINES = 6, 2


@dataclass(frozen=True)
class Figures:
    """What one run did. `wrong` are lines that are not in the final tree once."""

    tasks: int
    attempts: int
    lines: int
    written: int
    conflicts: int
    solved: int  # conflicts after which the next attempt landed
    wrong: tuple[str, ...] = ()

    @property
    def twice(self) -> float:
        """Lines that were written once more, as a part of all lines."""
        return (self.written - self.lines) / self.lines

    @property
    def solved_at_once(self) -> float:
        return self.solved / self.conflicts if self.conflicts else 1.0

    @property
    def is_right(self) -> bool:
        return not self.wrong and self.twice <= 0.1 and self.solved_at_once >= 0.95


def experiment(
    folder: Path, schedule: str, seed: int, *, tasks: int = 60, retry_from: str = "work"
) -> Figures:
    """Run the plan of a seed, and look at what became of its lines."""
    chooser = random.Random(seed)
    project = _project(folder)
    wanted = _plan(project, chooser, tasks)
    seen = Quiet()
    _run(project, seen, schedule=schedule, retry_from=retry_from)
    return _figures(project, seen, wanted)


def _project(folder: Path) -> Project:
    root = folder / "repo"
    root.mkdir(parents=True)
    project = Project(root, folder / "written.log")
    project.git("init", "-q", "-b", "main")
    return project


def _plan(
    project: Project, chooser: random.Random, count: int
) -> dict[str, list[tuple[str, str]]]:
    """Write and commit the plan; task id → (path, line) of each of its lines."""
    pairs = chooser.sample(range(count // 2), round(count * PAIRS))
    tasks: list[dict[str, Any]] = []
    wanted: dict[str, list[tuple[str, str]]] = {}
    for number in range(count):
        name = f"T{number:02}"
        lines = [(f"own/{name}.txt", f"line {n} of {name}") for n in range(_OWN_LINES)]
        if number // 2 in pairs:
            path = f"shared/{number // 2}.txt"
            lines += [
                (path, f"line of {name} in common {n}") for n in range(_SHARED_LINES)
            ]
            project.write(path, "the first line\n")
        project.write(f"own/{name}.txt", "the first line\n")
        wanted[name] = lines
        does = [f"{path}: {text}" for path, text in lines]
        # The two of a pair work at the same time.
        does.append(f"sleep {0.2 + 0.1 * chooser.random():.2f}")
        tasks.append({"id": name, "do": does})
    agent = {"command": [sys.executable, str(AGENT)], "env": ["LINE_AGENT_LOG"]}
    project.plan(tasks, agent=agent, max_concurrent=SLOTS)
    return wanted


def _run(project: Project, observer: Quiet, **flags: Any) -> None:
    environ = {**os.environ, "LINE_AGENT_LOG": str(project.log)}
    settings = load(flags, {}, read_settings_file(project.root))
    LocalRun(Repository(project.root, os.environ), settings, environ, observer)()


def _figures(
    project: Project, seen: Quiet, wanted: dict[str, list[tuple[str, str]]]
) -> Figures:
    landed = [task for task, state in project.states().items() if state == "completed"]
    wrong = [f"{task} did not land" for task in wanted if task not in landed]
    files: dict[str, list[str]] = {}
    for task in landed:
        for path, text in wanted[task]:
            if path not in files:
                files[path] = project.git("show", f"HEAD:{path}").splitlines()
            times = files[path].count(text)
            if times != 1:
                wrong.append(f"{path} has {text!r} {times} times")
    conflicts: Counter[str] = Counter()
    for merged in seen.fan_ins:
        for task, failure in merged.failed.items():
            conflicts[task] += failure.kind is FailureKind.CONFLICT
    # A task with two conflicts in a row has one that the next attempt did not solve.
    solved = sum(1 for task, count in conflicts.items() if count and task in landed)
    return Figures(
        tasks=len(wanted),
        attempts=len(seen.results),
        lines=sum(map(len, wanted.values())),
        written=len(project.log.read_text().splitlines()),
        conflicts=sum(conflicts.values()),
        solved=solved,
        wrong=tuple(wrong),
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retries", description=__doc__
    )
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--retry-from", choices=("work", "base"), default="work")
    options = parser.parse_args(argv)
    print("| schedule | seed | attempts | conflicts | solved at once | written twice |")
    print("|---|---|---|---|---|---|")
    is_right = True
    for schedule in SCHEDULES:
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                figures = experiment(
                    Path(folder),
                    schedule,
                    seed,
                    tasks=options.tasks,
                    retry_from=options.retry_from,
                )
            is_right = is_right and figures.is_right
            print(
                f"| {schedule} | {seed} | {figures.attempts} "
                f"| {figures.conflicts} ({figures.conflicts / figures.tasks:.0%}) "
                f"| {figures.solved_at_once:.0%} | {figures.twice:.0%} |",
                flush=True,
            )
            for line in figures.wrong:
                print(line)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
