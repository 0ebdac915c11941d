"""Summaries hold together whatever a plan, an agent or a log says."""

from __future__ import annotations

import pytest

from runner.core.result import Failure, FailureKind
from runner.core.task import Plan, Standing
from runner.plan import view
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.view import TaskView
from runner.ui import job_summary
from runner.ui.job_summary import Round
from tests.support.builders import task


def views(*ids: str, title: str = "do it") -> list[TaskView]:
    tasks = [task(task_id, title=title) for task_id in ids]
    plan = Plan(path="tasks.yml", source="native", tasks=tuple(tasks))
    return view.views(plan, TaskGraph(tasks, "tasks.yml"), Progress("tasks.yml"), 3)


@pytest.mark.parametrize(
    "text",
    [
        "a | b",
        "<script>",
        "**bold**",
        "[x](http://evil)",
        "@everyone",
        "two\nlines",
        "`code`",
    ],
)
def test_cell_holds_text_and_no_markup(text: str) -> None:
    shown = job_summary.cell(text)
    assert "\n" not in shown
    for sign in ("<", "@", "://"):
        assert sign not in shown
    for sign in "|*[`":
        assert sign not in shown.replace("\\" + sign, "")


@pytest.mark.parametrize("text", ["plain", "```\n## a heading\n```", "````` five"])
def test_log_cannot_end_its_block(text: str) -> None:
    shown = job_summary.block(text)
    fence = shown.split("text\n")[0]
    assert shown.endswith(f"\n{fence}")
    assert fence not in text


def test_round_shows_graph_table_and_failures_with_the_last_lines() -> None:
    log = "\n".join(f"line {number}" for number in range(100))
    failed = {
        "A": Failure(kind=FailureKind.AGENT_ERROR, message="it broke", log_tail=log)
    }
    text = job_summary.round_summary(
        views("A", "B"), Round("1.1", "main", "c0ffee", ("B",), failed, "https://x/run")
    )
    assert "```mermaid" in text
    assert "| A do it |" in text
    assert "Landed B in c0ffee" in text
    assert "line 99" in text
    assert "line 79" not in text


def test_large_plan_shows_what_is_not_done_first_and_no_picture() -> None:
    found = [
        TaskView(v.task, "completed" if v.task.id != "T600" else "failed", v.record, "")
        for v in views(*(f"T{i}" for i in range(601)))
    ]
    text = job_summary.round_summary(found, Round("1.1", "main"))
    assert "```mermaid" not in text
    assert "| T600 " in text
    assert "… and 101 more" in text
    assert len(text) < 65_000


def test_sticky_comment_carries_its_marker_first() -> None:
    assert job_summary.sticky(views("A"), Round("1.1", "main")).startswith(
        job_summary.MARKER
    )


def test_standings_word_is_not_shown_raw() -> None:
    assert Standing.STUCK.value not in job_summary.round_summary(
        views("A"), Round("1.1", "main")
    )
