"""`fanin init` in repositories that it has not seen before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import forked_fanin
from tests.support.project import Project

SPEC_KIT = "# Tasks\n\n## Phase 1\n\n- [ ] T001 Write a in src/a.py\n"
PACKAGE = '{"scripts": {"test": "node --test"}}'


@pytest.fixture
def path_without_agents(tmp_path: Path) -> str:
    """A PATH with git and Python, and no agent."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "sh"):
        program = next(
            Path(entry, name)
            for entry in os.environ["PATH"].split(os.pathsep)
            if Path(entry, name).exists()
        )
        (folder / name).symlink_to(program)
    return str(folder)


def _add_program(path: str, name: str, text: str = "exit 1") -> None:
    program = Path(path, name)
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def test_what_is_there_is_used_and_nothing_of_it_is_run(
    project: Project, path_without_agents: str
) -> None:
    project.write("specs/001/tasks.md", SPEC_KIT)
    project.write("package.json", PACKAGE)
    project.commit()
    _add_program(path_without_agents, "claude", "touch ran")
    env = {"PATH": path_without_agents, "ANTHROPIC_API_KEY": "k" * 20}
    shown = project.cli("init", "--yes", env=env)
    assert shown.returncode == 0, shown.stderr
    assert "spec-kit, 1 task, 1 open" in shown.stdout
    assert yaml.safe_load((project.root / "fanin.yml").read_text()) == {
        "plan": "specs/001/tasks.md",
        "parallel": True,
        "max_concurrent": 3,
        "agent": "claude",
        "verify": "npm test",
    }
    assert not (project.root / "tasks.yml").exists()
    assert not (project.root / "ran").exists()
    assert "k" * 20 not in shown.stdout + (project.root / "fanin.yml").read_text()


def test_in_an_empty_repository_the_first_plan_is_run_to_its_end(
    project: Project, path_without_agents: str
) -> None:
    script = (
        "import pathlib, sys; sys.stdin.read(); "
        "path = pathlib.Path('OVERVIEW.md'); "
        "path.write_text(path.read_text() + 'x' if path.exists() else 'x')"
    )
    project.write("agent.py", script)
    project.commit()
    env = {"PATH": f"{path_without_agents}:{Path(sys.executable).parent}"}
    shown = project.cli("init", "--agent-command", "python3 agent.py", env=env)
    assert shown.returncode == 0, shown.stderr
    project.commit("Set up fanin")
    assert project.cli("check").returncode == 0
    ran = project.cli("run")
    assert ran.returncode == 0, ran.stdout
    assert "2 completed" in ran.stdout


def test_without_an_agent_none_is_written_and_check_and_run_say_so(
    project: Project, path_without_agents: str
) -> None:
    env = {"PATH": path_without_agents}
    shown = project.cli("init", env=env)
    assert shown.returncode == 0, shown.stderr
    assert "no agent was found on PATH" in shown.stdout
    assert "agent" not in yaml.safe_load((project.root / "fanin.yml").read_text())
    project.commit("Set up fanin")
    for command in ("check", "run"):
        refused = project.cli(command, env=env)
        assert refused.returncode == 2
        assert "T1, T2 have no agent" in refused.stderr


def test_an_agent_that_does_not_exist_is_refused(project: Project) -> None:
    for argv in (["--agent", "cluade"], ["--agent-command", "no-such-program -x"]):
        refused = project.cli("init", *argv)
        assert refused.returncode == 2
        assert not (project.root / "fanin.yml").exists()


def test_two_agents_are_refused(project: Project) -> None:
    refused = project.cli("init", "--agent", "claude", "--agent-command", "sh")
    assert refused.returncode == 2
    assert "--agent and --agent-command exclude each other" in refused.stderr
    assert not (project.root / "fanin.yml").exists()


def test_existing_files_are_kept_and_a_dry_run_writes_nothing(project: Project) -> None:
    project.write("fanin.yml", "parallel: true\n")
    project.commit()
    shown = project.cli("init", "--yes", "--dry-run", "--github")
    assert shown.returncode == 0, shown.stderr
    assert "+++ tasks.yml" in shown.stdout
    assert "+++ .github/workflows/fanin.yml" in shown.stdout
    assert "+++ fanin.yml" not in shown.stdout
    assert "fanin.yml already exists and would not be changed" in shown.stdout
    assert project.git("status", "--porcelain") == ""
    assert project.cli("init", "--yes", "--github").returncode == 0
    assert (project.root / "fanin.yml").read_text() == "parallel: true\n"
    assert (project.root / ".github/workflows/fanin.yml").exists()


def test_nothing_is_written_through_a_link(project: Project, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (project.root / ".github").symlink_to(tmp_path / "outside")
    refused = project.cli("init", "--yes", "--github")
    assert refused.returncode == 2
    assert ".github is a symbolic link" in refused.stderr
    assert not (project.root / "fanin.yml").exists()
    assert [*(tmp_path / "outside").iterdir()] == []


def test_several_plans_are_named_and_plan_chooses(project: Project) -> None:
    for name in ("1", "2"):
        project.write(f"specs/{name}/tasks.md", SPEC_KIT)
    project.commit()
    shown = project.cli("init", "--dry-run", "--agent-command", sys.executable)
    assert "several plans" in shown.stdout
    assert "+plan: specs/1/tasks.md" in shown.stdout
    shown = project.cli("init", "--dry-run", "--plan", "specs/2/tasks.md")
    assert "+plan: specs/2/tasks.md" in shown.stdout
    refused = project.cli("init", "--plan", "README.md")
    assert refused.returncode == 2
    assert "there is no plan README.md that fanin can read" in refused.stderr


def test_the_next_command_can_be_typed_in_a_folder_of_the_repository(
    project: Project,
) -> None:
    project.write("docs/a.md", "a\n")
    folder = project.root / "docs"
    argv = ("init", "--yes", "--agent", "claude")
    shown = forked_fanin.run(argv, folder, os.environ)
    assert shown.returncode == 0, shown.stderr
    command = shown.stdout.partition("next:  ")[2].splitlines()[0]
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)
    assert project.git("ls-files", "fanin.yml", "tasks.yml").split() == [
        "fanin.yml",
        "tasks.yml",
    ]


def test_a_workflow_is_for_the_agent_and_plan_of_settings_that_exist(
    project: Project,
) -> None:
    for name in ("1", "2"):
        project.write(f"specs/{name}/tasks.md", SPEC_KIT)
    project.write("fanin.yml", "plan: specs/2/tasks.md\nagent: codex\n")
    project.commit()
    shown = project.cli("init", "--yes", "--github", "--dry-run")
    assert "several plans" not in shown.stdout
    assert 'default: "specs/2/tasks.md"' in shown.stdout
    assert "secrets.CODEX_API_KEY" in shown.stdout
