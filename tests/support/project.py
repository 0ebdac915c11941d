"""A real repository with a plan and the scripted agent, as integration tests use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runner.config.settings import Settings, file_in, load
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Result
from runner.fan_in.batch_merge import FanIn
from runner.local.run import Ended, LocalRun
from runner.plan.snapshot import Snapshot
from runner.repo.repository import Repository

AGENT = Path(__file__).parents[1] / "resources" / "fake_agent.py"


class Quiet:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.fan_ins: list[FanIn] = []
        self.results: dict[tuple[str, int], Result] = {}
        self.notes: list[str] = []

    def begun(self, snapshot: Snapshot, settings: Settings) -> None: ...

    def batch(self, manifest: Manifest) -> None:
        self.batches.append([entry.task.id for entry in manifest.entries])

    def started(self, entry: BatchEntry) -> None: ...

    def finished(self, entry: BatchEntry, result: Result) -> None:
        self.results[entry.task.id, entry.attempt] = result

    def fanned_in(self, manifest: Manifest, fan_in: FanIn) -> None:
        self.fan_ins.append(fan_in)

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Project:
    """The repository at `root`; `log` is where the scripted agent notes its intervals."""

    root: Path
    log: Path

    def git(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run(
            ["git", *argv], cwd=self.root, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"git {argv}: {done.stderr}")
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def commit(self, message: str = "change") -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", message)
        return self.git("rev-parse", "HEAD")

    def plan(self, tasks: Sequence[Mapping[str, Any]], **settings: Any) -> None:
        """Write and commit tasks.yml and fanin.yml; a task's `do` is its prompt, lines
        for the agent.
        """
        entries = [
            {
                "title": f"do {task['id']}",
                "prompt": "\n".join(task.get("do", [])),
                **{key: value for key, value in task.items() if key != "do"},
            }
            for task in tasks
        ]
        agent = {"command": [sys.executable, str(AGENT)], "env": ["FAKE_AGENT_LOG"]}
        self.write(
            "tasks.yml",
            yaml.safe_dump({"version": 1, "tasks": entries}, sort_keys=False),
        )
        self.write(
            "fanin.yml",
            yaml.safe_dump(
                {"parallel": True, "agent": agent, **settings}, sort_keys=False
            ),
        )
        self.commit("plan")

    def runner(self, listener: Quiet | None = None, **flags: Any) -> LocalRun:
        settings = load(flags, {}, file_in(self.root))
        environ = {**os.environ, "FAKE_AGENT_LOG": str(self.log)}
        return LocalRun(
            Repository(self.root, os.environ), settings, environ, listener or Quiet()
        )

    def run(self, listener: Quiet | None = None, **flags: Any) -> Ended:
        return self.runner(listener, **flags)()

    def cli(
        self, *argv: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The real command in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "runner", *argv],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "FAKE_AGENT_LOG": str(self.log), **(env or {})},
        )

    def records(self, revision: str = "HEAD") -> dict[str, dict[str, Any]]:
        found = json.loads(self.git("show", f"{revision}:.fanin/progress.json"))[
            "tasks"
        ]
        return {str(task_id): dict(record) for task_id, record in found.items()}

    def states(self, revision: str = "HEAD") -> dict[str, str]:
        return {
            task_id: record["status"]
            for task_id, record in self.records(revision).items()
        }

    def subjects(self, revision: str = "HEAD") -> list[str]:
        return self.git("log", "--format=%s", revision).splitlines()

    def intervals(self) -> list[tuple[str, int, float, float]]:
        """(task, attempt, began, ended) of every attempt that ended."""
        began: dict[tuple[str, int], float] = {}
        found = []
        for line in self.log.read_text().splitlines() if self.log.exists() else []:
            event = json.loads(line)
            key = (event["task"], event["attempt"])
            if event["event"] == "began":
                began[key] = event["at"]
            else:
                found.append((*key, began[key], event["at"]))
        return found


def most_at_once(intervals: Sequence[tuple[str, int, float, float]]) -> int:
    """How many of the intervals overlapped at the fullest moment."""
    edges = sorted(
        [(began, 1) for _, _, began, _ in intervals]
        + [(ended, -1) for _, _, _, ended in intervals]
    )
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most
