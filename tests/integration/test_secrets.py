"""The value of a variable that an agent may see never leaves its machine: not in work, names, report or log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner import artifacts
from tests.integration.jobs import Jobs
from tests.integration.project import Project

KEY = "sk-test-0123456789/+abc"
LEAKS = {
    "content": 'printf "key=%s\\n" "$MY_KEY" > config',
    "base64": 'printf "user:%s" "$MY_KEY" | base64 -w 20 > config',
    "binary": '{ head -c 3000000 /dev/zero; printf "%s" "$MY_KEY"; head -c 100 /dev/zero; } > config',
    "name": 'echo x > "$(printf %s "$MY_KEY" | tr / _)"; printf %s "$MY_KEY" > config',
    "report": 'echo x > a; printf \'{"summary": "used %s"}\' "$MY_KEY" > "$FANIN_REPORT"',
}


def plan(project: Project, script: str) -> None:
    agent = {"command": ["sh", "-c", script], "env": ["MY_KEY"]}
    project.plan([{"id": "GOOD", "do": ["write good: good"]}, {"id": "BAD", "max_attempts": 1, "agent": agent}])


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("leak", LEAKS)
def test_leak_is_refused_in_the_leg_and_the_result_holds_no_content(
    project: Project, monkeypatch: pytest.MonkeyPatch, leak: str
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    plan(project, LEAKS[leak])
    project.run()
    assert project.states() == {"GOOD": "completed", "BAD": "failed"}
    message = project.records()["BAD"]["error"]["message"]
    assert "holds the value of MY_KEY" in message
    assert KEY not in message
    left = next((project.root / ".git" / "fanin" / "runs").glob("*/1/results/001"))
    assert KEY.encode() not in everything_in(left)
    assert leak == "report" or not (left / artifacts.PACK).exists()


def test_log_is_masked_and_the_work_lands(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    plan(project, 'echo "starting with $MY_KEY"; printf %s "$MY_KEY" | base64; echo x > a')
    project.run()
    assert project.states() == {"GOOD": "completed", "BAD": "completed"}
    log = next((project.root / ".git" / "fanin" / "runs").glob("*/1/results/001/agent.log")).read_text()
    assert log.splitlines()[0] == "starting with ***"
    assert log.splitlines()[1].startswith("***")


def test_failure_that_repeats_a_secret_reaches_neither_progress_nor_commit(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    plan(project, 'echo "401 for $MY_KEY"; exit 1')
    project.run()
    assert project.states()["BAD"] == "failed"
    assert KEY not in project.git("log", "-p", "--all")


def test_leg_that_was_made_to_pass_a_secret_on_is_refused_by_the_fan_in(project: Project, tmp_path: Path) -> None:
    """The leg does not know the value here, as if the agent had tampered with it; the job `merge` does."""
    plan(project, f"printf %s '{KEY}' > config")
    jobs = Jobs(project, tmp_path)
    jobs.publish()
    chosen = jobs.next()
    legs = jobs.tasks(chosen)
    assert legs["BAD"].outputs["succeeded"] == "true"
    done = jobs.merge(chosen, FANIN_AGENT_ENV=f"MY_KEY={KEY}")
    assert jobs.states() == {"GOOD": "completed", "BAD": "failed"}
    assert "holds the value of MY_KEY" in done.summary + done.log
    shown = done.log.replace(f"::add-mask::{KEY}", "")
    assert KEY not in shown + done.summary + json.dumps(done.outputs)
    assert "config" not in jobs.git("ls-tree", "-r", "--name-only", "main").splitlines()
    assert KEY not in jobs.git("show", "main:.fanin/progress.json")


def test_name_that_is_in_no_allow_list_is_no_secret(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    project.plan([{"id": "A", "do": [f"write a: {KEY}"]}])
    project.run()
    assert project.states() == {"A": "completed"}
