"""Really installed agents, and how `fanin run` is started with one: no network, no key,
no file of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from tests.conftest import IDENTITY
from tests.integration.conftest import project
from tests.support.project import Project

__all__ = ["project"]

HERE = Path(__file__).parents[1] / "support"
MODEL = "http://127.0.0.1:4100"
KEY = "dummy-key-of-no-value"
# The versions whose output is in resources/agents; a newer one is recorded anew before
# it is taken here.
PINNED = {
    "claude": "@anthropic-ai/claude-code@2.1.197",
    "codex": "@openai/codex@0.169.0",
    "gemini": "@google/gemini-cli@0.61.0",
}


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of an agent's program, installed once a session for all of xdist's
    workers.
    """
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent

    def install(name: str) -> Path:
        folder = shared / f"npm-{name}"
        with FileLock(shared / f"npm-{name}.lock"):
            if not (folder / "done").exists():
                _npm(PINNED[name], folder)
                (folder / "done").touch()
        return folder / "node_modules" / ".bin"

    return install


def _npm(package: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    if shutil.which("npm") is None:
        pytest.skip(f"{package} cannot be installed: there is no npm")
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), package],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    if done.returncode:
        pytest.skip(f"{package} cannot be installed by npm: {done.stderr[-500:]}")


@dataclass
class Ran:
    """What a run printed, and its exit status."""

    status: int
    output: str


@dataclass
class Lab:
    """A project whose plan is run by one real agent."""

    project: Project
    binaries: Path
    home: Path
    log: Path
    agent: dict[str, Any]
    environ: dict[str, str]

    def plan(self, tasks: Sequence[dict[str, Any]], **settings: Any) -> None:
        """Commit the plan; a task's `script` is what the model is to do. The agent runs
        within walls: it must work there as well as anywhere.
        """
        self.project.write(
            "tasks.yml",
            yaml.safe_dump(
                {
                    "version": 1,
                    "tasks": [
                        {
                            "title": f"do {task['id']}",
                            "prompt": f"SCRIPT{json.dumps(task['script'])}",
                            **{
                                key: value
                                for key, value in task.items()
                                if key != "script"
                            },
                        }
                        for task in tasks
                    ],
                }
            ),
        )
        chosen = {
            "parallel": True,
            "max_concurrent": 6,
            "max_attempts": 1,
            "agent": self.agent,
            "sandbox": "auto",
            **settings,
        }
        self.project.write("fanin.yml", yaml.safe_dump(chosen))
        self.project.commit("plan")

    def run(self, *argv: str) -> Ran:
        node = Path(shutil.which("node") or "/usr/bin/node").resolve().parent
        paths = [
            self.binaries,
            node,
            Path("/usr/local/bin"),
            Path("/usr/bin"),
            Path("/bin"),
        ]
        done = subprocess.run(
            [
                *unshare(),
                sys.executable,
                str(HERE / "network_namespace.py"),
                str(self.log),
                sys.executable,
                "-m",
                "runner",
                *argv,
            ],
            cwd=self.project.root,
            env={
                "PATH": os.pathsep.join(map(str, paths)),
                "HOME": str(self.home),
                "LANG": "C.UTF-8",
                "PYTHONPATH": str(HERE.parents[1]),
                "TERM": "dumb",
                **IDENTITY,
                **self.environ,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        return Ran(done.returncode, done.stdout + done.stderr)


def unshare() -> list[str]:
    """The words that put a command into a network namespace of its own. Skips where
    that is not allowed.
    """
    words = (
        ["unshare", "--net"]
        if os.geteuid() == 0
        else ["unshare", "--map-root-user", "--net"]
    )
    if (
        shutil.which("unshare") is None
        or subprocess.run([*words, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no network namespace can be made here with unshare")
    return words


_CODEX_PROVIDER = (
    'model_providers.scripted={name="scripted",base_url="http://127.0.0.1:4100/v1",wire_api="responses",env_key="CODEX_API_KEY",'
    "request_max_retries=0,stream_max_retries=0}"
)
AGENTS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "claude": (
        {"preset": "claude", "model": "claude-sonnet-4-5"},
        {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": MODEL},
    ),
    "codex": (
        {
            "preset": "codex",
            "model": "scripted",
            "args": ["-c", 'model_provider="scripted"', "-c", _CODEX_PROVIDER],
        },
        {"OPENAI_API_KEY": KEY},
    ),
    "gemini": (
        {"preset": "gemini", "model": "gemini-2.5-flash"},
        {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": MODEL},
    ),
}


@pytest.fixture(params=AGENTS)
def lab(
    request: pytest.FixtureRequest,
    project: Project,
    installed: Callable[[str], Path],
    tmp_path: Path,
) -> Lab:
    """A lab for each of the agents."""
    name = str(request.param)
    agent, environ = AGENTS[name]
    home = tmp_path / "home"
    home.mkdir()
    chosen = {**agent, "home": "isolated"}
    return Lab(
        project, installed(name), home, tmp_path / "model.log", chosen, dict(environ)
    )
