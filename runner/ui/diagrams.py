"""The task graph as Mermaid and Graphviz text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from runner.plan.view import TaskView

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
# Characters that mean nothing to Mermaid or HTML. All others are escaped.
_HARMLESS = " .,:;!?()/_-+=…"
_MAX_ID, _MAX_TITLE = 40, 60


def mermaid(task_views: Sequence[TaskView]) -> str:
    """A Mermaid flowchart with one node per task, coloured by state."""
    # Ids may hold any character, so the nodes are named n0, n1, …
    nodes = {view.task.id: f"n{index}" for index, view in enumerate(task_views)}
    lines = ["flowchart LR"]
    for view in task_views:
        task_id = _label(view.task.id, _MAX_ID)
        title = _label(view.task.title, _MAX_TITLE)
        node = nodes[view.task.id]
        lines.append(f'  {node}["{task_id}<br/>{title}"]:::{view.state}')
    for dependency, dependent in _edges(task_views):
        if dependency in nodes:
            lines.append(f"  {nodes[dependency]} --> {nodes[dependent]}")
    states = dict.fromkeys(view.state for view in task_views)
    lines += [
        f"  classDef {state} fill:{_FILL[state]},stroke:#555,color:#111"
        for state in states
    ]
    return "\n".join(lines) + "\n"


def dot(task_views: Sequence[TaskView]) -> str:
    """A Graphviz digraph with one node per task, coloured by state."""
    lines = ["digraph plan {", "  rankdir=LR; node [shape=box, style=filled];"]
    for view in task_views:
        label = _quoted(f"{view.task.id}: {view.task.title}")
        color = _FILL[view.state]
        node = _quoted(view.task.id)
        lines.append(f'  {node} [label={label}, fillcolor="{color}"];')
    lines += [
        f"  {_quoted(dependency)} -> {_quoted(dependent)};"
        for dependency, dependent in _edges(task_views)
    ]
    lines.append("}")
    return "\n".join(lines) + "\n"


def _edges(task_views: Sequence[TaskView]) -> Iterator[tuple[str, str]]:
    """(dependency, dependent), both as task ids."""
    for view in task_views:
        for dependency in view.task.depends_on:
            yield dependency, view.task.id


def _label(text: str, length: int) -> str:
    """At most `length` characters of text, with Mermaid's and HTML's syntax escaped."""
    text = " ".join(text.split())
    if len(text) > length:
        text = text[: length - 1] + "…"
    escaped = ""
    for character in text:
        if character.isalnum() or character in _HARMLESS:
            escaped += character
        else:
            escaped += f"#{ord(character)};"
    return escaped


def _quoted(text: str) -> str:
    return json.dumps(" ".join(text.split()), ensure_ascii=False)
