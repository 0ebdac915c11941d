"""The jobs of a round as processes of the real command, each in a checkout of its own,
around a bare origin.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import forked_fanin
from tests.support.project import Project

ROOT = Path(__file__).parents[2]


@dataclass
class Job:
    """How one job ended: exit code, what it printed, its outputs and its summary."""

    code: int
    log: str
    outputs: dict[str, str]
    summary: str


@dataclass
class Jobs:
    """A run on a stand-in of the Actions machine, without a workflow engine: `folder`
    holds origin and artifacts.

    Each job is a process of its own. With `python` it is started by that interpreter, as
    on GitHub; without, it is forked.
    """

    project: Project
    folder: Path
    run_id: str = "4711"
    run_attempt: int = 1
    python: str | None = None
    environ: dict[str, str] = field(default_factory=dict)
    owner: int | None = None  # of the checkouts, if not this process's user

    @property
    def origin(self) -> Path:
        return self.folder / "origin.git"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def publish(self) -> None:
        """Make the project's repository the origin's content."""
        subprocess.run(
            ["git", "clone", "-q", "--bare", str(self.project.root), str(self.origin)],
            check=True,
        )

    def git(self, *argv: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.origin), *argv],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def job(
        self,
        command: str,
        *argv: str,
        ref: str = "main",
        env: Mapping[str, str] | None = None,
        earlier_work: str = "",
    ) -> Job:
        """Run one job in a fresh shallow checkout of `ref`, and with one of the commit
        `earlier_work` and its parent inside.
        """
        work = self.folder / f"job-{len(list(self.folder.glob('job-*')))}"
        checkout = work / "checkout"
        is_commit = re.fullmatch(r"[0-9a-f]{40}", ref) is not None
        self._check_out(checkout, ref if is_commit else f"refs/heads/{ref}", 1)
        if earlier_work:
            self._check_out(checkout / ".fanin-work", earlier_work, 2)
            env = {**(env or {}), "FANIN_WORK_CHECKOUT": ".fanin-work"}
        if self.owner is not None:
            for path in [checkout, *checkout.rglob("*")]:
                os.chown(path, self.owner, self.owner, follow_symlinks=False)
        given = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "GITHUB_RUN_ID": self.run_id,
            "GITHUB_RUN_ATTEMPT": str(self.run_attempt),
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_REF_NAME": "main",
            "GITHUB_SHA": self.git("rev-parse", "refs/heads/main"),
            "GITHUB_EVENT_NAME": "workflow_dispatch",
            "GITHUB_OUTPUT": str(work / "output"),
            "GITHUB_STEP_SUMMARY": str(work / "summary"),
            "FANIN_TOKEN": "t0ken",
            "GITHUB_API_URL": "http://127.0.0.1:9",
            "FANIN_PARALLEL": "true",
            "FAKE_AGENT_LOG": str(self.project.log),
            "FANIN_MANIFEST": str(self.folder / "manifest.json"),
            **self.environ,
            **(env or {}),
        }
        done = self._fanin([command, *argv], checkout, given)
        read = {
            name: (work / name).read_text() if (work / name).exists() else ""
            for name in ("output", "summary")
        }
        return Job(
            done.returncode,
            done.stdout + done.stderr,
            outputs(read["output"]),
            read["summary"],
        )

    def _fanin(
        self, argv: Sequence[str], checkout: Path, env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """The command of a job: started by `python`, or a fork (`forked_fanin`)."""
        if self.python is None:
            return forked_fanin.run(argv, checkout, env)
        return subprocess.run(
            [self.python, "-m", "runner", *argv],
            cwd=checkout,
            env=env,
            check=False,
            capture_output=True,
            text=True,
        )

    def _check_out(self, folder: Path, revision: str, depth: int) -> None:
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
        for step in (
            ["remote", "add", "origin", f"file://{self.origin}"],
            ["fetch", "-q", f"--depth={depth}", "origin", revision],
            ["checkout", "-q", "--detach", "FETCH_HEAD"],
        ):
            subprocess.run(["git", "-C", str(folder), *step], check=True)

    def next(self, **env: str) -> Job:
        return self.job("next", env=env)

    def tasks(self, chosen: Job) -> dict[str, Job]:
        """Every leg of the matrix, its artifact named as the workflow names it."""
        return {
            entry["task"]: self.task(chosen, entry["task"])
            for entry in self.matrix(chosen)
        }

    def matrix(self, chosen: Job) -> list[dict[str, str]]:
        return list(json.loads(chosen.outputs["matrix"])["include"])

    def task(self, chosen: Job, task_id: str) -> Job:
        entry = next(e for e in self.matrix(chosen) if e["task"] == task_id)
        results = self.folder / f"results-{entry['folder']}-{self.run_attempt}"
        done = self.job(
            "task",
            task_id,
            ref=chosen.outputs["base-sha"],
            earlier_work=entry["work"],
            env={
                "FANIN_RESULTS": str(results),
                "FANIN_MANIFEST_DIGEST": chosen.outputs["manifest-digest"],
                "FANIN_JOB_ID": f"70{entry['folder']}",
            },
        )
        if (results / entry["folder"]).exists():
            name = f"fanin-{chosen.outputs['batch']}-{entry['folder']}-a{entry['attempt']}-r{self.run_attempt}"
            self.artifacts.mkdir(exist_ok=True)
            (results / entry["folder"]).rename(self.artifacts / name)
        return done

    def as_chosen(self, merged: Job) -> Job:
        """What job `next` would have given for the round that a merge chose."""
        document = json.loads(merged.outputs["round"])
        outputs = {
            **{name: str(value) for name, value in document.items()},
            "matrix": json.dumps(document["matrix"]),
        }
        return Job(merged.code, merged.log, outputs, merged.summary)

    def merge(self, chosen: Job, **env: str) -> Job:
        """`FANIN_LATER_ROUNDS` lets it choose the next batch, as in round.yml."""
        return self.job(
            "merge",
            str(self.artifacts),
            ref=chosen.outputs["branch"],
            env={
                "FANIN_STATE": chosen.outputs["state"],
                "FANIN_TASK_RESULT": "success",
                "FANIN_NEXT_MANIFEST": str(self.folder / "manifest.json"),
                "FANIN_MANIFEST_DIGEST": chosen.outputs["manifest-digest"],
                **env,
            },
        )

    def verify(self, chosen: Job, verdict: Path, **env: str) -> Job:
        return self.job(
            "verify",
            str(self.artifacts),
            ref=chosen.outputs["branch"],
            env={
                "FANIN_STATE": chosen.outputs["state"],
                "FANIN_VERDICT": str(verdict),
                "FANIN_MANIFEST_DIGEST": chosen.outputs["manifest-digest"],
                **env,
            },
        )

    def states(self, revision: str = "main") -> dict[str, str]:
        found = json.loads(self.git("show", f"{revision}:.fanin/progress.json"))[
            "tasks"
        ]
        return {task_id: record["status"] for task_id, record in found.items()}


def outputs(text: str) -> dict[str, str]:
    """What GitHub reads from the file GITHUB_OUTPUT."""
    return {
        m["name"]: m["value"]
        for m in re.finditer(
            r"^(?P<name>[\w-]+)<<(?P<end>\S+)\n(?P<value>.*?)\n(?P=end)$",
            text,
            re.M | re.S,
        )
    }
