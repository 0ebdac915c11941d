"""Shell completion, as the shell asks for it: by variables, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner import agents
from tests.support.project import Project

ROOT = Path(__file__).parents[2]


def _complete(
    folder: Path, *words: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Complete the last word, as bash does."""
    variables = {
        "COMP_WORDS": " ".join(["fanin", *words]),
        "COMP_CWORD": str(len(words)),
        "_FANIN_COMPLETE": "bash_complete",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-m", "runner"],
        cwd=folder,
        env=os.environ | variables | (env or {}),
        capture_output=True,
        text=True,
        check=False,
    )


def _values(completed: subprocess.CompletedProcess[str]) -> list[str]:
    assert (completed.returncode, completed.stderr) == (0, "")
    lines = completed.stdout.strip().splitlines()
    return [line.partition(",")[2] for line in lines]


@pytest.fixture
def planned(project: Project) -> Project:
    project.plan([{"id": "lint"}, {"id": "login"}, {"id": "docs"}])
    return project


@pytest.mark.parametrize("command", ["retry", "skip", "task"])
def test_task_ids_of_the_committed_plan_are_completed(
    planned: Project, command: str
) -> None:
    planned.write("tasks.yml", "version: 1\ntasks: [{id: lost, title: lost}]\n")
    assert _values(_complete(planned.root, command, "l")) == ["lint", "login"]


def test_an_id_that_is_typed_already_is_not_offered(planned: Project) -> None:
    assert _values(_complete(planned.root, "skip", "lint", "l")) == ["login"]


def test_the_plan_is_found_from_a_subfolder_by_flag_and_by_variable(
    planned: Project,
) -> None:
    planned.write("plans/next.yml", "version: 1\ntasks: [{id: later, title: later}]\n")
    planned.commit()
    folder = planned.root / "plans"
    assert _values(_complete(folder, "retry", "lo")) == ["login"]
    flag = ["retry", "--plan", "plans/next.yml", "l"]
    assert _values(_complete(folder, *flag)) == ["later"]
    variable = {"FANIN_PLAN": "plans/next.yml"}
    assert _values(_complete(folder, "retry", "l", env=variable)) == ["later"]
    elsewhere = ["-C", str(planned.root), "retry", "d"]
    assert _values(_complete(folder.parent.parent, *elsewhere)) == ["docs"]


def test_task_ids_of_another_format_are_completed(project: Project) -> None:
    project.write(
        "tasks.json",
        '{"tasks": [{"id": 11, "title": "a", "status": "pending"},'
        ' {"id": 12, "title": "b", "status": "pending"}]}',
    )
    project.write("fanin.yml", "plan: tasks.json\n")
    project.commit()
    assert _values(_complete(project.root, "retry", "1")) == ["11", "12"]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"tasks.yml": "version: 1\ntasks: 7\n"},
        {"tasks.yml": "{ not yaml"},
        {"tasks.yml": "version: 1\ntasks: [{title: no id}]\n"},
        {"fanin.yml": "plan: [\n"},
        {"fanin.yml": "plan: missing.json\n"},
        {"fanin.yml": "branch: missing\n"},
    ],
    ids=str,
)
def test_nothing_is_printed_when_there_is_no_usable_plan(
    project: Project, files: dict[str, str]
) -> None:
    for path, text in files.items():
        project.write(path, text)
    project.write("unrelated", "x")
    project.commit()
    assert _values(_complete(project.root, "retry", "")) == []


def test_nothing_is_printed_outside_of_a_repository(tmp_path: Path) -> None:
    env = {"GIT_CEILING_DIRECTORIES": str(tmp_path)}
    folder = tmp_path / "empty"
    folder.mkdir()
    assert _values(_complete(folder, "retry", "", env=env)) == []
    assert _values(_complete(folder, "-C", "missing", "retry", "", env=env)) == []


def test_presets_formats_and_choices_are_completed(planned: Project) -> None:
    root = planned.root
    assert _values(_complete(root, "run", "--agent", "")) == [*agents.presets()]
    assert _values(_complete(root, "run", "--source", "na")) == ["native"]
    assert _values(_complete(root, "convert", "--source", "na")) == ["native"]
    strategies = _values(_complete(root, "run", "--commit-strategy", ""))
    assert strategies == ["batch", "individual"]
    assert _values(_complete(root, "graph", "--format", "")) == [
        "mermaid",
        "dot",
        "json",
    ]
    assert _values(_complete(root, "sta")) == ["status"]


def test_task_ids_are_completed_without_the_libraries_that_are_slow_to_import(
    planned: Project,
) -> None:
    script = """
import sys
from runner.cli import main
try:
    main()
except SystemExit:
    print("modules:", *sys.modules)
"""
    completed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=planned.root,
        env=os.environ
        | {
            "COMP_WORDS": "fanin retry l",
            "COMP_CWORD": "2",
            "_FANIN_COMPLETE": "bash_complete",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    values, _, modules = completed.stdout.partition("modules: ")
    assert values == "plain,lint\nplain,login\n"
    assert not {"networkx", "pydantic"} & set(modules.split())
