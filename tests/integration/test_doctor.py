"""`fanin doctor` on real repositories, and the script that an agent's command names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runner.core.events import RunStarted
from tests.support.project import Project, Quiet

TASKS = [{"id": "A", "do": ["write a: a"]}]


def test_everything_is_checked_and_set_up_and_verify_run_in_a_checkout(
    project: Project,
) -> None:
    project.plan(TASKS, setup="echo ready > ready", verify="test -f ready")
    before = project.git("for-each-ref")
    shown = project.cli("doctor")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    lines = [line.split()[:2] for line in shown.stdout.splitlines()]
    names = ["git", "branch", "plan", "agent", "walls", "setup", "verify"]
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
    project.plan(TASKS, setup="echo no network; no-such-tool x", verify="true")
    shown = project.cli("doctor")
    assert shown.returncode == 2
    assert "setup failed (exit status 127)" in shown.stdout
    assert "    no-such-tool is not installed: install it" in shown.stdout
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


def test_doctor_says_what_a_checkout_gets_and_which_files_setup_changes(
    project: Project,
) -> None:
    project.write(".gitignore", "deps/\n.env*\n")
    project.write("deps/tool", "x" * 100)
    project.write(".env.local", "TOKEN=tok-12345678\n")
    project.write("lock", "base\n")
    project.plan(
        TASKS,
        include=["deps", ".env*"],
        setup="test -e deps/tool; echo more >> lock; echo new > built",
        verify="test -e deps/tool && test ! -e .env.local",
    )
    unknown = project.cli("check").stdout
    assert "setup changes" not in unknown
    shown = project.cli("doctor").stdout
    assert (
        "include  1 file, 0.0 MiB; not included: .env.local: holds secrets, and its "
        "full name is not listed"
    ) in shown
    sentence = "setup changes lock, which no task's change has"
    assert sentence in shown
    # neither of these has run it
    assert sentence in project.cli("check").stdout
    project.plan(TASKS, setup="true")
    assert "setup changes" not in project.cli("check").stdout


def test_a_run_says_which_files_setup_changes(project: Project) -> None:
    project.write("lock", "base\n")
    tasks = [{"id": name, "do": [f"write {name}: x"]} for name in ("A", "B")]
    project.plan(tasks, setup="echo more >> lock")
    seen = Quiet()
    project.run(seen)
    sentence = "setup changes lock, which no task's change has"
    assert seen.notes.count(sentence) == 1
    later = {"id": "C", "do": ["write c: x"]}
    project.plan([*tasks, later], setup="echo more >> lock")
    again = Quiet()
    project.run(again)
    (start,) = [event for event in again.events if isinstance(event, RunStarted)]
    assert sentence in start.settings
    assert sentence not in again.notes
    assert "lock" not in project.git("diff", "--name-only", "HEAD^", "HEAD").split()


def test_wrong_settings_are_one_line_each_with_the_fix(project: Project) -> None:
    project.plan(TASKS)
    project.write("fanin.yml", "max_concurent: 3\nverify: [1]\n")
    shown = project.cli("doctor")
    assert (shown.returncode, shown.stderr) == (2, "")
    _, *lines = shown.stdout.splitlines()
    assert lines == [
        "✘ settings fanin.yml:1: unknown key 'max_concurent'",
        "    did you mean 'max_concurrent'?",
        "✘ settings fanin.yml:2: verify: expected text, got a list",
    ]


def test_a_plan_that_cannot_be_read_leaves_the_other_checks(project: Project) -> None:
    project.plan(TASKS, verify="exit 3")
    fixed = (project.root / "tasks.yml").read_text()
    project.write("tasks.yml", fixed.replace("title", "titel"))
    project.commit("Break the plan")
    project.write("tasks.yml", fixed)
    shown = project.cli("doctor")
    assert (shown.returncode, shown.stderr) == (2, "")
    assert "✘ plan     tasks.yml:" in shown.stdout
    assert "    to use it:  git commit -m 'Fix the plan' tasks.yml" in shown.stdout
    assert "✔ agent" in shown.stdout
    assert "✘ verify" in shown.stdout
    shown = project.cli("doctor", "--no-run", "--agent-command", "no-such-program")
    assert "✘ agent    the agent's program 'no-such-program'" in shown.stdout


def test_what_a_pull_request_needs_is_checked_where_runs_deliver_by_one(
    project: Project,
) -> None:
    project.plan(TASKS, deliver="pull-request")
    shown = project.cli("doctor", "--no-run")
    assert shown.returncode == 2
    assert "✘ deliver  the remote origin is not on GitHub" in shown.stdout
    assert "    git remote add origin https://github.com/" in shown.stdout
    project.git("remote", "add", "origin", "https://github.com/octo/work.git")
    shown = project.cli("doctor", "--no-run", env={"GITHUB_TOKEN": "t0"})
    assert shown.returncode == 0
    assert "✔ deliver  a pull request in octo/work, with a token" in shown.stdout


def test_a_machine_without_git_is_one_line_with_the_fix(project: Project) -> None:
    shown = project.cli("doctor", env={"PATH": "/nowhere"})
    assert (shown.returncode, shown.stderr) == (3, "")
    assert shown.stdout == "✘ git      not found\n    install git 2.38 or newer\n"


def test_check_says_what_of_the_plan_a_run_does_not_see(project: Project) -> None:
    project.plan(TASKS)
    note = "a run reads the plan as committed, without your changes in tasks.yml"
    assert note not in project.cli("check").stdout
    project.write("tasks.yml", (project.root / "tasks.yml").read_text() + "# more\n")
    assert note in project.cli("check").stdout
    project.git("rm", "-q", "--cached", "tasks.yml")
    project.git("commit", "-qm", "Without a plan")
    checked = project.cli("check")
    assert note in checked.stdout
    command = checked.stdout.partition("to commit them:  ")[2].splitlines()[0]
    subprocess.run(["sh", "-c", command], cwd=project.root, check=True)
    assert note not in project.cli("check").stdout
