"""A real run reports what happens, in order, to one observer and without secrets."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import jsonschema
import pytest

from runner import schemas
from runner.core.events import (
    AgentOutput,
    AttemptStarted,
    CommitLanded,
    PhaseChanged,
    ResultRefused,
    RunEnded,
    RunEvent,
    VerifyStarted,
)
from tests.support.project import Project, Quiet

SECRET = "s3cret-value-of-a-key"


def _names(seen: Quiet) -> list[str]:
    """The names of the events; of a change of phase, the phase's."""
    names: list[str] = []
    for event in seen.events:
        if isinstance(event, PhaseChanged):
            names.append(event.phase)
        else:
            names.append(event.event)
    return names


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_events_come_in_the_order_in_which_things_happen(
    project: Project, schedule: str
) -> None:
    project.plan(
        [{"id": "A", "do": ["print at work", "write a: a"], "verify": "true"}],
        verify="test -e a",
        schedule=schedule,
    )
    seen = Quiet()
    project.run(seen)
    expected = [
        "run_started",
        "plan_read",
        "batch_chosen",
        "attempt_started",
        "preparing",
        "working",
        "agent_output",
        "verifying",
        "attempt_ended",
        "merging",
        "verify_started",
        "verify_ended",
        "result_merged",
        "batch_merged",
        "commit_landed",
        "run_ended",
    ]
    names = _names(seen)
    if schedule == "batch":  # there the merged tree lands before anyone hears of it
        expected[-3:-1] = ["commit_landed", "batch_merged"]
    assert names == expected


def test_the_steps_of_a_bisection_name_the_tasks_in_the_tree(project: Project) -> None:
    project.plan(
        [{"id": task, "do": [f"write {task}: x"]} for task in "AB"],
        verify="test ! -e B",
        verify_retries=1,
        max_attempts=1,
    )
    seen = Quiet()
    project.run(seen)
    steps = [event for event in seen.events if isinstance(event, VerifyStarted)]
    assert [(step.tasks, step.bisecting, step.repeated) for step in steps] == [
        (("A", "B"), False, False),
        (("A", "B"), False, True),
        (("A",), True, False),
    ]
    assert [step.step for step in steps] == [1, 2, 3]
    [refused] = [event for event in seen.events if isinstance(event, ResultRefused)]
    assert (refused.task, refused.final) == ("B", True)


def test_a_landed_commit_names_its_branch_and_tasks(project: Project) -> None:
    project.plan(
        [{"id": "A", "do": ["write a: a"]}, {"id": "B", "do": ["fail no"]}],
        max_attempts=1,
        commit_strategy="individual",
    )
    seen = Quiet()
    project.run(seen)
    landed = [event for event in seen.events if isinstance(event, CommitLanded)]
    commits = project.git("log", "--format=%H", "--reverse", "-2").splitlines()
    assert [event.commit for event in landed] == commits
    assert [event.branch for event in landed] == ["main", "main"]
    assert [event.tasks for event in landed] == [("A",), ()]
    assert [event.failed_tasks for event in landed] == [(), ("B",)]


def test_an_attempt_names_its_slot_and_its_log(project: Project) -> None:
    project.plan([{"id": "A", "do": ["print at work", "write a: a"]}])
    seen = Quiet()
    project.run(seen)
    [started] = [event for event in seen.events if isinstance(event, AttemptStarted)]
    assert started.slot == 0
    run_folder = project.root / ".git/fanin/runs" / started.batch.rpartition(".")[0]
    assert (run_folder / started.log).read_text() == "at work\n"
    output = [event for event in seen.events if isinstance(event, AgentOutput)]
    assert [(event.task, event.last_line) for event in output] == [("A", "at work")]


def test_no_event_of_a_run_holds_a_secret(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", SECRET)
    script = (
        "import os, sys, time\n"
        "key = os.environ['MY_SECRET']\n"
        "for part in (key[:9], key[9:] + '\\n', 'last ' + key + '\\n'):\n"
        "    print(part, end='', flush=True)\n"
        "    time.sleep(0.4)\n"
        "open(os.environ['FANIN_REPORT'], 'w').write('{\"summary\": \"' + key + '\"}')\n"
        "open('a', 'w').write('a')\n"
    )
    agent = {"command": [sys.executable, "-c", script], "env": ["MY_SECRET"]}
    project.plan(
        [{"id": "A", "title": f"use {SECRET}", "max_attempts": 1}], agent=agent
    )
    seen = Quiet()
    project.run(seen, branch=f"work-{SECRET}")
    lines = [event.model_dump_json() for event in seen.events]
    assert "agent_output" in _names(seen)
    assert any("***" in line for line in lines)
    assert not [line for line in lines if SECRET in line or SECRET[:9] in line]


def test_of_a_preset_people_and_the_next_prompt_get_words_and_no_json(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = "dummy-key-of-no-value"
    said = [
        {"type": "text", "text": f"The key is {key}."},
        {"type": "tool_use", "name": "Bash", "input": {"command": "pytest -q"}},
    ]
    usage = {"input_tokens": 70, "output_tokens": 7}
    end = {"type": "message_delta", "usage": usage}
    lines = [
        {"type": "assistant", "message": {"content": said}},
        {"type": "stream_event", "event": end},
    ]
    program = tmp_path / "bin/claude"
    program.parent.mkdir()
    output = "\n".join(json.dumps(line) for line in lines)
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    project.plan([{"id": "A", "do": []}], agent="claude", max_attempts=1)
    seen = Quiet()
    project.run(seen)
    text = "The key is ***.\nBash pytest -q\n"
    assert project.records()["A"]["error"]["log_tail"] == text
    last = [event for event in seen.events if isinstance(event, AgentOutput)][-1]
    assert (last.last_line, last.tokens, last.tool_calls) == ("Bash pytest -q", 77, 1)


def test_the_secrets_of_a_task_that_is_added_during_the_run_are_masked_too(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", SECRET)
    first = {"id": "A", "do": ["write a: a"]}
    writes_b = [sys.executable, "-c", "open('b', 'w').write('b')"]
    second = {
        "id": "B",
        "title": f"use {SECRET}",
        "depends_on": ["A"],
        "agent": {"command": writes_b, "env": ["MY_SECRET"]},
    }

    class AddsTask(Quiet):
        def observe(self, event: RunEvent) -> None:
            super().observe(event)
            if isinstance(event, AttemptStarted) and event.task == "A":
                project.plan([first, second])

    project.plan([first])
    seen = AddsTask()
    project.run(seen)
    assert project.states() == {"A": "completed", "B": "completed"}
    lines = [event.model_dump_json() for event in seen.events]
    assert any('"use ***"' in line for line in lines)
    assert not [line for line in lines if SECRET in line]


def test_json_prints_the_lines_that_the_run_logs_and_nothing_else(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}, {"id": "B", "do": ["fail no"]}])
    ran = project.cli("run", "--json")
    assert (ran.returncode, ran.stderr) == (1, "")
    [log] = (project.root / ".git/fanin/runs").glob("*/events.jsonl")
    assert ran.stdout == log.read_text()
    is_valid = jsonschema.Draft202012Validator(
        schemas.generate(schemas.EVENTS)
    ).is_valid
    assert all(is_valid(json.loads(line)) for line in ran.stdout.splitlines())


def test_json_and_a_dry_run_exclude_each_other(project: Project) -> None:
    project.plan([{"id": "A"}])
    ran = project.cli("run", "--json", "--dry-run")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "--dry-run" in ran.stderr


def test_the_end_says_why_a_run_stopped_and_what_it_achieved(project: Project) -> None:
    cost = 'report {"status": "ok", "cost_usd": 1.0}'
    project.plan(
        [{"id": t, "do": [f"write {t}: x", cost]} for t in "AB"],
        max_concurrent=1,
        limits={"max_cost_usd": 1.0},
    )
    seen = Quiet()
    project.run(seen)
    end = seen.events[-1]
    assert isinstance(end, RunEnded)
    assert (end.outcome, end.landed) == ("stopped", 1)
    assert end.reason is not None
    assert "max_cost_usd" in end.reason
    assert end.usage.cost_usd == 1.0
    assert json.loads(end.model_dump_json())["usage"]["attempts"] == 1


def test_a_run_that_fails_reports_its_end_as_well(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])

    class Renaming(Quiet):
        def observe(self, event: RunEvent) -> None:
            super().observe(event)
            if isinstance(event, AttemptStarted):
                project.git("branch", "-m", "main", "trunk")

    seen = Renaming()
    with pytest.raises(Exception, match="the branch main is gone"):
        project.run(seen)
    end = seen.events[-1]
    assert isinstance(end, RunEnded)
    assert end.outcome == "error"
    assert end.reason is not None
    assert "the branch main is gone" in end.reason
