"""A plan and its progress as text: rows of a table, Mermaid, DOT and JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.plan.view import TaskView

if TYPE_CHECKING:  # a matrix leg tells of its task without networkx being installed
    pass

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


def mermaid(found: Sequence[TaskView]) -> str:
    """A Mermaid flowchart, one node per task coloured by state. Ids become n0, n1, …
    and texts are escaped.
    """
    node = {view.task.id: f"n{place}" for place, view in enumerate(found)}
    lines = ["flowchart LR"]
    lines += [
        f'  {node[v.task.id]}["{_label(v.task.id, 40)}<br/>{_label(v.task.title, 60)}"]:::{v.state}'
        for v in found
    ]
    lines += [
        f"  {node[dep]} --> {node[v.task.id]}"
        for v in found
        for dep in v.task.depends_on
        if dep in node
    ]
    used = dict.fromkeys(view.state for view in found)
    lines += [
        f"  classDef {state} fill:{_FILL[state]},stroke:#555,color:#111"
        for state in used
    ]
    return "\n".join(lines) + "\n"


def dot(found: Sequence[TaskView]) -> str:
    """A Graphviz digraph, one node per task coloured by state."""
    lines = ["digraph plan {", "  rankdir=LR; node [shape=box, style=filled];"]
    lines += [
        f'  {_quoted(v.task.id)} [label={_quoted(f"{v.task.id}: {v.task.title}")}, fillcolor="{_FILL[v.state]}"];'
        for v in found
    ]
    lines += [
        f"  {_quoted(dep)} -> {_quoted(v.task.id)};"
        for v in found
        for dep in v.task.depends_on
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _label(text: str, length: int) -> str:
    """Text that can end neither Mermaid's quotes nor its line, nor become markup."""
    short = " ".join(text.split())
    short = short if len(short) <= length else short[: length - 1] + "…"
    return "".join(
        c if c.isalnum() or c in " .,:;!?()/_-+=…" else f"#{ord(c)};" for c in short
    )


def _quoted(text: str) -> str:
    return json.dumps(" ".join(text.split()), ensure_ascii=False)
