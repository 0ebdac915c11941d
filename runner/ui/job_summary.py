"""What a person sees of a round on GitHub: the graph, a table, the failures; as
Markdown. Pure and escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.core.manifest import BatchEntry
from runner.core.result import Failure, Result, Verdict
from runner.plan.progress import seconds_between
from runner.plan.view import TaskView, counts
from runner.ui.diagrams import mermaid

MARKER = "<!-- fanin -->"
# rows of the table; a longer plan shows the tasks that are not done first
_MAX_ROWS = 500
_MAX_MERMAID = 200  # nodes; Mermaid on GitHub refuses more edges than 500 and long text
_TAIL_LINES = 20
_ICON = {
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
class Round:
    """What one round did: its batch, the commit that landed, the failures and links to
    the tasks' logs.
    """

    batch: str
    branch: str
    commit: str | None = None
    landed: Sequence[str] = ()
    failed: Mapping[str, Failure] = field(default_factory=dict)
    run_url: str = ""
    note: str = ""
    used: str = ""


def round_summary(found: Sequence[TaskView], done: Round) -> str:
    """The summary of a round and of the plan after it."""
    tally = ", ".join(f"{count} {state}" for state, count in counts(found).items())
    parts = [f"## Fanin: batch {cell(done.batch)} on `{code(done.branch)}`", tally]
    if done.note:
        parts.append(f"> {cell(done.note)}")
    if done.commit:
        parts.append(
            f"Landed {cell(', '.join(done.landed)) or 'the attempts'} in {done.commit}."
        )
    if done.used:
        parts.append(f"Used: {cell(done.used)}")
    parts += [graph(found), table(found, done.run_url), failures(done.failed)]
    return "\n\n".join(part for part in parts if part) + "\n"


def attempt_summary(entry: BatchEntry, result: Result) -> str:
    """The summary of one task's job."""
    usage, state = result.usage, "succeeded" if result.succeeded else "failed"
    cost = "unknown" if usage.cost_usd is None else f"${usage.cost_usd:.2f}"
    icon = _ICON["completed" if result.succeeded else "failed"]
    parts = [
        f"## {icon} {cell(entry.task.id)}: {cell(entry.task.title)}",
        f"Attempt {entry.attempt} {state} after {seconds_between(result.started, result.finished):.0f} s; cost {cost}.",
        cell(usage.summary or ""),
    ]
    if result.failure is not None:
        parts.append(failures({entry.task.id: result.failure}))
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict_summary(verdict: Verdict, command: str) -> str:
    """The summary of job `verify`."""
    said = (
        "green"
        if not verdict.failed
        else f"red because of {cell(', '.join(verdict.failed))}"
    )
    parts = [f"## Fanin: `{code(command)}` is {said}", failures(verdict.failed)]
    return "\n\n".join(part for part in parts if part) + "\n"


def collected(repository: str, changes: Sequence[str], count: int) -> str:
    """The summary of job `collect`: how many issues are tasks now, and what is new
    about them.
    """
    lines = [f"- {cell(line)}" for line in changes[:_MAX_ROWS]] or ["nothing is new"]
    if len(changes) > _MAX_ROWS:
        lines.append(f"\n… and {len(changes) - _MAX_ROWS} more")
    return (
        "\n".join(
            [f"## Fanin: {count} issues of {cell(repository)} are tasks", "", *lines]
        )
        + "\n"
    )


def sticky(found: Sequence[TaskView], done: Round) -> str:
    """The pull request's one comment; `MARKER` is how it is found again."""
    return f"{MARKER}\n{round_summary(found, done)}"


def graph(found: Sequence[TaskView]) -> str:
    """The Mermaid picture, or a sentence where the plan is too large for one."""
    edges = sum(len(view.task.depends_on) for view in found)
    if len(found) > _MAX_MERMAID or edges > 2 * _MAX_MERMAID:
        size = f"{len(found)} tasks and {edges} dependencies"
        return (
            f"_The graph has {size}, too many to draw here: `fanin graph` prints it._"
        )
    return f"```mermaid\n{mermaid(found)}```"


def table(found: Sequence[TaskView], run_url: str = "") -> str:
    """One row a task; what is not done comes first where not all fit."""
    shown = list(found)
    if len(shown) > _MAX_ROWS:
        shown = sorted(shown, key=lambda view: view.state == "completed")[:_MAX_ROWS]
    rows = [
        "| | task | state | attempts | time | cost | files | why |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows += [_row(view) for view in shown]
    if len(shown) < len(found):
        rows.append(f"\n… and {len(found) - len(shown)} more")
    if run_url:
        rows.append(f"\nLogs: [this run]({run_url}), one job a task.")
    return "\n".join(rows)


def failures(failed: Mapping[str, Failure]) -> str:
    """What went wrong, each with the last lines of its log."""
    parts = []
    for task_id, failure in failed.items():
        tail = "\n".join(failure.log_tail.splitlines()[-_TAIL_LINES:])
        parts.append(
            f"### ❌ {cell(task_id)}: {failure.kind}\n\n{cell(failure.message)}"
        )
        if tail.strip():
            parts.append(
                f"<details><summary>the end of its log</summary>\n\n{block(tail)}\n</details>"
            )
    return "\n\n".join(parts)


def _row(view: TaskView) -> str:
    record = view.record
    seconds = f"{record.seconds:.0f} s" if record.seconds is not None else ""
    cost = (
        f"${record.cost_usd:.2f}"
        if record.cost_usd is not None
        else ("unknown" if record.attempts else "")
    )
    files = ", ".join(view.task.files or ())[:60]
    return (
        f"| {_ICON[view.state]} | {cell(view.task.id)} {cell(view.task.title[:80])} | {view.state} | "
        f"{record.attempts or ''} | {seconds} | {cost} | {cell(files)} | {cell(view.reason[:200])} |"
    )


def cell(text: str) -> str:
    """Text that stays inside one table cell and is no markup, mention or link."""
    flat = " ".join(text.split())
    escaped = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", escaped)
    return escaped.replace("@", "&#64;").replace("://", "&#58;//")


def code(text: str) -> str:
    return text.replace("`", "'").replace("\n", " ")


def block(text: str) -> str:
    """A code block that nothing inside can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
