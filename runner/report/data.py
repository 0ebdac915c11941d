"""What a run has left becomes the data of a report."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from runner import __version__
from runner.core import kept_commands
from runner.core.fanin_commands import typed
from runner.core.message_text import one_line, visible
from runner.core.result import Failure
from runner.core.run_view import AttemptView, RunView
from runner.core.task import Task
from runner.plan.graph import TaskGraph
from runner.policy.masking import masked_document
from runner.policy.redaction import NONE, Secrets
from runner.report.document import (
    FailureText,
    Report,
    ReportAttempt,
    ReportPhase,
    ReportRun,
    ReportSpan,
    ReportTask,
    ReportVerify,
    TaskText,
)
from runner.report.layout import columns
from runner.report.texts import (
    NO_TEXT,
    Excerpt,
    Share,
    all_packed,
    first_bytes,
    last_lines,
)
from runner.report.timeline import AttemptKey, Timeline, Wait, lanes, waits
from runner.ui.attempt_text import duration, failure_kind

_MAX_LINE = 200  # characters of a reason in the list


@dataclass(frozen=True)
class TaskRecord:
    """What is known of a task. `state` and `reason` are those of `fanin status`.

    `log` is the end of the last attempt's log, `diff` what the task has changed last, and
    `diff_origin` says what that is, or why there is none.
    """

    id: str
    title: str
    depends_on: Sequence[str] = ()
    state: str = "ready"
    reason: str = ""
    prompt: str = ""
    attempts: Sequence[AttemptView] = ()
    log: Excerpt = NO_TEXT
    diff: Excerpt = NO_TEXT
    diff_origin: str = ""


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run at the time `made`.

    `artifacts`: it ran on GitHub, and this is the folder with its artifacts.
    `own_branch`: work lands on a branch of the run's own. `secrets` are the values that
    no text of the report may have.
    """

    run: str
    branch: str
    plan: str
    view: RunView
    timeline: Timeline
    tasks: Sequence[TaskRecord]
    made: datetime
    is_active: bool = False
    artifacts: str | None = None
    own_branch: bool = False
    notes: Sequence[str] = ()
    secrets: Secrets = NONE


def report(record: RunRecord) -> Report:
    """The data of the report."""
    tasks = [
        Task(
            id=each.id, title=visible(each.title) or each.id, depends_on=each.depends_on
        )
        for each in _with_known_needs(record.tasks)
    ]
    graph = TaskGraph(tasks, record.plan)
    places = {task.id: index for index, task in enumerate(tasks)}
    chain = _chain(graph, record.view)
    attempts = _Attempts(record, graph)
    stored = all_packed(partial(_text_of, record), len(tasks))
    rows = []
    for each, task, text in zip(record.tasks, tasks, stored, strict=True):
        rows.append(
            ReportTask(
                id=each.id,
                title=task.title,
                state=each.state,
                reason=_line(each.reason),
                depends_on=tuple(places[need] for need in task.depends_on),
                critical=each.id in chain,
                seconds=_seconds(record.view, each.id),
                attempts=tuple(map(attempts.row, each.attempts)),
                text=text,
            )
        )
    found = Report(
        run=_run(record, chain),
        columns=tuple(tuple(places[each] for each in col) for col in columns(graph)),
        tasks=tuple(rows),
        lanes=attempts.lanes,
        end=attempts.after_start(_now(record)),
        chain=tuple(places[task_id] for task_id in chain),
        verifies=tuple(attempts.verifies()),
        pauses=attempts.spans(record.timeline.pauses),
        notes=tuple(map(visible, (*record.notes, *record.view.notes))),
    )
    return masked_document(found, record.secrets)


def _with_known_needs(tasks: Sequence[TaskRecord]) -> Iterator[TaskRecord]:
    """The tasks without needs that are not there: an artifact may name any."""
    by_id = {task.id for task in tasks}
    for task in tasks:
        needs = dict.fromkeys(each for each in task.depends_on if each in by_id)
        needs.pop(task.id, None)
        yield TaskRecord(task.id, task.title, tuple(needs))


def _now(record: RunRecord) -> float:
    """The end of the timeline: of the run, or now while it goes on."""
    return record.made.timestamp() if record.is_active else record.timeline.end


def _seconds(view: RunView, task_id: str) -> float:
    """How long the attempts of a task took in this run, one after another."""
    task = view.tasks.get(task_id)
    attempts = task.attempts if task else ()
    return round(sum(attempt.seconds or 0.0 for attempt in attempts), 1)


def _chain(graph: TaskGraph, view: RunView) -> list[str]:
    """The tasks on the longest chain of what has run, [] if nothing has."""
    path = graph.critical_path(lambda task: _seconds(view, task.id))
    return [task_id for task_id in path if _seconds(view, task_id)]


def _line(text: str) -> str:
    """The first line of a text, cut if it is long."""
    lines = visible(text).strip().splitlines() or [""]
    return lines[0] if len(lines[0]) <= _MAX_LINE else lines[0][: _MAX_LINE - 1] + "…"


class _Attempts:
    """Makes the rows of attempts; times count from the start of the timeline."""

    def __init__(self, record: RunRecord, graph: TaskGraph) -> None:
        self._record = record
        self._start = record.timeline.start or 0.0
        self._now = _now(record)
        self._waits = waits(
            record.view,
            record.timeline,
            {task_id: graph.dependencies(task_id) for task_id in graph.tasks},
        )
        own = [each for task in record.view.tasks.values() for each in task.attempts]
        self._own = {_key(each): each for each in own}
        self._lanes = lanes(own, self._now)
        self.lanes = max(self._lanes.values(), default=-1) + 1

    def after_start(self, time: float) -> float:
        return round(max(0.0, time - self._start), 1)

    def spans(self, found: Iterable[Wait]) -> tuple[ReportSpan, ...]:
        return tuple(
            ReportSpan(
                start=self.after_start(each.start),
                end=self.after_start(each.end),
                why=_line(each.why),
            )
            for each in found
        )

    def verifies(self) -> Iterator[ReportVerify]:
        for start, event in self._record.timeline.verifies:
            yield ReportVerify(
                start=self.after_start(start),
                seconds=round(event.seconds, 1),
                tasks=event.tasks,
                bisecting=event.bisecting,
                failure=_line(event.failure.message) if event.failure else "",
            )

    def row(self, attempt: AttemptView) -> ReportAttempt:
        key = _key(attempt)
        is_own = key in self._own and attempt.started is not None
        phases = self._record.timeline.phases.get(key, ()) if is_own else ()
        seconds = attempt.seconds
        if seconds is None and is_own:
            seconds = attempt.elapsed(self._now)
        return ReportAttempt(
            attempt=attempt.attempt,
            run=attempt.batch.rpartition(".")[0],
            state=attempt.state,
            agent=visible(attempt.agent),
            lane=self._lanes.get(key) if is_own else None,
            start=self.after_start(attempt.started or 0.0) if is_own else None,
            seconds=None if seconds is None else round(seconds, 1),
            cost_usd=attempt.usage.cost_usd,
            tokens=attempt.usage.tokens,
            failure=_reason(attempt.failure),
            kept=attempt.kept or "",
            commit=attempt.commit or "",
            phases=tuple(
                ReportPhase(phase=phase, start=self.after_start(at))
                for phase, at in phases
            ),
            waits=self.spans(self._waits.get(key, ())) if is_own else (),
        )


def _key(attempt: AttemptView) -> AttemptKey:
    return attempt.batch, attempt.task, attempt.attempt


def _reason(failure: Failure | None) -> str:
    if failure is None:
        return ""
    kind = _kind(failure)
    return _line(f"{kind}: {failure.message}" if kind else failure.message)


def _kind(failure: Failure) -> str:
    """The kind in words; "" if the message begins with them."""
    kind = failure_kind(failure)
    return "" if failure.message.lower().startswith(kind) else kind


def _text_of(record: RunRecord, index: int, share: Share) -> TaskText:
    task = record.tasks[index]
    prompt = first_bytes(Excerpt(visible(task.prompt)), share.prompt)
    log = last_lines(task.log, share.log_lines)
    diff = first_bytes(task.diff, share.diff)
    source = [f"--from {shlex.quote(record.artifacts)}"] if record.artifacts else []
    prompt_note = f"cut; all of it:  {typed('show', [task.id])}"
    log_note = f"only the end; all of it:  {typed('log', [task.id], *source)}"
    diff_note = f"only the beginning; all of it:  {typed('diff', [task.id], *source)}"
    text = TaskText(
        prompt=prompt.text,
        prompt_note="" if prompt.is_whole else prompt_note,
        log=log.text,
        log_note="" if log.is_whole else log_note,
        diff=diff.text,
        diff_note="; ".join(
            filter(None, (task.diff_origin, "" if diff.is_whole else diff_note))
        ),
        failures=tuple(_failures(task.attempts, share, own_branch=record.own_branch)),
    )
    return masked_document(text, record.secrets)


def _failures(
    attempts: Sequence[AttemptView], share: Share, *, own_branch: bool
) -> Iterator[FailureText]:
    for index, attempt in enumerate(attempts):
        failure = attempt.failure
        if failure is None:
            continue
        tail = last_lines(Excerpt(visible(failure.log_tail)), share.log_lines)
        look = take = ""
        if attempt.kept:
            task_id = one_line(attempt.task)
            look = kept_commands.look(attempt.kept)
            take = kept_commands.take(attempt.kept, task_id, own_branch=own_branch)
        yield FailureText(
            place=index,
            kind=_kind(failure),
            message=visible(failure.message),
            log_tail=tail.text,
            look=look,
            take=take,
        )


def _run(record: RunRecord, chain: Sequence[str]) -> ReportRun:
    view = record.view
    facts = [
        ("run", record.run),
        ("branch", record.branch),
        ("plan", record.plan),
        *_setup_facts(view),
        ("time", duration(view.elapsed(_now(record)))),
        ("one task at a time", duration(view.busy_seconds)),
        ("longest chain", duration(sum(_seconds(view, each) for each in chain))),
        ("verify", duration(view.verify_seconds)),
        ("cost", _cost(view)),
        ("tokens", f"{view.usage.tokens:,}" if view.usage.tokens else ""),
        ("made", f"{record.made:%Y-%m-%d %H:%M} UTC by fanin {__version__}"),
    ]
    return ReportRun(
        id=record.run,
        title=f"Run {record.run} on {record.branch}",
        outcome=_outcome(record),
        facts=tuple((name, _line(value)) for name, value in facts if value),
        lane_name="job" if record.artifacts else "slot",
    )


def _setup_facts(view: RunView) -> Iterator[tuple[str, str]]:
    if view.start is not None:
        yield "agent", view.start.agent
        at_once = f"at most {view.start.max_concurrent} at once"
        yield "schedule", f"{view.start.schedule}, {at_once}"


# States of tasks that a run leaves to a person.
_NOT_DONE = ("failed", "held", "asking", "gated", "blocked")


def _outcome(record: RunRecord) -> str:
    if record.is_active:
        return "running"
    end = record.view.end
    if end is None:
        return "" if record.artifacts else "was killed"
    if end.reason:
        return f"{end.outcome}: {_line(end.reason)}"
    # "completed" alone reads as if every task were.
    states = [task.state for task in record.tasks]
    counts = [(states.count(each), each) for each in _NOT_DONE]
    open_tasks = ", ".join(f"{count} {state}" for count, state in counts if count)
    return f"ended: {open_tasks}" if open_tasks else end.outcome


def _cost(view: RunView) -> str:
    usage = view.usage
    if not usage.attempts:
        return ""
    if usage.without_cost == usage.attempts:
        return "unknown: no attempt reports one"
    cost = f"${usage.cost_usd:.{4 if 0 < usage.cost_usd < 0.1 else 2}f}"
    if not usage.without_cost:
        return cost
    return f"at least {cost} ({usage.without_cost} of {usage.attempts} report none)"


def state_in_run(view: RunView, task_id: str) -> tuple[str, str]:
    """The state of a task at the end of a run, and its reason, by its events alone."""
    task, planned = view.tasks.get(task_id), view.planned.get(task_id)
    attempt = task.last if task else None
    if attempt is None:
        state = planned.state if planned else "ready"
        return ("completed" if task and task.landed else state), ""
    reason = _reason(attempt.failure)
    if attempt.state == "failed" and not attempt.final:
        return "ready", reason
    return _STATES.get(attempt.state, "ready"), reason


# Of an attempt → of its task.
_STATES: Mapping[str, str] = {
    "running": "in_progress",
    "finished": "finished",
    "verifying": "finished",
    "merged": "finished",
    "landed": "completed",
    "held": "held",
    "failed": "failed",
    "asked": "asking",
    "interrupted": "interrupted",
}
