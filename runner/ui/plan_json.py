"""The plan and the state of its tasks as JSON, for `check`, `graph` and `status`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.core.documents import Document
from runner.core.errors import Problem
from runner.core.reports import (
    AcceptRow,
    ApproveRow,
    CheckReport,
    DeliveryRow,
    GraphReport,
    HoldRow,
    PartRow,
    PlanRow,
    ProblemRow,
    ReplyRow,
    RequestRow,
    RetryRow,
    RunRow,
    SkipRow,
    StatusReport,
    StatusRow,
    TaskRow,
    UndoRow,
    UnreadablePlan,
)
from runner.core.result import FailureKind
from runner.core.task import Plan
from runner.plan.requests import (
    AcceptRequest,
    ApproveRequest,
    HoldRequest,
    ReplyRequest,
    Request,
    RetryRequest,
    SkipRequest,
    UndoRequest,
)
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
    report = CheckReport(
        **_graph_fields(graph),
        tasks=_task_rows(task_views),
        plan=PlanRow(path=plan.path, source=plan.source, options=plan.options),
        plans=_part_rows(plan),
        edges=graph.edges,
        batches=tuple(remaining),
        width=max(map(len, remaining), default=0),
        scheduled_batches=tuple(map(tuple, scheduled)),
        counts=counts(task_views),
        left_out=_problem_rows([record.problem for record in plan.left_out]),
        notes=tuple(notes),
        problems=_problem_rows(problems),
    )
    return _as_json(report)


def unreadable_plan(problems: Sequence[Problem]) -> str:
    """The output of `fanin check --json` if plan or settings cannot be read."""
    return _as_json(UnreadablePlan(version=1, problems=_problem_rows(problems)))


def _part_rows(plan: Plan) -> tuple[PartRow, ...]:
    """The plans that it is made of; itself if it is one."""
    if not plan.parts:
        ids = tuple(task.id for task in plan.tasks)
        return (PartRow(path=plan.path, source=plan.source, tasks=ids),)
    return tuple(
        PartRow(
            name=part.name,
            path=part.path,
            source=part.source,
            tasks=tuple(part.ids.values()),
        )
        for part in plan.parts
    )


def _problem_rows(problems: Sequence[Problem]) -> tuple[ProblemRow, ...]:
    return tuple(ProblemRow(**problem._asdict()) for problem in problems)


def graph_report(task_views: Sequence[TaskView], graph: TaskGraph) -> str:
    """The output of `fanin graph --format json`."""
    return _as_json(GraphReport(**_graph_fields(graph), tasks=_task_rows(task_views)))


class TaskFacts(NamedTuple):
    """What this machine knows of a task beside the branch; the fields of `StatusRow`.

    `failure` is that of an attempt that the branch has not recorded yet.
    """

    failure: FailureKind | None = None
    elapsed: float | None = None
    log: str | None = None
    kept: str | None = None
    job_url: str | None = None


_NOTHING = TaskFacts()


def status_report(
    task_views: Sequence[TaskView],
    graph: TaskGraph,
    requests: Sequence[Request],
    facts: Mapping[str, TaskFacts],
    run: RunRow | None,
    delivery: DeliveryRow | None = None,
) -> str:
    """The output of `fanin status --json`, with the requests that no run has taken.

    `facts`: task id → what is known of it; `run` is the last one on this machine.
    """
    report = StatusReport(
        **_graph_fields(graph),
        tasks=tuple(
            _status_row(view, facts.get(view.task.id, _NOTHING)) for view in task_views
        ),
        counts=counts(task_views),
        requests=tuple(map(_request_row, requests)),
        run=run,
        delivery=delivery,
    )
    return _as_json(report)


def _status_row(view: TaskView, facts: TaskFacts) -> StatusRow:
    record = view.record
    recorded = record.error.kind if record.error else None
    return StatusRow(
        **_task_fields(view),
        agent=record.agent,
        seconds=record.duration,
        cost_usd=record.cost_usd,
        tokens=record.tokens,
        failure=facts.failure or recorded,
        branch=record.held,
        phase=view.phase,
        elapsed=facts.elapsed,
        log=facts.log,
        kept=facts.kept,
        job=record.job,
        job_url=facts.job_url,
        artifact=record.artifact,
        question=record.open_question.text if record.open_question else None,
    )


def _request_row(request: Request) -> RequestRow:
    fields = request.model_dump(exclude={"version", "plan", "progress"})
    match request:
        case RetryRequest():
            return RetryRow(**fields)
        case SkipRequest():
            return SkipRow(**fields)
        case HoldRequest():
            return HoldRow(**fields)
        case ApproveRequest():
            return ApproveRow(**fields)
        case ReplyRequest():
            return ReplyRow(**fields)
        case UndoRequest():
            return UndoRow(**fields)
        case AcceptRequest():
            # Where it started from is for the run alone.
            for name in ("base", "attempt", "held"):
                del fields[name]
            return AcceptRow(**fields)


def _task_rows(task_views: Sequence[TaskView]) -> tuple[TaskRow, ...]:
    return tuple(TaskRow(**_task_fields(view)) for view in task_views)


def _graph_fields(graph: TaskGraph) -> dict[str, Any]:
    return {
        "version": 1,
        "waves": tuple(map(tuple, graph.waves())),
        "critical_path": tuple(graph.critical_path()),
    }


def _task_fields(view: TaskView) -> dict[str, Any]:
    task = view.task
    # Only tasks from a folder of files have a path of their own.
    own_path = {"path": task.path} if task.path else {}
    return {
        "id": task.id,
        "title": task.title,
        "line": task.line,
        **own_path,
        "state": view.state,
        "attempts": view.record.attempts,
        "reason": view.reason,
        "depends_on": task.waits_for,
        "files": None if task.files is None else tuple(task.files),
    }


def _as_json(report: Document) -> str:
    # What is not set is left out, instead of its default.
    document = report.model_dump(mode="json", exclude_unset=True)
    return json.dumps(document, indent=1, ensure_ascii=False)
