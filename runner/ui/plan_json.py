"""The plan and the state of its tasks as JSON, for `check`, `graph` and `status`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runner.core.errors import Problem
from runner.core.task import Plan
from runner.plan.view import TaskView, batches, counts

if TYPE_CHECKING:  # a leg of the matrix uses this package without networkx
    from runner.plan.graph import TaskGraph


def check_report(
    plan: Plan,
    task_views: Sequence[TaskView],
    graph: TaskGraph,
    notes: Sequence[str],
    problems: Sequence[Problem],
    scheduled: Sequence[Sequence[str]],
) -> str:
    """The output of `fanin check --json`: the graph, batches, notes and problems.

    `scheduled` are the batches of a run by `schedule: batch` with its number of agents.
    """
    remaining = batches(task_views, graph)
    report = {
        **_graph_fields(task_views, graph),
        "plan": {"path": plan.path, "source": plan.source, "options": plan.options},
        "plans": _part_rows(plan),
        "edges": graph.edges,
        "batches": remaining,
        "width": max(map(len, remaining), default=0),
        "scheduled_batches": scheduled,
        "counts": counts(task_views),
        "left_out": problem_rows([record.problem for record in plan.left_out]),
        "notes": list(notes),
        "problems": problem_rows(problems),
    }
    return _as_json(report)


def _part_rows(plan: Plan) -> list[dict[str, object]]:
    """The plans that it is made of; itself if it is one."""
    if not plan.parts:
        ids = [task.id for task in plan.tasks]
        return [{"path": plan.path, "source": plan.source, "tasks": ids}]
    rows: list[dict[str, object]] = []
    for part in plan.parts:
        tasks = list(part.ids.values())
        row = {"path": part.path, "source": part.source, "tasks": tasks}
        rows.append({"name": part.name, **row})
    return rows


def problem_rows(problems: Sequence[Problem]) -> list[dict[str, str | int | None]]:
    """The problems as objects with path, line, what and remedy."""
    return [problem._asdict() for problem in problems]


def graph_report(
    task_views: Sequence[TaskView],
    graph: TaskGraph,
) -> str:
    """The output of `fanin graph --format json`."""
    return _as_json(_graph_fields(task_views, graph))


def status_report(
    task_views: Sequence[TaskView],
    graph: TaskGraph,
    requests: Sequence[Mapping[str, object]],
) -> str:
    """The output of `fanin status --json`, with the requests that no run has taken."""
    fields = _graph_fields(task_views, graph)
    fields["tasks"] = [
        {**_task_fields(view), **_record_fields(view)} for view in task_views
    ]
    fields["counts"] = counts(task_views)
    fields["requests"] = list(requests)
    return _as_json(fields)


def _record_fields(view: TaskView) -> dict[str, object]:
    """What is known of the last recorded attempt; `branch` has work that is held."""
    record = view.record
    return {
        "agent": record.agent,
        "seconds": record.seconds,
        "cost_usd": record.cost_usd,
        "tokens": record.tokens,
        "failure": record.error.kind if record.error else None,
        "branch": record.held,
    }


def _graph_fields(
    task_views: Sequence[TaskView], graph: TaskGraph
) -> dict[str, object]:
    return {
        "version": 1,
        "tasks": [_task_fields(view) for view in task_views],
        "waves": graph.waves(),
        "critical_path": graph.critical_path(),
    }


def _task_fields(view: TaskView) -> dict[str, object]:
    fields: dict[str, object] = {
        "id": view.task.id,
        "title": view.task.title,
        "line": view.task.line,
    }
    # Only tasks from a folder of files have a path of their own.
    if view.task.path:
        fields["path"] = view.task.path
    fields |= {
        "state": view.state,
        "attempts": view.record.attempts,
        "reason": view.reason,
        "depends_on": list(view.task.waits_for),
        "files": view.task.files,
    }
    return fields


def _as_json(document: dict[str, object]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False)
