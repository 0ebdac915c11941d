"""The task graph as Mermaid and Graphviz text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from runner.plan.view import TaskView
from runner.ui.states import LOOKS

_FILL = {
    "completed": "#d7f0db",
    "failed": "#f8d7da",
    "in_progress": "#fff1c9",
    "ready": "#dbe9fb",
    "blocked": "#eadcf4",
    "skipped": "#e6e6e6",
    "held": "#eadcf4",
    "gated": "#fff1c9",
    "asking": "#ffe3b3",
    "pending": "#ffffff",
}
# Characters that mean nothing to Mermaid or HTML. All others are escaped.
_HARMLESS = " .,:;!?()/_-+=…"
_MAX_ID, _MAX_TITLE = 40, 60
# A page is about 900 pixels wide, and a wider diagram is made smaller to fit.
_MAX_NODES, _MAX_EDGES, _MAX_DEPTH = 30, 60, 6


def is_readable(task_views: Sequence[TaskView]) -> bool:
    """Whether a diagram says more than a table, and its text is readable on a page."""
    edges = list(_edges(task_views))
    if len(task_views) > _MAX_NODES or not 0 < len(edges) <= _MAX_EDGES:
        return False
    return _depth(task_views) <= _MAX_DEPTH


def mermaid(task_views: Sequence[TaskView]) -> str:
    """A Mermaid flowchart with one node per task, marked by state."""
    # Ids may hold any character, so the nodes are named n0, n1, …
    nodes = {view.task.id: f"n{index}" for index, view in enumerate(task_views)}
    lines = ["flowchart LR"]
    for view in task_views:
        task_id = _label(view.task.id, _MAX_ID)
        title = _label(view.task.title, _MAX_TITLE)
        node = nodes[view.task.id]
        icon = LOOKS[view.state].icon
        lines.append(f'  {node}["{icon} {task_id}<br/>{title}"]:::{view.state}')
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
        for dependency in view.task.waits_for:
            yield dependency, view.task.id


def _depth(task_views: Sequence[TaskView]) -> int:
    """The number of tasks on the longest chain."""
    depths = {view.task.id: 1 for view in task_views}
    edges = list(_edges(task_views))
    # The graph has no cycle, so each pass settles one more task of every chain.
    for _ in task_views:
        for dependency, dependent in edges:
            if dependency in depths:
                depths[dependent] = max(depths[dependent], depths[dependency] + 1)
    return max(depths.values(), default=0)


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
