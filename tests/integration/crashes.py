"""Kill fanin at a numbered durable step, run it again, and say all that is not as it should be.

Used by test_crash_points (a sample) and by benchmarks/reliability (every step).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.project import Project

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("crash_driver.py")
SHARED = "".join(f"line {number}\n" for number in range(1, 31))

# Retry, merge of two tasks' changes to one file, rename, a commit by the agent, verify, a second round.
TASKS: list[dict[str, Any]] = [
    {"id": "A", "do": ["write src/a: a", "replace shared: line 2\\n -> line two\\n"]},
    {"id": "B", "do": ["fail once by design", "write b: b"]},
    {"id": "C", "do": ["replace shared: line 29 -> line twenty-nine", "rename old.txt: new.txt"]},
    {"id": "D", "depends_on": ["A", "C"], "do": ["write d: d", "executable run.sh", "commit work of D"]},
]
VARIANTS: dict[str, dict[str, Any]] = {
    "batch": {"verify": "test -e README.md"},
    "individual": {"commit_strategy": "individual"},
    "waiting": {},
}


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbed: the template it started from, the steps it passed, and how it ended."""

    template: Path
    variant: str
    steps: tuple[str, ...]
    tree: str
    states: Mapping[str, str]


def prepare(folder: Path, variant: str) -> Path:
    """The repository that every run of a variant starts from."""
    project = Project(folder / f"template-{variant}" / "repo", folder / "unused.log")
    project.root.mkdir(parents=True)
    project.git("init", "-q", "-b", "main")
    project.git("config", "user.name", "test")
    project.git("config", "user.email", "test@example.com")
    project.write("README.md", "hello\n")
    project.write("shared", SHARED)
    project.write("old.txt", SHARED.replace("line", "old"))
    project.commit("start")
    project.plan([{**task, "max_attempts": 9} for task in TASKS], **VARIANTS[variant])
    if variant == "waiting":  # an untracked file stands where task D wants to write
        project.write("d", "precious\n")
    return project.root.parent


def undisturbed(folder: Path, variant: str) -> Undisturbed:
    template = prepare(folder, variant)
    place = Place.copy(template, folder / f"undisturbed-{variant}")
    place.run(0)
    steps = tuple((place.folder / "steps").read_text().splitlines())
    end = Undisturbed(template, variant, steps, place.content(), place.states())
    assert set(end.states.values()) == {"completed"}, end.states
    return end


@dataclass
class Place:
    """One copy of the repository, with a log of its agents and a temporary folder of its own."""

    folder: Path

    @classmethod
    def copy(cls, template: Path, folder: Path) -> Place:
        shutil.copytree(template, folder, symlinks=True)
        (folder / "tmp").mkdir()
        return cls(folder)

    @property
    def project(self) -> Project:
        return Project(self.folder / "repo", self.folder / "agent.log")

    @property
    def tip(self) -> str:
        """Where the run's work is: on main, or on the branch that it waits on."""
        waiting = self.project.git("for-each-ref", "--format=%(refname)", "refs/heads/fanin").splitlines()
        return waiting[0] if waiting else "refs/heads/main"

    def run(self, step: int) -> subprocess.CompletedProcess[str]:
        """`fanin run`, killed at that step (0: not at all)."""
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.folder / "tmp"),
            "FAKE_AGENT_LOG": str(self.project.log),
        }
        return subprocess.run(
            [sys.executable, str(DRIVER), str(step), str(self.folder / "steps"), "run"],
            cwd=self.project.root,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )

    def content(self) -> str:
        """The tip's files, the progress left aside: its times and attempts differ from run to run."""
        lines = self.project.git("ls-tree", "-r", self.tip).splitlines()
        return "\n".join(line for line in lines if not line.endswith("\t.fanin/progress.json"))

    def states(self) -> dict[str, str]:
        return self.project.states(self.tip)

    def durable_results(self) -> set[tuple[str, int]]:
        """(task, attempt) of every successful result that is on the disk."""
        found = set()
        for path in (self.project.root / ".git" / "fanin" / "runs").glob("*/*/results/*/result.json"):
            result = json.loads(path.read_text())
            if result["succeeded"]:
                found.add((result["task"], result["attempt"]))
        return found

    def began(self) -> list[tuple[str, int]]:
        lines = self.project.log.read_text().splitlines() if self.project.log.exists() else []
        events = [json.loads(line) for line in lines]
        return [(event["task"], event["attempt"]) for event in events if event["event"] == "began"]


def try_point(end: Undisturbed, steps: list[int], folder: Path) -> list[str]:
    """Kill at each of the steps in turn (a second one hits the recovery), then run to the end; what is wrong."""
    place = Place.copy(end.template, folder)
    wrong: list[str] = []
    safe: set[tuple[str, int]] = set()
    for step in steps:
        killed = place.run(step)
        if killed.returncode not in {-signal.SIGKILL, *_ENDED}:
            wrong.append(f"killed at {step}: ended with {killed.returncode}: {killed.stderr}")
        safe |= place.durable_results()
    last = place.run(0)
    if "finished work waits" in last.stderr:  # killed after that was known: a person makes room, then it goes on
        (place.project.root / "d").unlink()
        last = place.run(0)
    if last.returncode not in _ENDED:
        wrong.append(f"the next run ended with {last.returncode}: {last.stdout}{last.stderr}")
    wrong += _lost_or_double(place, end, safe)
    wrong += [f"left behind: {path}" for path in left_behind(place)]
    if not wrong:
        shutil.rmtree(folder)
    return [f"{end.variant}, killed at {steps} ({end.steps[min(steps[0], len(end.steps)) - 1]}): {it}" for it in wrong]


_ENDED = {0, 1}  # 1: the work waits on a branch of its own


def _lost_or_double(place: Place, end: Undisturbed, safe: set[tuple[str, int]]) -> list[str]:
    wrong = []
    if place.states() != end.states:
        wrong.append(f"lost: {place.states()} instead of {end.states}")
    if place.content() != end.tree:
        wrong.append(f"lost: another tree: {place.content()}")
    for task, attempt in safe:
        again = [number for name, number in place.began() if name == task and number > attempt]
        if again or place.began().count((task, attempt)) > 1:
            wrong.append(f"{task} ran again ({again}) though attempt {attempt} had a result")
    told = place.project.git("log", "--format=%B", place.tip)
    landed = Counter(line.partition(": ")[2] for line in told.splitlines() if line.startswith("Fanin-Task:"))
    if landed != Counter(dict.fromkeys(end.states, 1)):
        wrong.append(f"double: commits per task {dict(landed)}")
    if fsck := place.project.git("fsck", "--strict", "--no-dangling"):
        wrong.append(f"fsck: {fsck}")
    return wrong


def left_behind(place: Place) -> list[str]:
    """Every clone, quarantine, temporary file, lock and pin that should be gone, and files that are not committed."""
    git_dir = place.project.root / ".git"
    found = [str(path.relative_to(place.folder)) for path in (place.folder / "tmp").iterdir()]
    found += [str(path.relative_to(place.folder)) for path in git_dir.rglob("*") if _is_stray(path)]
    found += place.project.git("for-each-ref", "--format=%(refname)", "refs/fanin/base").splitlines()
    if place.tip == "refs/heads/main":
        found += place.project.git("status", "--porcelain").splitlines()
    return found


def _is_stray(path: Path) -> bool:
    own = path.name
    return own.startswith(("quarantine-", "tmp")) or own.endswith((".tmp", ".lock")) or own == "holder"


def sample(count: int, of: int) -> list[int]:
    """`count` steps spread evenly over all."""
    return sorted({1 + round(place * (of - 1) / max(1, count - 1)) for place in range(count)})


def try_all(
    end: Undisturbed, points: list[list[int]], folder: Path, tell: Callable[[str], object] = lambda _: None
) -> list[str]:
    wrong: list[str] = []
    for point in points:
        found = try_point(end, point, folder / f"{end.variant}-{'-'.join(map(str, point))}")
        for line in found:
            tell(line)
        wrong += found
    return wrong
