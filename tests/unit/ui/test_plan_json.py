"""The documents of `check`, `graph` and `status`: what is in them, and in which order."""

from __future__ import annotations

import json
from typing import Any

from runner.core.errors import Problem
from runner.core.result import Failure, FailureKind
from runner.core.task import Plan, PlanPart, PlanSettings, Status
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.requests import (
    ApproveRequest,
    HoldRequest,
    ReplyRequest,
    Request,
    RetryRequest,
    SkipRequest,
)
from runner.plan.view import TaskView, views
from runner.ui import plan_json
from runner.ui.plan_json import TaskFacts
from tests.support import json_output
from tests.support.builders import plan, task

TASK = ["id", "title", "line", "state", "attempts", "reason", "depends_on", "files"]
RECORD = ["agent", "seconds", "cost_usd", "tokens", "failure", "branch"]
GRAPH = ["version", "tasks", "waves", "critical_path"]
PLAN = plan(task("A", files=("a/**",)), task("B", depends_on=("A",)))
RECORDS = {
    "A": Record(
        status=Status.FAILED,
        attempts=1,
        started="2026-01-01T00:00:00Z",
        finished="2026-01-01T00:01:30Z",
        error=Failure(kind=FailureKind.TIMEOUT, message="too slow"),
        job="7/8",
        artifact="fanin-7.1-000-a1-r1",
    )
}


def of(plan: Plan, **records: Record) -> tuple[list[TaskView], TaskGraph]:
    graph = TaskGraph(plan.tasks, plan.path)
    return views(plan, graph, Progress(plan.path, records), 3), graph


def read(command: str, text: str) -> dict[str, Any]:
    json_output.validate([command, "--json", "json"], text)
    return dict(json.loads(text))


def test_status_has_the_record_of_each_task_and_what_this_machine_knows() -> None:
    facts = {"A": TaskFacts(log="/x/agent.log", kept="refs/k", job_url="https://h/8")}
    text = plan_json.status_report(*of(PLAN, **RECORDS), [], facts, None)
    report = read("status", text)
    assert list(report) == [*GRAPH, "counts", "requests", "run", "delivery"]
    first, second = report["tasks"]
    facts_names = [
        "phase",
        "elapsed",
        "log",
        "kept",
        "job",
        "job_url",
        "artifact",
        "question",
    ]
    assert list(first) == [*TASK, *RECORD, *facts_names]
    assert (first["seconds"], first["failure"]) == (90.0, "timeout")
    assert (first["log"], first["kept"]) == ("/x/agent.log", "refs/k")
    assert (first["job"], first["job_url"]) == ("7/8", "https://h/8")
    assert first["artifact"] == "fanin-7.1-000-a1-r1"
    assert {second[name] for name in facts_names} == {None}


def test_status_has_what_was_asked_for_and_no_run_has_taken() -> None:
    place: dict[str, Any] = {
        "branch": "main",
        "plan": PlanSettings(path="p"),
        "progress": "x",
    }
    asked: list[Request] = [
        RetryRequest(**place, tasks=("A",)),
        SkipRequest(**place, tasks=("B",)),
        HoldRequest(**place, tasks=("A",)),
        ApproveRequest(**place, tasks=("B",)),
        ReplyRequest(**place, tasks=("A",), answer="yes"),
    ]
    text = plan_json.status_report(*of(PLAN), asked, {}, None)
    retry, skip, hold, approve, reply = read("status", text)["requests"]
    assert list(retry) == ["branch", "tasks", "kind", "redo", "failed", "message"]
    assert list(skip) == ["branch", "tasks", "kind", "satisfied"]
    assert hold == {"branch": "main", "tasks": ["A"], "kind": "hold"}
    assert approve == {"branch": "main", "tasks": ["B"], "kind": "approve"}
    assert reply == {
        "branch": "main",
        "tasks": ["A"],
        "kind": "reply",
        "answer": "yes",
    }


def test_check_has_the_graph_and_then_the_plan() -> None:
    problem = Problem("tasks.yml", 3, "wrong", "fix it")
    text = plan_json.check_report(PLAN, *of(PLAN), ["a note"], [problem], [["A"]])
    report = read("check", text)
    rest = ["plan", "plans", "edges", "batches", "width", "scheduled_batches"]
    assert list(report) == [*GRAPH, *rest, "counts", "left_out", "notes", "problems"]
    assert list(report["tasks"][0]) == TASK
    assert report["plans"] == [
        {"path": "tasks.yml", "source": "native", "tasks": ["A", "B"]}
    ]
    assert list(report["problems"][0]) == ["path", "line", "what", "remedy"]
    assert (report["edges"], report["scheduled_batches"]) == (1, [["A"]])


def test_only_tasks_of_a_folder_have_a_path_and_only_parts_a_name() -> None:
    part = PlanPart("one", "one.md", "one.md", "checklist", {}, ids={"1": "A"})
    several = PLAN._replace(
        tasks=(task("A", path="plans/a.md"), task("B")), parts=(part,)
    )
    report = read("check", plan_json.check_report(several, *of(several), [], [], []))
    assert list(report["plans"][0]) == ["name", "path", "source", "tasks"]
    assert [row.get("path") for row in report["tasks"]] == ["plans/a.md", None]
    assert list(report["tasks"][0])[:4] == ["id", "title", "line", "path"]
    graph = read("graph", plan_json.graph_report(*of(several)))
    assert graph["tasks"] == report["tasks"]


def test_a_plan_that_cannot_be_read_is_its_problems_alone() -> None:
    hostile = "not UTF-8: \udcff"
    text = plan_json.unreadable_plan([Problem(hostile, None, "wrong", "")])
    assert list(read("check", text)) == ["version", "problems"]
