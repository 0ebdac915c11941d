"""A repository on the forge with a plan, a scripted agent and the shipped caller: what
the scenarios start from.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.github import workflows
from tests.support.github.forge import Forge, Repository
from tests.support.github.harness import PROJECT, Harness, Run
from tests.support.github.standin.artifacts import Store

NAME = "octo/work"
AGENT = PROJECT / "tests" / "resources" / "fake_agent.py"
OWN_JOBS = "own-jobs.yml"
SCHEDULE = "fanin-schedule.yml"
DISPATCH, PULL_REQUEST, ISSUES, COMMENT = (
    "fanin.yml",
    "fanin-pull-request.yml",
    "fanin-issues.yml",
    "fanin-comment.yml",
)
EXAMPLES = {
    DISPATCH: "examples/dispatch.yml",
    PULL_REQUEST: "examples/pull-request.yml",
    ISSUES: "examples/issues.yml",
    COMMENT: "examples/comment.yml",
    OWN_JOBS: "examples/own-jobs.yml",
    SCHEDULE: "examples/schedule.yml",
}
KEY = "key-of-the-agent"
# Job `task` of each round; the harness names those of the second call and later by it.
TASK_JOBS = ("task", *(f"round-{number}-task" for number in range(2, 6)))

Task = Mapping[str, Any]


def example(workflow: str) -> str:
    """A shipped caller, as it is."""
    return (PROJECT / EXAMPLES[workflow]).read_text(encoding="utf-8")


def adapted(workflow: str, change: Callable[[workflows.Document], object]) -> str:
    """A shipped caller as a user changes it; `change` gets the parsed file and works on
    it.
    """
    document = workflows.load(example(workflow))
    change(document)
    return workflows.dump(document)


def plan(tasks: Sequence[Task]) -> str:
    """tasks.yml; a task's `do` is its prompt, lines for the scripted agent."""
    entries = [
        {
            "id": task["id"],
            "title": f"do {task['id']}",
            "prompt": "\n".join(task.get("do", ["nothing"])),
            **{key: value for key, value in task.items() if key not in ("id", "do")},
        }
        for task in tasks
    ]
    return yaml.safe_dump({"version": 1, "tasks": entries}, sort_keys=False)


def files(tasks: Sequence[Task], settings: Mapping[str, Any]) -> dict[str, str]:
    """The repository's files beside its workflows."""
    agent = {"command": ["python3", "agent.py"]}
    return {
        "tasks.yml": plan(tasks),
        "fanin.yml": yaml.safe_dump(
            {"parallel": True, "agent": agent, "sandbox": "off", **settings},
            sort_keys=False,
        ),
        "agent.py": AGENT.read_text(encoding="utf-8"),
    }


def _with_uv(cache: Path) -> tuple[Path, ...]:
    """A folder that has only uv, once the first run has installed fanin with pip.

    Jobs without a cache install in each run, and pip takes ten times as long.
    """
    uv = shutil.which("uv")
    if uv is None or not cache.exists():
        return ()
    folder = cache.parent / "uv-bin"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (folder / "uv").symlink_to(uv)
    return (folder,)


def _fast_installs(cache: Path) -> dict[str, str]:
    """What uv downloaded once is there for the next job, as the stand-in of the cache
    has it: as hard links, so that no job may change such a file in place.
    """
    # Like pip, it trusts whom the machine trusts.
    return {
        "UV_CACHE_DIR": str(cache.parent / "uv-cache"),
        "UV_LINK_MODE": "hardlink",
        "UV_SYSTEM_CERTS": "true",
    }


def compile_downloads(cache: Path) -> None:
    """Adds bytecode to the packages that the first run downloaded.

    The jobs without a cache get it with the packages, and compile nothing themselves.
    """
    packages = cache.parent / "uv-cache" / "archive-v0"
    if not packages.is_dir():  # pip has installed them
        return
    python = Path(sys.base_prefix) / "bin" / "python3"  # as in harness.tool_path
    argv = [str(python), "-I", "-m", "compileall", "-q", str(packages)]
    subprocess.run(argv, check=True)


class World:
    """One repository, and the harness that runs its workflows."""

    def __init__(
        self,
        forge: Forge,
        work: Path,
        cache: Path,
        tasks: Sequence[Task],
        *,
        callers: Mapping[str, str],
        settings: Mapping[str, Any] | None = None,
        more: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`callers` are workflow files by name, `more` further files, `cache` what
        holds fanin's installation.
        """
        self.forge, self.tasks = forge, tasks
        self.repository: Repository = forge.create(
            NAME,
            {
                **files(tasks, settings or {}),
                **{f".github/workflows/{name}": text for name, text in callers.items()},
                **(more or {}),
            },
        )
        self.harness = Harness(
            forge,
            work,
            packages=cache.parent / "packages",
            secrets={"ANTHROPIC_API_KEY": KEY, **(secrets or {})},
            env={"STANDIN_CACHE": str(cache), **_fast_installs(cache), **(env or {})},
            path_first=_with_uv(cache),
            timeout=250,
        )

    @property
    def store(self) -> Store:
        return self.forge.artifacts

    def press(self, workflow: str = DISPATCH, **inputs: str) -> int:
        """The button; the id of the run that is queued."""
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        self.harness.press(NAME, workflow, given)
        return self.harness.queue[-1].run_id

    def rounds(self, workflow: str = DISPATCH, **inputs: str) -> list[Run]:
        """The button, and every round that follows."""
        self.press(workflow, **inputs)
        return self.harness.run_until_quiet()

    def round(self, workflow: str = DISPATCH, **inputs: str) -> Run:
        """The button, where no second round may follow."""
        (only,) = self.rounds(workflow, **inputs)
        return only

    def rival(self, path: str = "rival") -> None:
        """Somebody else's commit on main."""
        self.repository.git.commit_files(
            "main", {path: "by a rival\n"}, f"Rival {path}"
        )

    def records(
        self, ref: str = "refs/heads/main", path: str = ".fanin/progress.json"
    ) -> dict[str, dict[str, Any]]:
        """What the progress file says of every task."""
        found = json.loads(self.repository.git.read(ref, path))["tasks"]
        return {str(task_id): dict(record) for task_id, record in found.items()}

    def states(self, ref: str = "refs/heads/main") -> dict[str, str]:
        return {
            task_id: str(record["status"])
            for task_id, record in self.records(ref).items()
        }

    def subjects(self, ref: str = "refs/heads/main") -> list[str]:
        return self.repository.git.subjects(ref)


def legs(run: Run) -> dict[str, str]:
    """The result of each leg of the matrix, by task."""
    return {
        str(leg.matrix["task"]): leg.result for leg in run.legs if leg.job == "task"
    }


def round_legs(run: Run) -> list[dict[str, str]]:
    """The legs of every round that ran, as `legs` gives those of the first."""
    rounds = [
        {str(leg.matrix["task"]): leg.result for leg in run.legs if leg.job == job}
        for job in TASK_JOBS
    ]
    return [started for started in rounds if started]


def counts(run: Run, job: str = "merge") -> dict[str, int]:
    """What the fan-in says of the plan."""
    outputs = run.leg(job).outputs
    return {
        name: int(outputs[name])
        for name in ("completed", "failed", "blocked", "remaining")
    }


def ran(run: Run) -> list[str]:
    """The jobs that ran at all."""
    return [job for job, result in run.jobs.items() if result != "skipped"]


def said(run: Run, level: str) -> list[str]:
    """The annotations of a level."""
    return [item.text for item in run.annotations if item.level == level]
