"""A real repository with a plan and the scripted agent, as integration tests use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from runner.config.settings import load, read_settings_file
from runner.core.clock import Clock
from runner.core.events import (
    AttemptEnded,
    BatchChosen,
    BatchMerged,
    CommitLanded,
    Note,
    ResultMerged,
    ResultRefused,
    RunEvent,
    Waiting,
)
from runner.core.result import Failure
from runner.local.run import NO_ANSWERS, Answers, LocalRun
from runner.local.run_report import RunOutcome
from runner.repo.repository import Repository
from tests.support import forked_fanin, json_output

AGENT = Path(__file__).parents[1] / "resources" / "fake_agent.py"


@dataclass
class MergedBatch:
    """What became of the results of one batch."""

    landed: tuple[str, ...] = ()
    failed: dict[str, Failure] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)  # task id → ref


class Quiet:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []
        self.batches: list[list[str]] = []
        self.fan_ins: list[MergedBatch] = []
        self.commits: list[CommitLanded] = []
        self.results: dict[tuple[str, int], AttemptEnded] = {}
        self.notes: list[str] = []
        self._merging = MergedBatch()

    def observe(self, event: RunEvent) -> None:
        self.events.append(event)
        match event:
            case BatchChosen():
                self.batches.append([chosen.task for chosen in event.tasks])
            case AttemptEnded():
                self.results[event.task, event.attempt] = event
            case ResultMerged():
                self._merging.landed += (event.task,)
            case ResultRefused():
                self._merging.failed[event.task] = event.failure
                if event.kept:
                    self._merging.kept[event.task] = event.kept
            case BatchMerged():
                self.fan_ins.append(self._merging)
                self._merging = MergedBatch()
            case CommitLanded():
                self.commits.append(event)
            case Note():
                self.notes.append(event.message)
            case Waiting():
                self.notes.append(event.reason)


@dataclass
class Project:
    """The repository at `root`; `log` is where the scripted agent notes its intervals.

    `has_walls`: runs have the walls of this machine, as by default. Most tests are not
    about them, and are to be the same on all machines.
    """

    root: Path
    log: Path
    has_walls: bool = False

    def git(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run(
            ["git", *argv], cwd=self.root, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"git {argv}: {done.stderr}")
        return done.stdout.strip()

    def set_identity(self) -> None:
        """Say who commits: for programs, and fixtures, without the environment of a test."""
        self.git("config", "user.name", "Tester")
        self.git("config", "user.email", "tester@example.com")

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
        sandbox: object = "off"
        if self.has_walls:
            self.log.touch()
            sandbox = {"write": [str(self.log)]}
        settings = {"sandbox": sandbox, **settings}
        if "verify" in settings:
            # Most tests have a command for the work of tasks, and count its runs.
            settings = {"verify_base": "ignore", **settings}
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

    def runner(
        self,
        observer: Quiet | None = None,
        clock: Clock | None = None,
        answers: Answers = NO_ANSWERS,
        **flags: Any,
    ) -> LocalRun:
        settings = load(flags, {}, read_settings_file(self.root))
        environ = {**os.environ, "FAKE_AGENT_LOG": str(self.log)}
        repo = Repository(self.root, os.environ)
        observer = observer or Quiet()
        return LocalRun(repo, settings, environ, observer, clock=clock, answers=answers)

    def run(
        self,
        observer: Quiet | None = None,
        clock: Clock | None = None,
        **flags: Any,
    ) -> RunOutcome:
        return self.runner(observer, clock, **flags)()

    def cli(
        self, *argv: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The real command in a process of its own. JSON that it prints is as its
        schema says.
        """
        environ = {**os.environ, "FAKE_AGENT_LOG": str(self.log), **(env or {})}
        done = forked_fanin.run(argv, self.root, environ)
        json_output.validate(argv, done.stdout)
        return done

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
