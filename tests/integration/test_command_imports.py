"""Each command imports only what it uses: by the list of what is loaded when it ends,
never by time.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.project import Project

SLOW = {
    "filelock",
    "git",
    "gitdb",
    "github",
    "networkx",
    "pydantic",
    "requests",
    "rich.console",
    "yaml",
}
SETTINGS = {"pydantic", "yaml"}

_TELL = """
import sys
sys.argv = ["fanin", *sys.argv[1:]]
from runner.cli import main
try:
    main()
except SystemExit as end:
    print("\\n::", end.code, *sys.modules)
"""


_COUNT_LOOKUPS = """
import importlib.metadata, sys
sys.argv = ["fanin", *sys.argv[1:]]
lookups = []
importlib.metadata.distributions = lambda **_: lookups.append(1) or []
from runner.cli import main
try:
    main()
except SystemExit:
    print("\\n::", len(lookups))
"""


def loaded(project: Project, *argv: str) -> set[str]:
    """Every module that is loaded when the command has ended with 0, 1 or 2."""
    told = subprocess.run(
        [sys.executable, "-c", _TELL, *argv],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
    )
    code, *names = told.stdout.rpartition("\n:: ")[2].split()
    assert code in {"0", "1", "2"}, told.stdout + told.stderr
    return set(names)


@pytest.fixture
def planned(project: Project) -> Project:
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ]
    )
    return project


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["--version"]])
def test_help_loads_click_and_no_more_than_a_handful_of_small_modules(
    planned: Project, argv: list[str]
) -> None:
    names = loaded(planned, *argv)
    assert not names & SLOW
    assert not names & {
        "dataclasses",
        "json",
        "pathlib",
        "shutil",
        "subprocess",
        "tempfile",
        "zlib",
    }
    outside_cli = {name for name in names if name.startswith("runner")}
    outside_cli -= {name for name in names if name.startswith("runner.cli")}
    assert outside_cli <= {
        "runner",
        "runner.config",
        "runner.config.settings_table",
        "runner.core",
        "runner.core.errors",
    }


def test_a_command_loads_no_module_of_another_command(planned: Project) -> None:
    names = {name for name in loaded(planned, "check") if name.startswith("runner.cli")}
    shared = {"runner.cli", "runner.cli.context", "runner.cli.options"}
    assert names == {*shared, "runner.cli.completion", "runner.cli.inspect"}


@pytest.mark.parametrize(
    ("argv", "used"),
    [
        (["graph"], SETTINGS),
        (["status", "--json"], SETTINGS),
        (["status"], SETTINGS),
        (["diff", "A"], SETTINGS),
        (["log", "A"], SETTINGS),
        (["show", "A"], SETTINGS),
        (["kept"], SETTINGS),
        (["report"], SETTINGS),
        (["check"], SETTINGS),
        (["run"], {"filelock", "rich.console", *SETTINGS}),
        (["skip", "B"], {"filelock", *SETTINGS}),
        (["retry", "B"], {"filelock", *SETTINGS}),
        (["init"], SETTINGS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "uses",
)
def test_a_command_loads_only_the_libraries_that_it_uses(
    planned: Project, argv: list[str], used: set[str]
) -> None:
    assert loaded(planned, *argv) & SLOW <= used


def test_no_command_looks_for_plugins_of_pydantic(planned: Project) -> None:
    # Reading the metadata of all installed packages takes a tenth of the start.
    told = subprocess.run(
        [sys.executable, "-c", _COUNT_LOOKUPS, "status"],
        cwd=planned.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.rpartition(":: ")[2].strip() == "0"


@pytest.mark.parametrize("argv", [["status"], ["check"], ["log", "A"]], ids=" ".join)
def test_a_command_that_starts_no_agent_loads_no_preset(
    planned: Project, argv: list[str]
) -> None:
    presets = {"claude", "codex", "gemini", "opencode", "copilot", "aider"}
    assert not loaded(planned, *argv) & {f"runner.agents.{name}" for name in presets}


def test_what_only_a_run_in_progress_needs_is_not_loaded_without_one(
    planned: Project,
) -> None:
    assert not loaded(planned, "status") & {
        "runner.core.events",
        "runner.core.reports",
        "runner.plan.changes",
    }
