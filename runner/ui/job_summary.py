"""The Markdown that people read on GitHub: job summaries and the pull request's comment.

Pure. Every text of a plan, an agent or a log is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.core.errors import InvalidInput, UsageProblem
from runner.core.manifest import BatchEntry
from runner.core.plurals import pluralize
from runner.core.result import Failure, Result, Verdict
from runner.plan.progress import seconds_between
from runner.plan.view import TaskView, counts
from runner.ui.diagrams import mermaid

MARKER = "<!-- fanin -->"

# This keeps the comment on most plans below GitHub's limit of 65,536 characters.
_MAX_ROWS = 500
_MAX_LINES_OF_LOG = 20
_MAX_TITLE, _MAX_FILES, _MAX_REASON = 80, 60, 200  # characters in a cell
# Mermaid on GitHub refuses more than 500 edges.
_MAX_NODES = 200
_MAX_EDGES = 400

_ICONS = {
    "completed": "✅",
    "failed": "❌",
    "in_progress": "⏳",
    "ready": "🔵",
    "blocked": "⛔",
    "skipped": "⏭️",
    "held": "✋",
    "pending": "⚪",
}


@dataclass(frozen=True)
class RoundReport:
    """The outcome of one round.

    `commit` is the commit that landed, `landed` the ids of the tasks in it. `run_url`
    leads to the logs, `note` is a sentence for people, `usage` what the attempts used.
    """

    batch: str
    branch: str
    commit: str | None = None
    landed: Sequence[str] = ()
    failed: Mapping[str, Failure] = field(default_factory=dict)
    run_url: str = ""
    note: str = ""
    usage: str = ""


def round_summary(views: Sequence[TaskView], report: RoundReport) -> str:
    """The summary of a round, and of the plan after it."""
    counts_by_state = [f"{count} {state}" for state, count in counts(views).items()]
    parts = [
        f"## Fanin: batch {cell(report.batch)} on `{code(report.branch)}`",
        ", ".join(counts_by_state),
    ]
    if report.note:
        parts.append(f"> {cell(report.note)}")
    if report.commit:
        parts.append(_landed(report.landed, report.commit))
    if report.usage:
        parts.append(f"Usage: {cell(report.usage)}")
    parts.append(_graph(views))
    parts.append(_table(views, report.run_url))
    parts.append(_failures(report.failed))
    return _join(parts)


def sticky_comment(views: Sequence[TaskView], report: RoundReport) -> str:
    """The pull request's comment. `MARKER` tells which comment to update."""
    return f"{MARKER}\n{round_summary(views, report)}"


def attempt_summary(entry: BatchEntry, result: Result) -> str:
    """The summary of one task's job."""
    usage = result.usage
    state = "completed" if result.succeeded else "failed"
    verb = "succeeded" if result.succeeded else "failed"
    seconds = seconds_between(result.started, result.finished)
    cost = _cost(usage.cost_usd)
    parts = [
        f"## {_ICONS[state]} {cell(entry.task.id)}: {cell(entry.task.title)}",
        f"Attempt {entry.attempt} {verb} after {seconds:.0f} s; cost: {cost}.",
        cell(usage.summary or ""),
    ]
    if result.failure is not None:
        parts.append(_failures({entry.task.id: result.failure}))
    return _join(parts)


def verdict_summary(verdict: Verdict, command: str) -> str:
    """The summary of job `verify`."""
    outcome = "is green"
    if verdict.failed:
        outcome = f"is red because of {cell(', '.join(verdict.failed))}"
    heading = f"## Fanin: `{code(command)}` {outcome}"
    return _join([heading, _failures(verdict.failed)])


def error_summary(error: UsageProblem) -> str:
    """The summary of a job that was given something it cannot work with."""
    lines = ["## Fanin: nothing was started", ""]
    if not isinstance(error, InvalidInput):
        lines.append(cell(str(error)))
        return "\n".join(lines) + "\n"
    for problem in error.problems[:_MAX_ROWS]:
        place = problem.path
        if problem.line is not None:
            place += f":{problem.line}"
        line = f"- `{code(place)}`: {cell(problem.what)}"
        if problem.remedy:
            line += f"; {cell(problem.remedy)}"
        lines.append(line)
    if len(error.problems) > _MAX_ROWS:
        lines.append(f"\n… and {len(error.problems) - _MAX_ROWS} more")
    return "\n".join(lines) + "\n"


def collection_summary(
    repository: str, changes: Sequence[str], issue_count: int
) -> str:
    """The summary of job `collect`: how many issues are tasks, and what changed."""
    issues = pluralize(issue_count, "issue")
    verb = "is a task" if issue_count == 1 else "are tasks"
    lines = [f"## Fanin: {issues} of {cell(repository)} {verb}", ""]
    lines += [f"- {cell(change)}" for change in changes[:_MAX_ROWS]]
    if not changes:
        lines.append("No changes.")
    if len(changes) > _MAX_ROWS:
        lines.append(f"\n… and {len(changes) - _MAX_ROWS} more")
    return "\n".join(lines) + "\n"


def _join(parts: Sequence[str]) -> str:
    """Paragraphs, without the empty ones."""
    return "\n\n".join(part for part in parts if part) + "\n"


def _landed(task_ids: Sequence[str], commit: str) -> str:
    if task_ids:
        return f"Landed {cell(', '.join(task_ids))} in {commit}."
    return f"No work landed; {commit} records the failed attempts."


def _graph(views: Sequence[TaskView]) -> str:
    """The Mermaid diagram, or a sentence if the plan is too large for one."""
    edges = sum(len(view.task.depends_on) for view in views)
    if len(views) <= _MAX_NODES and edges <= _MAX_EDGES:
        return f"```mermaid\n{mermaid(views)}```"
    tasks = pluralize(len(views), "task")
    dependencies = pluralize(edges, "dependency", "dependencies")
    return (
        f"_The graph is too large to draw here ({tasks}, {dependencies}): "
        "run `fanin graph`._"
    )


def _table(views: Sequence[TaskView], run_url: str) -> str:
    """One row per task; if they do not all fit, completed tasks come last."""
    shown = list(views)
    if len(shown) > _MAX_ROWS:
        shown.sort(key=lambda view: view.state == "completed")
        shown = shown[:_MAX_ROWS]
    lines = [
        "| | task | state | attempts | time | cost | files | reason |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(view) for view in shown]
    if len(shown) < len(views):
        lines.append(f"\n… and {len(views) - len(shown)} more")
    if run_url:
        lines.append(f"\nLogs: [this run]({run_url}), one job per task.")
    return "\n".join(lines)


def _row(view: TaskView) -> str:
    task, record = view.task, view.record
    seconds = cost = ""
    if record.seconds is not None:
        seconds = f"{record.seconds:.0f} s"
    if record.attempts or record.cost_usd is not None:
        cost = _cost(record.cost_usd)
    files = ", ".join(task.files or ())
    columns = [
        _ICONS[view.state],
        f"{cell(task.id)} {cell(task.title[:_MAX_TITLE])}",
        view.state,
        str(record.attempts or ""),
        seconds,
        cost,
        cell(files[:_MAX_FILES]),
        cell(view.reason[:_MAX_REASON]),
    ]
    return f"| {' | '.join(columns)} |"


def _cost(cost_usd: float | None) -> str:
    return "unknown" if cost_usd is None else f"${cost_usd:.2f}"


def _failures(failed: Mapping[str, Failure]) -> str:
    """Each failure with the last lines of its log."""
    parts = []
    for task_id, failure in failed.items():
        parts.append(f"### ❌ {cell(task_id)}: {failure.kind}")
        parts.append(cell(failure.message))
        lines = failure.log_tail.splitlines()[-_MAX_LINES_OF_LOG:]
        log = "\n".join(lines)
        if log.strip():
            parts.append(
                "<details><summary>Last lines of the log</summary>\n\n"
                f"{block(log)}\n</details>"
            )
    return "\n\n".join(parts)


def cell(text: str) -> str:
    """The text for one table cell: one line, and no markup, mention or link."""
    line = " ".join(text.split())
    escaped = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", escaped)
    return escaped.replace("@", "&#64;").replace("://", "&#58;//")


def code(text: str) -> str:
    """The text for a span between backticks."""
    return text.replace("`", "'").replace("\n", " ")


def block(text: str) -> str:
    """A code block that nothing in the text can end."""
    backticks = re.findall(r"`+", text)
    longest = max(map(len, backticks), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
