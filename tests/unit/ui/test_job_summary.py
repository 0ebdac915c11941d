"""Job summaries are valid Markdown whatever a plan, an agent or a log contains."""

from __future__ import annotations

import pytest

from runner.core.result import Failure, FailureKind
from runner.core.task import Plan, Standing
from runner.plan import view
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.view import TaskView
from runner.ui import job_summary
from runner.ui.job_summary import RoundReport
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
def test_a_table_cell_has_no_markup_mention_or_link(text: str) -> None:
    markdown = job_summary.cell(text)
    assert "\n" not in markdown
    for sign in ("<", "@", "://"):
        assert sign not in markdown
    for sign in "|*[`":
        assert sign not in markdown.replace("\\" + sign, "")


@pytest.mark.parametrize("text", ["plain", "```\n## a heading\n```", "````` five"])
def test_no_log_can_end_its_code_block(text: str) -> None:
    markdown = job_summary.block(text)
    fence = markdown.split("text\n")[0]
    assert markdown.endswith(f"\n{fence}")
    assert fence not in text


def test_a_round_summary_has_the_graph_the_table_and_each_failure_with_its_last_log_lines() -> (
    None
):
    log = "\n".join(f"line {number}" for number in range(100))
    failed = {
        "A": Failure(kind=FailureKind.AGENT_ERROR, message="it broke", log_tail=log)
    }
    text = job_summary.round_summary(
        views("A", "B"),
        RoundReport("1.1", "main", "c0ffee", ("B",), failed, "https://x/run"),
    )
    assert "```mermaid" in text
    assert "| A do it |" in text
    assert "Landed B in c0ffee" in text
    assert "line 99" in text
    assert "line 79" not in text


def test_a_large_plan_lists_unfinished_tasks_first_and_has_no_diagram() -> None:
    task_views = [
        TaskView(v.task, "completed" if v.task.id != "T600" else "failed", v.record, "")
        for v in views(*(f"T{i}" for i in range(601)))
    ]
    text = job_summary.round_summary(task_views, RoundReport("1.1", "main"))
    assert "```mermaid" not in text
    assert "| T600 " in text
    assert "… and 101 more" in text
    assert len(text) < 65_000


def test_a_sticky_comment_starts_with_its_marker() -> None:
    assert job_summary.sticky_comment(
        views("A"), RoundReport("1.1", "main")
    ).startswith(job_summary.MARKER)


def test_a_summary_does_not_show_an_internal_standing() -> None:
    assert Standing.STUCK.value not in job_summary.round_summary(
        views("A"), RoundReport("1.1", "main")
    )


def test_a_round_without_landed_work_says_that_its_commit_records_failures() -> None:
    report = RoundReport("1.1", "main", "c0ffee")
    text = job_summary.round_summary(views("A"), report)
    assert "No work landed; c0ffee records the failed attempts." in text


@pytest.mark.parametrize(
    ("changes", "issue_count", "lines"),
    [
        ([], 1, ["## Fanin: 1 issue of o/r is a task", "", "No changes."]),
        (
            ["#2 is new"],
            2,
            ["## Fanin: 2 issues of o/r are tasks", "", "- \\#2 is new"],
        ),
    ],
)
def test_a_collection_summary_counts_the_issues_and_lists_the_changes(
    changes: list[str], issue_count: int, lines: list[str]
) -> None:
    text = job_summary.collection_summary("o/r", changes, issue_count)
    assert text.splitlines() == lines
