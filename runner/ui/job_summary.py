"""The summaries of the jobs beside a round's own.

Pure. Every text of a plan, an agent or a log is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence

from runner.core.errors import InvalidInput, UsageProblem
from runner.core.manifest import BatchEntry
from runner.core.plurals import pluralize
from runner.core.result import Result, Verdict
from runner.core.rough_time import cost
from runner.plan.records import seconds_between
from runner.ui.attempt_text import (
    MAX_LOG_LINES,
    duration,
    end_of_log,
    failure_text,
)
from runner.ui.markdown import cell, code, paragraphs, with_links
from runner.ui.states import LOOKS

_MAX_ITEMS = 500  # in a list


def attempt_summary(entry: BatchEntry, result: Result) -> str:
    """The summary of one task's job."""
    usage = result.usage
    state, outcome = "completed", "succeeded"
    if result.failure is not None:
        state, outcome = "failed", "failed"
        if result.failure.verb == "asks":
            state, outcome = "asking", "asks"
    figures = [
        f"Attempt {entry.attempt} {outcome}",
        duration(seconds_between(result.started, result.finished)),
        cost(usage.cost_usd),
    ]
    parts = [
        f"## {LOOKS[state].icon} {cell(entry.task.id)}: {cell(entry.task.title)}",
        " · ".join(figure for figure in figures if figure),
        cell(usage.summary or ""),
    ]
    if result.failure is not None:
        parts.append(failure_text(result.failure))
        parts.append(end_of_log(result.failure, MAX_LOG_LINES))
    return paragraphs(parts)


def verdict_summary(verdict: Verdict, command: str) -> str:
    """The summary of job `verify`."""
    icon, outcome = "✅", "is green"
    if verdict.failed:
        icon, outcome = "❌", f"is red because of {cell(', '.join(verdict.failed))}"
    parts = [f"## {icon} `{code(command)}` {outcome}"]
    for task_id, failure in verdict.failed.items():
        parts.append(f"### ❌ {cell(task_id)}")
        parts.append(failure_text(failure))
        parts.append(end_of_log(failure, MAX_LOG_LINES))
    return paragraphs(parts)


def note(sentence: str, repository_url: str) -> str:
    """A line below a summary."""
    return f"\n> {with_links(sentence, repository_url)}\n"


def error_summary(error: UsageProblem) -> str:
    """The summary of a job that was given something it cannot work with."""
    lines = [f"## Fanin: {cell(error.heading)}", ""]
    if not isinstance(error, InvalidInput):
        lines.append(cell(str(error)))
        return "\n".join(lines) + "\n"
    for problem in error.problems[:_MAX_ITEMS]:
        location = problem.path
        if problem.line is not None:
            location += f":{problem.line}"
        line = f"- `{code(location)}`: {cell(problem.what)}"
        if problem.remedy:
            line += f"; {cell(problem.remedy)}"
        lines.append(line)
    if len(error.problems) > _MAX_ITEMS:
        lines.append(f"\n… and {len(error.problems) - _MAX_ITEMS} more")
    return "\n".join(lines) + "\n"


def missing_verdict_summary(batch: str, kept_until: str, run_url: str) -> str:
    """The summary of job `merge` when job `verify` gave no verdict."""
    parts = [
        f"## Fanin: batch {cell(batch)} is not verified",
        (
            "Job `verify` gave no verdict: it was cancelled, or it broke. The merged "
            "tree is neither green nor red, so nothing landed and no attempt counts."
        ),
        (
            f"The results are kept until {cell(kept_until)}. To land them, press "
            f"**Re-run failed jobs** on [this run]({run_url}) before then. Agents that "
            "have finished do not run again."
        ),
    ]
    return paragraphs(parts)


def next_round_summary(number: int, ids: str) -> str:
    """The line below a round's summary that names the tasks of the next round."""
    return f"\nRound {number} of this run starts with {cell(ids)}.\n"


def collection_summary(
    repository: str, changes: Sequence[str], issue_count: int
) -> str:
    """The summary of job `collect`: how many issues are tasks, and what changed."""
    issues = pluralize(issue_count, "issue")
    verb = "is a task" if issue_count == 1 else "are tasks"
    lines = [f"## Fanin: {issues} of {cell(repository)} {verb}", ""]
    lines += [f"- {cell(change)}" for change in changes[:_MAX_ITEMS]]
    if not changes:
        lines.append("No changes.")
    if len(changes) > _MAX_ITEMS:
        lines.append(f"\n… and {len(changes) - _MAX_ITEMS} more")
    return "\n".join(lines) + "\n"
