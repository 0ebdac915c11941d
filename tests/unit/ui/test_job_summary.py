"""Summaries of single jobs say only what is known."""

from __future__ import annotations

import pytest

from runner.core.result import Failure, FailureKind, Result, Verdict
from runner.ui import job_summary
from tests.support.builders import entry, task

BROKE = Failure(kind=FailureKind.AGENT_ERROR, message="it broke", log_tail="the end")


def attempt(seconds: int, **fields: object) -> Result:
    given = {
        "batch": "1.1", "manifest": "m", "task": "A", "attempt": 2, "base": "b" * 40,
        "started": "2026-01-01T00:00:00Z", "finished": f"2026-01-01T00:00:{seconds:02}Z",
        "agent": "claude", "succeeded": True,
    }  # fmt: skip
    return Result.model_validate({**given, **fields})


def test_an_attempt_says_only_what_is_known() -> None:
    one = entry(task("A", title="do it"), attempt=2)
    assert job_summary.attempt_summary(one, attempt(0)) == (
        "## ✅ A: do it\n\nAttempt 2 succeeded\n"
    )
    usage = {"cost_usd": 0.5, "summary": "did *it*"}
    assert job_summary.attempt_summary(one, attempt(40, usage=usage)) == (
        "## ✅ A: do it\n\nAttempt 2 succeeded · 40 s · $0.50\n\ndid \\*it\\*\n"
    )
    text = job_summary.attempt_summary(one, attempt(1, succeeded=False, failure=BROKE))
    assert text.startswith("## ❌ A: do it\n\nAttempt 2 failed · 1 s\n")
    assert text.endswith("**Agent failed:** it broke\n\n```text\nthe end\n```\n")


def test_a_verdict_names_the_tasks_that_made_it_red() -> None:
    verdict = Verdict(batch="1.1", manifest="m", head="h", tree="t")
    assert job_summary.verdict_summary(verdict, "make") == "## ✅ `make` is green\n"
    red = verdict.model_copy(update={"failed": {"A": BROKE}})
    text = job_summary.verdict_summary(red, "make")
    assert text.startswith("## ❌ `make` is red because of A\n\n### ❌ A\n")
    assert "the end" in text


@pytest.mark.parametrize(
    ("changes", "issue_count", "lines"),
    [
        ([], 1, ["## Fanin: 1 issue of o/r is a task", "", "No changes."]),
        (
            ["#2 is new"],
            2,
            ["## Fanin: 2 issues of o/r are tasks", "", "- no. 2 is new"],
        ),
    ],
)
def test_a_collection_summary_counts_the_issues_and_lists_the_changes(
    changes: list[str], issue_count: int, lines: list[str]
) -> None:
    text = job_summary.collection_summary("o/r", changes, issue_count)
    assert text.splitlines() == lines
