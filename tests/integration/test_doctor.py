"""`fanin doctor` on real repositories, and the script that an agent's command names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.project import Project

TASKS = [{"id": "A", "do": ["write a: a"]}]


def test_everything_is_checked_and_set_up_and_verify_run_in_a_checkout(
    project: Project,
) -> None:
    project.plan(TASKS, setup="echo ready > ready", verify="test -f ready")
    before = project.git("for-each-ref")
    shown = project.cli("doctor")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    lines = [line.split()[:2] for line in shown.stdout.splitlines()]
    names = ["git", "branch", "plan", "agent", "setup", "verify"]
    assert lines == [["✔", name] for name in names]
    assert project.git("status", "--porcelain") == ""
    assert project.git("for-each-ref") == before
    assert project.intervals() == []


def test_a_verify_that_is_red_before_any_agent_is_shown_with_its_log(
    project: Project,
) -> None:
    project.plan(TASKS, verify="echo two tests fail; exit 3")
    shown = project.cli("doctor")
    assert shown.returncode == 2
    assert "✘ verify" in shown.stdout
    assert "| two tests fail" in shown.stdout
    assert project.cli("doctor", "--no-run").returncode == 0


def test_a_set_up_that_fails_is_named_once(project: Project) -> None:
    project.plan(TASKS, setup="echo no network; exit 7", verify="true")
    shown = project.cli("doctor")
    assert shown.returncode == 2
    assert "setup failed (exit status 7)" in shown.stdout
    assert "verify" not in shown.stdout


@pytest.mark.parametrize("command", ["check", "run", "doctor"])
def test_a_script_that_is_not_in_the_repository_is_refused(
    project: Project, command: str
) -> None:
    project.plan(TASKS, agent={"command": ["python3", "tools/agent.py"]})
    refused = project.cli(command)
    assert refused.returncode == 2
    text = refused.stdout + refused.stderr
    assert "the agent's script 'tools/agent.py' is not in the repository" in text


def test_a_script_that_is_in_the_repository_or_made_by_set_up_is_taken(
    project: Project,
) -> None:
    project.write("tools/agent.py", "open('a', 'w').write('x')\n")
    project.plan(TASKS, agent={"command": ["python3", "./tools/agent.py"]})
    assert project.cli("run").returncode == 0
    project.plan(
        [{"id": "B"}],
        agent={"command": ["sh", "made.sh"]},
        setup="echo 'echo b > b' > made.sh",
    )
    assert project.cli("check").returncode == 0


def test_set_up_runs_once(project: Project, tmp_path: Path) -> None:
    log = tmp_path / "log"
    project.plan(TASKS, setup=f"echo once >> {log}", verify=f"echo then >> {log}")
    assert project.cli("doctor").returncode == 0
    assert log.read_text() == "once\nthen\n"
