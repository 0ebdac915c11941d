"""A plan and the state of its tasks as JSON, for `fanin check`, `graph` and `status`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.core.errors import Problem
from runner.core.task import Plan
from runner.plan.view import TaskView, batches, counts

if TYPE_CHECKING:  # a matrix leg tells of its task without networkx being installed
    from runner.plan.graph import TaskGraph


def check_report(
    plan: Plan,
    found: Sequence[TaskView],
    graph: TaskGraph,
    notes: Sequence[str],
    problems: Sequence[Problem],
) -> str:
    """What `fanin check --json` prints: the graph, the batches it would still allow,
    notes and problems.
    """
    left = batches(found, graph)
    said = {
        "plan": {"path": plan.path, "source": plan.source, "options": plan.options},
        "edges": graph.edges,
        "batches": left,
        "width": max(map(len, left), default=0),
        "counts": counts(found),
        "notes": list(notes),
        "problems": problem_rows(problems),
    }
    return json.dumps(
        json.loads(graph_report(found, graph)) | said, indent=1, ensure_ascii=False
    )


def problem_rows(problems: Sequence[Problem]) -> list[dict[str, str | int | None]]:
    return [
        {"path": p.path, "line": p.line, "what": p.what, "remedy": p.remedy}
        for p in problems
    ]


def graph_report(found: Sequence[TaskView], graph: TaskGraph) -> str:
    """The graph for tools: tasks with state, attempts and dependencies; waves; the
    critical path.
    """
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
        {
            "version": 1,
            "tasks": tasks,
            "waves": graph.waves(),
            "critical_path": graph.critical_path(),
        },
        indent=1,
        ensure_ascii=False,
    )
