"""Gathers what a report needs of a run on GitHub, from its artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from runner.core.documents import clean
from runner.core.errors import UsageProblem
from runner.core.events import AttemptEvent, AttemptStarted, RunEvent
from runner.core.manifest import Manifest
from runner.core.regular_file import open_regular
from runner.core.result_folder import Attempt
from runner.core.run_view import AttemptState, AttemptView, RunView, instant
from runner.core.task import Task
from runner.local.artifact_history import ArtifactHistory
from runner.local.artifact_results import ArtifactResults, manifests
from runner.local.run_history import run_of
from runner.local.task_change import TaskChanges
from runner.policy.redaction import NONE, Secrets
from runner.report import timeline
from runner.report.data import RunRecord, TaskRecord, state_in_run
from runner.report.local_run import Branch, diff_of, of_branch, secrets_of_branch
from runner.report.texts import NO_TEXT, Excerpt, log_end


def run_record(
    roots: Sequence[Path],
    branch: Branch | None,
    environ: Mapping[str, str],
    now: datetime,
) -> RunRecord:
    """What is known of the run whose artifacts are in these folders.

    With a `branch`, its tasks, their states and what they changed come from there.
    UsageProblem if the folders have no artifact of a run.
    """
    histories = [ArtifactHistory(root) for root in roots]
    records = [record for history in histories for record in history.started]
    batches = [each for root in roots for each in manifests(root)]
    if not records and not batches:
        folders = ", ".join(map(str, roots))
        raise UsageProblem(
            f"{folders} has no artifact of a run",
            "download them:  gh run download RUN_ID --dir DIR",
        )
    changes, secrets = None, NONE
    if branch is not None:
        secrets = secrets_of_branch(branch, environ)
        results = ArtifactResults(roots, batches)
        changes = TaskChanges(branch.repo, results, branch.snapshot)
    tasks_of_batches = {
        entry.task.id: entry.task for each in batches for entry in each.entries
    }
    view, times = timeline.read(_events(histories, records))
    newest = max(batches, key=lambda each: (each.run, each.round), default=None)
    tasks = [
        replace(
            each, attempts=_attempts(view, each), log=_log(view, each.id, histories)
        )
        for each in _outlines(branch, tasks_of_batches, view)
    ]
    if changes is not None:
        tasks = [_with_diff(each, changes, secrets) for each in tasks]
    return RunRecord(
        run=_run_name(newest, view),
        branch=newest.branch if newest else "",
        plan=newest.plan.path if newest else "",
        view=view,
        timeline=times,
        tasks=tasks,
        made=now,
        artifacts=str(roots[0]),
        own_branch=branch is not None and branch.settings.own_branch,
        secrets=secrets,
    )


def _run_name(newest: Manifest | None, view: RunView) -> str:
    if newest is not None:
        return newest.run
    attempts = [each for task in view.tasks.values() for each in task.attempts]
    return run_of(attempts[-1]) if attempts else ""


def _events(
    histories: Sequence[ArtifactHistory], records: Iterable[Attempt]
) -> list[RunEvent]:
    """The events of all artifacts, in order. An attempt without any has begun at least."""
    events = [event for history in histories for event in history.events]
    reported = {
        (event.batch, event.task, event.attempt)
        for event in events
        if isinstance(event, AttemptEvent)
    }
    for record in records:
        if (record.batch, record.task, record.attempt) not in reported:
            events.append(_start_of(record))
    return sorted(events, key=lambda event: instant(event.time))


def _start_of(record: Attempt) -> AttemptStarted:
    return AttemptStarted(
        time=record.started,
        batch=record.batch,
        task=record.task,
        attempt=record.attempt,
        title=record.task,
        agent="",
    )


def _outlines(
    branch: Branch | None, tasks_of_batches: Mapping[str, Task], view: RunView
) -> Iterator[TaskRecord]:
    """The tasks of the branch, or else those that the artifacts name."""
    if branch is not None:
        yield from of_branch(branch)
        return
    for task_id in dict.fromkeys((*tasks_of_batches, *view.tasks)):
        task, run = tasks_of_batches.get(task_id), view.tasks.get(task_id)
        if task is None and not _is_id(task_id):
            continue
        state, reason = state_in_run(view, task_id)
        title = run.title if run is not None else ""
        depends_on: Sequence[str] = ()
        prompt = ""
        if task is not None:
            title, depends_on, prompt = task.title, task.waits_for, task.prompt
        yield TaskRecord(
            id=task_id,
            title=title or task_id,
            depends_on=depends_on,
            state=state,
            reason=reason,
            prompt=prompt,
        )


def _is_id(task_id: str) -> bool:
    try:
        Task(id=task_id, title="any")
    except ValidationError:
        return False
    return True


def _attempts(view: RunView, task: TaskRecord) -> list[AttemptView]:
    """Its attempts. Where no artifact tells what became of their work, the branch does."""
    run = view.tasks.get(task.id)
    attempts = run.attempts if run else []
    last = attempts[-1] if attempts else None
    has_landed = last is not None and last.state is AttemptState.FINISHED
    if last is not None and has_landed and task.state == "completed":
        last.state = AttemptState.LANDED
    return attempts


def _log(view: RunView, task_id: str, histories: Sequence[ArtifactHistory]) -> Excerpt:
    run = view.tasks.get(task_id)
    for attempt in reversed(run.attempts if run else []):
        for history in histories:
            path = history.log(attempt)
            stream = open_regular(path) if path else None
            if stream is not None:
                with stream:
                    return log_end(stream)
    return NO_TEXT


def _with_diff(task: TaskRecord, changes: TaskChanges, secrets: Secrets) -> TaskRecord:
    """The task with what it changed: what has landed, or the work of its last attempt."""
    attempts = () if task.state == "completed" else task.attempts
    diff, origin = diff_of(changes, task.id, attempts, secrets)
    return replace(task, diff=diff, diff_origin=clean(origin))
