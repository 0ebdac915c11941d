"""One state and one reason for each task, and diagrams that no title can break."""

from __future__ import annotations

import json

import pytest

from runner.core.result import Failure, FailureKind, Question
from runner.core.task import Status, Task
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.view import TaskView, counts, views
from runner.ui import diagrams, plan_json
from tests.support.builders import plan, task

ERROR = Failure(kind=FailureKind.VERIFY, message="it is red\nsecond line")
FAILED, DONE = Status.FAILED, Status.COMPLETED


def _views(
    tasks: list[Task],
    records: dict[str, Record] | None = None,
    running: tuple[str, ...] = (),
) -> list[TaskView]:
    return views(
        plan(*tasks),
        TaskGraph(tasks, "p"),
        Progress("tasks.yml", records or {}),
        3,
        running,
    )


@pytest.mark.parametrize(
    ("record", "state", "reason", "dependent"),
    [
        (Record(), "ready", "", "pending"),
        (Record(status=DONE, attempts=1), "completed", "", "ready"),
        (
            Record(status=DONE, skipped=True),
            "completed",
            "skipped as satisfied",
            "ready",
        ),
        (
            Record(status=FAILED, attempts=1, error=ERROR),
            "ready",
            "attempt 1 failed: it is red",
            "pending",
        ),
        (
            Record(status=FAILED, attempts=3, error=ERROR),
            "failed",
            "it is red",
            "blocked",
        ),
        (
            Record(status=FAILED, attempts=1, final=True, error=ERROR),
            "failed",
            "it is red",
            "blocked",
        ),
        (Record(status=FAILED, attempts=3), "failed", "", "blocked"),
        (Record(skipped=True), "skipped", "", "blocked"),
        (Record(held="fanin/r1"), "held", "its work waits on fanin/r1", "blocked"),
        (Record(gate=True), "gated", "waits for approval: fanin approve A", "pending"),
        (
            Record(gate=True, status=FAILED, attempts=1, error=ERROR),
            "gated",
            "waits for approval: fanin approve A; attempt 1 failed: it is red",
            "pending",
        ),
        (
            Record(
                status=FAILED,
                attempts=3,
                error=ERROR.model_copy(update={"message": ""}),
            ),
            "failed",
            "",
            "blocked",
        ),
    ],
    ids=[
        "new",
        "done",
        "satisfied",
        "failed",
        "used up",
        "final",
        "no error",
        "skipped",
        "held",
        "gated",
        "gated after a failure",
        "empty error",
    ],
)
def test_every_task_has_one_state_and_its_reason(
    record: Record, state: str, reason: str, dependent: str
) -> None:
    first, second = _views([task("A"), task("B", depends_on=("A",))], {"A": record})
    assert (first.state, first.reason) == (state, reason)
    assert (second.state, second.reason) == (
        dependent,
        "by A" if dependent == "blocked" else "",
    )


def test_a_gate_behind_other_tasks_waits_for_them_first() -> None:
    tasks = [task("A"), task("B", depends_on=("A",), gate=True)]
    _, behind = _views(tasks, {})
    assert (behind.state, behind.reason) == ("pending", "then waits for approval")
    _, behind = _views(tasks, {"A": Record(skipped=True)})
    assert (behind.state, behind.reason) == ("blocked", "by A")


def test_a_blocked_task_names_all_stuck_tasks_that_block_it() -> None:
    stuck = Record(skipped=True)
    task_views = _views(
        [
            task("A"),
            task("B"),
            task("C", depends_on=("A", "B")),
            task("D", depends_on=("C",)),
        ],
        {"A": stuck, "B": stuck},
    )
    assert [view.reason for view in task_views] == ["", "", "by A, B", "by A, B"]


def test_a_running_task_is_in_progress() -> None:
    assert [view.state for view in _views([task("A"), task("B")], running=("B",))] == [
        "ready",
        "in_progress",
    ]


def test_only_states_that_occur_are_counted() -> None:
    task_views = _views([task("A"), task("B"), task("C", depends_on=("A",))])
    assert counts(task_views) == {"ready": 2, "pending": 1}


def test_mermaid_shows_every_task_by_state_and_every_dependency() -> None:
    task_views = _views(
        [task("A", title="First"), task("B", title="Second", depends_on=("A",))]
    )
    assert diagrams.mermaid(task_views) == (
        "flowchart LR\n"
        '  n0["🔵 A<br/>First"]:::ready\n'
        '  n1["⚪ B<br/>Second"]:::pending\n'
        "  n0 --> n1\n"
        "  classDef ready fill:#dbe9fb,stroke:#555,color:#111\n"
        "  classDef pending fill:#ffffff,stroke:#555,color:#111\n"
    )


@pytest.mark.parametrize(
    "title",
    [
        'say "x"',
        "a]b",
        "<b>x</b>",
        "a`b`",
        "x\n  n9 --> n0",
        "#quot;",
        "end",
        "{x}",
        "a\\b",
    ],
)
def test_no_title_can_end_a_mermaid_label_or_become_markup(title: str) -> None:
    _, node, _ = diagrams.mermaid(_views([task("end", title=title)])).splitlines()
    assert node.startswith('  n0["🔵 end<br/>')
    assert node.endswith('"]:::ready')
    label = node.removeprefix('  n0["🔵 end<br/>').removesuffix('"]:::ready')
    assert not set(label) & set('"[]{}<>`\\|')
    assert title == "end" or label != " ".join(title.split()) or "#" not in title


def test_long_titles_are_cut() -> None:
    assert "x" * 59 + "…" in diagrams.mermaid(_views([task(title="x" * 200)]))


def test_dot_shows_every_task_by_state_and_every_dependency() -> None:
    task_views = _views(
        [task("A", title='a "quoted"\\ title'), task("B", title="b", depends_on=("A",))]
    )
    assert diagrams.dot(task_views) == (
        "digraph plan {\n"
        "  rankdir=LR; node [shape=box, style=filled];\n"
        '  "A" [label="A: a \\"quoted\\"\\\\ title", fillcolor="#dbe9fb"];\n'
        '  "B" [label="B: b", fillcolor="#ffffff"];\n'
        '  "A" -> "B";\n'
        "}\n"
    )


def test_json_has_its_published_format() -> None:
    tasks = [task("A", line=3, files=("x",)), task("B", line=4, depends_on=("A",))]
    task_views = _views(tasks, {"A": Record(status=FAILED, attempts=3, error=ERROR)})
    document = json.loads(plan_json.graph_report(task_views, TaskGraph(tasks, "p")))
    assert document == {
        "version": 1,
        "tasks": [
            {
                "id": "A",
                "title": "Title of A",
                "line": 3,
                "state": "failed",
                "attempts": 3,
                "reason": "it is red",
                "depends_on": [],
                "files": ["x"],
            },
            {
                "id": "B",
                "title": "Title of B",
                "line": 4,
                "state": "blocked",
                "attempts": 0,
                "reason": "by A",
                "depends_on": ["A"],
                "files": None,
            },
        ],
        "waves": [["A"], ["B"]],
        "critical_path": ["A", "B"],
    }


def test_every_state_has_a_colour() -> None:
    records = {
        "done": Record(status=DONE),
        "failed": Record(status=FAILED, attempts=3),
        "skipped": Record(skipped=True),
        "held": Record(held="x"),
        "gated": Record(gate=True),
        "asking": Record(attempts=1, questions=(Question(attempt=1, text="?"),)),
    }
    tasks = [
        *map(task, records),
        task("ready"),
        task("pending", depends_on=("ready",)),
        task("runs"),
    ]
    tasks.append(task("blocked", depends_on=("failed",)))
    task_views = _views(tasks, records, ("runs",))
    assert {view.state for view in task_views} == {
        "completed",
        "failed",
        "skipped",
        "held",
        "gated",
        "asking",
        "ready",
        "pending",
        "in_progress",
        "blocked",
    }
    assert diagrams.mermaid(task_views).count("classDef") == 10
    assert diagrams.dot(task_views).count("fillcolor") == 10
