"""A plan and its progress as text: rows of a table, Mermaid, DOT and JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.errors import Problem
from runner.models import Plan, Standing, Status, Task
from runner.progress import Progress, Record

if TYPE_CHECKING:  # a matrix leg tells of its task without networkx being installed
    from runner.graph import TaskGraph

_FILL = {
    "completed": "#d7f0db",
    "failed": "#f8d7da",
    "in_progress": "#fff1c9",
    "ready": "#dbe9fb",
    "blocked": "#eadcf4",
    "skipped": "#e6e6e6",
    "held": "#eadcf4",
    "pending": "#ffffff",
}


@dataclass(frozen=True)
class View:
    """One task as people see it: `state` adds ready, blocked, skipped and held to the four stored ones."""

    task: Task
    state: str
    record: Record
    reason: str


def views(
    plan: Plan, graph: TaskGraph, progress: Progress, max_attempts: int, running: Sequence[str] = ()
) -> list[View]:
    """How every task of the plan stands now, in plan order, each with the reason if it cannot run."""
    standings = progress.standings(plan, max_attempts)
    ready, blocked = set(graph.ready(standings)), graph.blocked(standings)
    found = []
    for task in plan.tasks:
        record = progress.record(task)
        state, reason = _state(task, record, standings[task.id], ready, blocked)
        found.append(View(task, "in_progress" if task.id in running else state, record, reason))
    return found


def _state(
    task: Task, record: Record, standing: Standing, ready: set[str], blocked: Mapping[str, Sequence[str]]
) -> tuple[str, str]:
    error = next(iter(record.error.message.splitlines()), "") if record.error else ""
    if record.status is Status.COMPLETED:
        return "completed", "skipped as satisfied" if record.skipped else ""
    if record.skipped or record.held:
        return ("skipped", "") if record.skipped else ("held", f"its work waits on {record.held}")
    if standing is Standing.STUCK:
        return "failed", error
    if task.id in blocked:
        return "blocked", f"by {', '.join(blocked[task.id])}"
    again = f"attempt {record.attempts} failed: {error}" if record.status is Status.FAILED else ""
    return ("ready" if task.id in ready else "pending"), again


def counts(found: Sequence[View]) -> dict[str, int]:
    """How many tasks are in each state, the states that occur only."""
    tally: dict[str, int] = {}
    for view in found:
        tally[view.state] = tally.get(view.state, 0) + 1
    return tally


def mermaid(found: Sequence[View]) -> str:
    """A Mermaid flowchart, one node per task coloured by state. Ids become n0, n1, … and texts are escaped."""
    node = {view.task.id: f"n{place}" for place, view in enumerate(found)}
    lines = ["flowchart LR"]
    lines += [
        f'  {node[v.task.id]}["{_label(v.task.id, 40)}<br/>{_label(v.task.title, 60)}"]:::{v.state}' for v in found
    ]
    lines += [f"  {node[dep]} --> {node[v.task.id]}" for v in found for dep in v.task.depends_on if dep in node]
    used = dict.fromkeys(view.state for view in found)
    lines += [f"  classDef {state} fill:{_FILL[state]},stroke:#555,color:#111" for state in used]
    return "\n".join(lines) + "\n"


def dot(found: Sequence[View]) -> str:
    """A Graphviz digraph, one node per task coloured by state."""
    lines = ["digraph plan {", "  rankdir=LR; node [shape=box, style=filled];"]
    lines += [
        f'  {_quoted(v.task.id)} [label={_quoted(f"{v.task.id}: {v.task.title}")}, fillcolor="{_FILL[v.state]}"];'
        for v in found
    ]
    lines += [f"  {_quoted(dep)} -> {_quoted(v.task.id)};" for v in found for dep in v.task.depends_on]
    return "\n".join([*lines, "}"]) + "\n"


def batches(found: Sequence[View], graph: TaskGraph) -> list[tuple[str, ...]]:
    """What the graph would still allow, batch after batch, with no cap: done, stuck and blocked tasks left out."""
    return graph.waves([view.task.id for view in found if view.state in {"ready", "pending", "in_progress"}])


def understood(
    plan: Plan, found: Sequence[View], graph: TaskGraph, notes: Sequence[str], problems: Sequence[Problem]
) -> str:
    """What `fanin check --json` prints: the graph, the batches it would still allow, notes and problems."""
    left = batches(found, graph)
    said = {
        "plan": {"path": plan.path, "source": plan.source, "options": plan.options},
        "edges": graph.edges,
        "batches": left,
        "width": max(map(len, left), default=0),
        "counts": counts(found),
        "notes": list(notes),
        "problems": listed(problems),
    }
    return json.dumps(json.loads(as_json(found, graph)) | said, indent=1, ensure_ascii=False)


def listed(problems: Sequence[Problem]) -> list[dict[str, str | int | None]]:
    return [{"path": p.path, "line": p.line, "what": p.what, "remedy": p.remedy} for p in problems]


def as_json(found: Sequence[View], graph: TaskGraph) -> str:
    """The graph for tools: tasks with state, attempts and dependencies; waves; the critical path."""
    tasks = [
        {
            "id": v.task.id,
            "title": v.task.title,
            "line": v.task.line,
            **({"path": v.task.path} if v.task.path else {}),
            "state": v.state,
            "attempts": v.record.attempts,
            "reason": v.reason,
            "depends_on": list(v.task.depends_on),
            "files": v.task.files,
        }
        for v in found
    ]
    return json.dumps(
        {"version": 1, "tasks": tasks, "waves": graph.waves(), "critical_path": graph.critical_path()},
        indent=1,
        ensure_ascii=False,
    )


def _label(text: str, length: int) -> str:
    """Text that can end neither Mermaid's quotes nor its line, nor become markup."""
    short = " ".join(text.split())
    short = short if len(short) <= length else short[: length - 1] + "…"
    return "".join(c if c.isalnum() or c in " .,:;!?()/_-+=…" else f"#{ord(c)};" for c in short)


def _quoted(text: str) -> str:
    return json.dumps(" ".join(text.split()), ensure_ascii=False)
