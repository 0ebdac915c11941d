"""Questions: a task whose agent asks waits for the answer, and the rest goes on."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.core.events import ResultRefused
from tests.integration.test_crash import began
from tests.integration.test_requests import When, asked
from tests.support.command import say
from tests.support.crashes import die_after, kill_at
from tests.support.jobs import Jobs
from tests.support.project import Project
from tests.support.virtual_clock import VirtualClock

HOSTILE = "Which *database*? \x1b[2J@team <b>"
SHOWN = "Which *database*? \ufffd[2J@team <b>"
A: dict[str, Any] = {
    "id": "A",
    "do": [
        *("append a: one", f"ask {HOSTILE}", "expect > Postgres, please"),
        *("expect The work of attempt 1 is in the current folder", "append a: two"),
    ],
    "max_attempts": 1,
}
TASKS: list[dict[str, Any]] = [
    A,
    {"id": "B", "do": ["sleep 0.5", "write b: b"]},
    {"id": "C", "depends_on": ["B"], "do": ["write c: c"]},
    {"id": "D", "depends_on": ["A"], "do": ["write d: d"]},
]
NEEDED = 'A asks a question; to answer:  fanin reply A "…"'


def status(project: Project) -> dict[str, dict[str, Any]]:
    rows = json.loads(say(project.root, "status", "--json").out)["tasks"]
    return {row["id"]: row for row in rows}


def test_a_task_that_asks_waits_and_goes_on_with_the_answer_and_its_work(
    project: Project,
) -> None:
    project.plan(TASKS)
    run = project.cli("run")
    assert (run.returncode, NEEDED in run.stdout) == (4, True), run.stdout + run.stderr
    assert f"? A asks:  {SHOWN}" in run.stdout
    assert f"A asking: “{SHOWN}”" in run.stdout
    rows = status(project)
    states = [row["state"] for row in rows.values()]
    assert states == ["asking", "completed", "completed", "pending"]
    assert rows["A"]["question"] == SHOWN
    assert project.records()["A"]["status"] == "pending"
    assert "a" not in project.git("ls-files").splitlines()
    assert ".fanin/question.md" not in project.git("ls-files")
    shown = say(project.root, "show", "A").out
    assert f"question of attempt 1:\n  {SHOWN}\nto answer:  fanin reply A" in shown
    head = project.git("rev-parse", "HEAD")
    reply = ["reply", "A", "Postgres, please"]
    assert say(project.root, *reply, "--dry-run").out == "would reply: A\n"
    for argv in (["reply", "B", "x"], ["reply", "A", " \u200b"]):
        assert say(project.root, *argv).code == 2
    assert project.git("rev-parse", "HEAD") == head
    report = json.loads(say(project.root, *reply, "--json").out)
    assert (report["command"], report["outcome"]) == ("reply", "done")
    assert project.git("rev-parse", "HEAD^") == head
    assert project.subjects()[0] == "Reply A"
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert began(project).count("A") == 2
    assert project.git("show", "HEAD:a") == "one\ntwo"
    assert project.records()["A"]["attempts"] == 2
    assert "questions" not in project.records()["A"]


def test_a_question_and_a_gate_wait_for_a_week_of_runs(project: Project) -> None:
    gate = {"id": "B", "gate": True, "do": ["write b: b"]}
    project.plan([{**A, "do": [f"ask {HOSTILE}", "append a: two"]}, gate])
    first = project.run().for_person
    assert (first.asking, first.gated) == (("A",), ("B",))
    head = project.git("rev-parse", "HEAD")
    clock = VirtualClock()
    for _ in range(7):
        clock.time += timedelta(days=1)
        again = project.run(clock=clock).for_person
        assert (again.asking, again.gated) == (("A",), ("B",))
    assert began(project) == ["A"], "nothing started, and nothing is paid for again"
    assert project.git("rev-parse", "HEAD") == head
    assert say(project.root, "reply", "A", "this").code == 0
    assert say(project.root, "approve", "B").code == 0
    clock.time += timedelta(days=1)
    assert not project.run(clock=clock).for_person
    assert project.states() == {"A": "completed", "B": "completed"}


def test_a_reply_while_a_run_goes_on_starts_the_next_attempt_in_it(
    project: Project, tmp_path: Path
) -> None:
    """B does not end before A has gone on."""
    answered = tmp_path / "answered"
    script = f"""
    case $FANIN_TASK$FANIN_ATTEMPT in
        A1) echo '{{"status": "question", "question": "Which?"}}' > "$FANIN_REPORT" ;;
        A2) grep -q '^> Postgres' "$FANIN_PROMPT" && touch {answered} ;;
        *) until [ -e {answered} ]; do sleep 0.1; done ;;
    esac
    touch $FANIN_TASK$FANIN_ATTEMPT
    """
    project.plan(
        [{"id": task, "max_attempts": 1} for task in "AB"],
        schedule="rolling",
        max_concurrent=2,
        timeout="120s",
        agent={"command": ["sh", "-c", script]},
    )

    def reply() -> None:
        # until the question is durable
        while project.cli("reply", "A", "Postgres").returncode:
            pass

    later = threading.Timer(0, reply)
    seen = When(lambda event: isinstance(event, ResultRefused), later.start)
    assert not project.run(seen).for_person
    later.join()
    assert set(project.states().values()) == {"completed"}
    assert "as asked for: reply A" in seen.notes
    assert {"A1", "A2", "B1"} <= set(project.git("ls-files").splitlines())


def test_an_agent_that_asks_again_and_again_ends(project: Project) -> None:
    """Of three questions, the last was answered; the fourth one is a failed attempt."""
    outside = {"id": "B", "files": ["b"], "do": ["write other: o", "ask Which?"]}
    project.plan([{"id": "A", "do": ["ask always Which?"], "max_attempts": 1}, outside])
    questions = [
        {"attempt": number, "text": "Which?", "answer": "this"} for number in (1, 2, 3)
    ]
    waiting = {"status": "pending", "attempts": 3, "questions": questions}
    document = {"version": 1, "plan": "tasks.yml", "tasks": {"A": waiting}}
    project.write(".fanin/progress.json", json.dumps(document))
    project.commit("three questions")
    assert project.run().for_person.asking == ("B",)
    # what an agent wrote beside its task is not gone on with
    asks = project.records()["B"]
    assert "starts without this work: other is outside" in asks["questions"][0]["text"]
    assert "kept" not in asks
    record = project.records()["A"]
    assert (record["status"], record["attempts"]) == ("failed", 4)
    assert record["error"]["kind"] == "agent_error"
    assert record["error"]["message"] == (
        "the agent has asked 3 times and asks again: always Which?"
    )
    assert project.run().for_person.asking == ("B",)
    assert sorted(began(project)) == ["A", "B"]


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_question_survives_a_kill_of_the_run_and_of_the_reply(
    project: Project, tmp_path: Path, schedule: str
) -> None:
    project.plan([A], schedule=schedule)
    die_after(project.runner(), "failed")
    if schedule == "batch":
        kill_at(project, "before landing", tmp_path / "x", "reply", "A", "Postgres")
    assert status(project)["A"]["state"] == "asking"
    said = say(project.root, "reply", "A", "Postgres, please")
    assert said.out.startswith("reply: A;"), said.err
    project.run()
    assert project.states() == {"A": "completed"}
    assert began(project) == ["A", "A"]


def test_what_agents_that_ask_have_cost_counts_for_max_cost_usd(
    project: Project,
) -> None:
    do = ['report {"cost_usd": 1.25}', "ask always Which?"]
    tasks = [{"id": task, "do": do} for task in "AB"]
    project.plan(tasks, max_concurrent=1, limits={"max_cost_usd": 2})
    project.run()
    assert began(project) == ["A"]


def test_on_actions_a_question_ends_the_run_green_and_a_pushed_reply_goes_on(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "actions").mkdir()
    jobs = Jobs(project, tmp_path / "actions")
    project.plan([A])
    jobs.publish()
    chosen = jobs.next()
    asking = jobs.task(chosen, "A")
    assert "Attempt 1 asks" in asking.summary
    merged = jobs.merge(chosen)
    assert (merged.code, merged.outputs["waiting"]) == (0, "answer"), merged.log
    assert merged.outputs["again"] == "false"
    assert "```text\nWhich *database*?" in merged.summary
    assert "fanin reply A" in merged.summary
    waits = jobs.next()
    assert (waits.code, waits.outputs["has-work"]) == (0, "false"), waits.log
    assert waits.outputs["waiting"] == "answer"
    project.git("pull", "-q", str(jobs.origin), "main")
    asked(project, "reply", "A", "Postgres, please")
    project.git("push", "-q", str(jobs.origin), "main")
    goes_on = jobs.next()
    [entry] = jobs.matrix(goes_on)
    assert (entry["task"], str(entry["attempt"])) == ("A", "2")
    jobs.task(goes_on, "A")
    landed = jobs.merge(goes_on)
    assert (landed.code, jobs.states()) == (0, {"A": "completed"}), landed.log
    assert jobs.git("show", "main:a") == "one\ntwo"
