"""Gates: nothing starts at a task before a person approves it, and the rest goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_requests import When, asked, ended
from tests.support.jobs import Jobs
from tests.support.project import Project

TASKS: list[dict[str, Any]] = [
    {"id": "A", "do": ["write a: a"], "gate": True},
    {"id": "B", "do": ["write b: b"]},
    {"id": "C", "depends_on": ["A"], "do": ["write c: c"]},
]


def states(project: Project) -> dict[str, str]:
    rows = json.loads(asked(project, "status", "--json"))["tasks"]
    return {row["id"]: row["state"] for row in rows}


def test_a_run_ends_at_gates_and_goes_on_once_they_are_approved(
    project: Project,
) -> None:
    project.plan(TASKS)
    needed = "A waits for approval; to let it start:  fanin approve A"
    assert f"note: {needed}" in asked(project, "check")
    assert needed in asked(project, "simulate")
    planned = asked(project, "run", "--dry-run")
    assert "has 1 task" in planned
    assert needed in planned
    asked(project, "hold", "C")
    assert project.subjects()[0] == "Hold C"
    run = project.cli("run")
    assert (run.returncode, needed in run.stdout) == (4, True), run.stdout + run.stderr
    assert states(project) == {"A": "gated", "B": "completed", "C": "pending"}
    assert project.cli("run", "--json").returncode == 4

    head = project.git("rev-parse", "HEAD")
    assert asked(project, "approve", "A", "--dry-run") == "would approve: A\n"
    assert project.git("rev-parse", "HEAD") == head
    report = json.loads(asked(project, "approve", "A", "B", "--json"))
    assert (report["command"], report["outcome"], report["tasks"]) == (
        *("approve", "done"),
        ["A"],
    )
    assert project.git("rev-parse", "HEAD^") == head
    assert project.cli("run").returncode == 4
    assert states(project) == {"A": "completed", "B": "completed", "C": "gated"}
    assert "a run makes none: every task waits" in asked(project, "check")
    asked(project, "approve", "C")
    assert project.cli("run").returncode == 0
    assert set(project.states().values()) == {"completed"}


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_tasks_are_held_and_approved_while_a_run_goes_on(
    project: Project, schedule: str
) -> None:
    later = {"id": "D", "depends_on": ["B"], "do": ["write d: d"]}
    project.plan([*TASKS, later], schedule=schedule, max_concurrent=1)

    def ask() -> None:
        asked(project, "approve", "A")
        asked(project, "hold", "D")

    outcome = project.run(When(ended("B"), ask))
    assert outcome.for_person.gated == ("D",)
    assert project.states()["A"] == project.states()["C"] == "completed"
    assert project.states()["D"] == "pending"


def test_on_actions_the_next_job_chooses_nothing_at_a_gate(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "actions").mkdir()
    jobs = Jobs(project, tmp_path / "actions")
    project.plan(TASKS[:1])
    jobs.publish()
    waits = jobs.next()
    assert (waits.code, waits.outputs["has-work"]) == (0, "false"), waits.log
    assert waits.outputs["waiting"] == "approval"
    assert "fanin approve A" in waits.log
    assert "waits for approval" in waits.summary
    asked(project, "approve", "A")
    project.git("push", "-q", str(jobs.origin), "main")
    goes_on = jobs.next()
    assert [entry["task"] for entry in jobs.matrix(goes_on)] == ["A"]
    assert goes_on.outputs["waiting"] == ""


def test_on_actions_the_input_approve_opens_gates_and_the_batch_records_it(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "actions").mkdir()
    jobs = Jobs(project, tmp_path / "actions")
    project.plan([TASKS[0], {**TASKS[2], "gate": True}])
    jobs.publish()
    unknown = jobs.next(FANIN_APPROVE="X")
    assert (unknown.code, "there is no task X" in unknown.log) == (2, True)
    # what nothing records is not lost in silence
    too_early = jobs.next(FANIN_APPROVE="C")
    assert too_early.outputs["has-work"] == "false"
    assert "nothing records the approval of C" in too_early.log
    assert "fanin approve C" in too_early.log

    chosen = jobs.next(FANIN_APPROVE="A, C")
    assert [entry["task"] for entry in jobs.matrix(chosen)] == ["A"]
    jobs.tasks(chosen)
    for _ in range(2):
        jobs.merge(chosen)
    follows = jobs.next()
    assert [entry["task"] for entry in jobs.matrix(follows)] == ["C"], follows.log
