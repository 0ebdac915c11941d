"""The progress of a plan: the records of its tasks, their legal changes, and the file.

The file has one record per line in plan order, with a blank line between records and
the comma in front. So a change of one record changes one line, and git merges branches
that changed different tasks. The last line has the run on GitHub Actions that landed
last, if there was one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from runner.core import plan_paths
from runner.core.documents import Document, clean
from runner.core.errors import InvalidInput, Problem
from runner.core.plurals import pluralize
from runner.core.result import (
    MAX_QUESTIONS,
    Failure,
    FailureKind,
    JobIds,
    KeptWork,
    PersonsMessage,
    Question,
    RecordedLimit,
    Result,
    Usage,
)
from runner.core.task import Owner, Plan, Standing, Status, Task

# Characters of a failed attempt's log that are stored for the prompt of the retry.
KEPT_TAIL = 2_000
_DEFAULT_SECONDS = 60.0
_MAX_CONFLICT_PATHS = 50
# The changed paths of a task go into the progress file and from there into prompts.
_MAX_CHANGED_PATHS = 20
_MAX_PATH_LENGTH = 200
_OFTEN = 2  # conflicts
# Attempts from earlier work that may fail in the same way, before one starts anew: the
# work may be what makes them fail.
_MAX_REPEATS = 2


# No task ever has as many; a longer number could not be added to and written again.
_MAX_ATTEMPTS = 10**9


class Record(Document):
    """The record of one task. Times are ISO 8601 UTC, `seconds` is a duration.

    - `allowed`: the number of attempts, if it differs from the settings (after `retry`);
      one more for each of the `conflicts` and `questions`;
    - `conflicts`: how many attempts ended in a conflict that was not the task's fault;
    - `conflict_paths`: where its work has conflicted, so that no task that touches these
      paths runs beside it again;
    - `final`: another attempt makes no sense;
    - `skipped`: None if no command has skipped the task or taken that back; then the
      plan's mark decides, even if it changes later;
    - `held`: the branch where finished work waits for a person;
    - `gate`: whether the task waits for a person's approval before it starts; None if no
      command has said so, then the plan's `gate` decides;
    - `seconds`: how long the successful attempt took, for the critical path;
    - `job`, `artifact`: where the latest attempt ran and what has its log, as in
      `Result`;
    - `changed`: the paths that the task changed, for the prompts of its dependents;
    - `accepted`: whether verify was green with the work, where a person has let it land;
    - `request`: `Task.request_digest` of what the successful attempt was asked to do;
    - `plan`, `own_id`: if the file has the records of several plans, which one the task
      is of, and its id there if it differs;
    - `kept`: the work that the next attempt may start from;
    - `message`: what a person says to the task's next attempts;
    - `questions`: what its agents have asked, until it lands; while the last one has no
      answer, the task is pending and nothing of it starts;
    - `repeats`: how many attempts from earlier work have failed in the same way, the
      last ones in a row.
    """

    status: Status = Status.PENDING
    attempts: Annotated[int, Field(ge=0, le=_MAX_ATTEMPTS)] = 0
    allowed: Annotated[int, Field(le=_MAX_ATTEMPTS)] | None = None
    conflicts: Annotated[int, Field(ge=0, le=_MAX_ATTEMPTS)] = 0
    conflict_paths: tuple[str, ...] = ()
    final: bool = False
    skipped: bool | None = None
    held: str | None = None
    gate: bool | None = None
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    error: Failure | None = None
    agent: str | None = None
    summary: str | None = None
    changed: tuple[str, ...] = ()
    accepted: Literal["verified", "unverified"] | None = None
    request: str | None = None
    cost_usd: float | None = None
    tokens: int | None = None
    job: JobIds | None = None
    artifact: str | None = None
    plan: str | None = None
    own_id: str | None = None
    kept: KeptWork | None = None
    repeats: Annotated[int, Field(ge=0)] = 0
    message: PersonsMessage = ""
    questions: tuple[Question, ...] = ()

    @property
    def open_question(self) -> Question | None:
        """The question that waits for an answer, if one does."""
        if self.questions and self.questions[-1].answer is None:
            return self.questions[-1]
        return None

    @property
    def duration(self) -> float | None:
        """How many seconds the last attempt took that left its times."""
        if self.started is None or self.finished is None:
            return self.seconds
        return seconds_between(self.started, self.finished)


class RunRecord(Document):
    """A run on GitHub Actions as it was when it last landed a commit.

    A run of the workflow that was handed no state goes on with it and its limits.

    - `round`: the round that landed;
    - `inputs`: those of its first round, by setting name;
    - `merged`: the rounds whose results are in `spent_usd`, the latest last: ids of
      GitHub's run and the round, `RUN.ROUND` → the run attempt that merged them;
    - `slots`, `limited`: how it backs off after a rate limit;
    - `limits`: the usage limits that it has met, by agent;
    - `waits_until`: no agent starts before this time, because of a rate limit or of usage
      limits;
    - `ended`: why no round follows; None while one is to follow.
    """

    id: str
    round: Annotated[int, Field(ge=1)]
    spent_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    dearest_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    inputs: dict[str, str] = Field(default_factory=dict)
    merged: dict[str, int] = Field(default_factory=dict)
    slots: Annotated[int, Field(ge=1)] | None = None
    limited: Annotated[int, Field(ge=0)] = 0
    limits: dict[str, RecordedLimit] = Field(default_factory=dict)
    waits_until: str | None = None
    ended: str | None = None


class ProgressFile(Document):
    """The file. `others`: records of plans that are not the plan now."""

    version: Literal[1]
    plan: str
    tasks: dict[str, Record]
    others: dict[str, Record] = Field(default_factory=dict)
    run: RunRecord | None = None


@dataclass(frozen=True)
class PastConflicts:
    """Where a task's work has conflicted; no paths if it has not.

    `alone`: so often that nothing whose paths are unknown may run beside it.
    """

    paths: tuple[str, ...] = ()
    alone: bool = False


_NO_CONFLICTS = PastConflicts()


@dataclass(frozen=True)
class Progress:
    """The records of the plan at path `plan`, by task id. Every change is a new object.

    `run` is the run on GitHub Actions that landed last. `extra` holds fields of the
    file that a newer version has written. `reopened` are ids of tasks whose completed
    mark in the plan counts no more; the commit that records this clears the mark.
    `owners`: which of several plans each id is of, {} if the plan is one. `others`:
    the records of other plans, which were part of it once or come before it.
    """

    plan: str
    records: Mapping[str, Record] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    run: RunRecord | None = None
    reopened: frozenset[str] = frozenset()
    owners: Mapping[str, Owner] = field(default_factory=dict)
    others: Mapping[str, Record] = field(default_factory=dict)

    # -- questions --

    def record(self, task: Task) -> Record:
        """The task's record, combined with its marks in the plan.

        A completed mark counts even if an older record says pending: a person set it.
        """
        record = self.records.get(task.id)
        marked = task.source_status is Status.COMPLETED
        if marked and task.id not in self.reopened:
            if record is None:
                record = Record()
            if record.status is Status.COMPLETED:
                return _with_skip_mark(record, task)
            return record.model_copy(update={"status": Status.COMPLETED, "error": None})
        if record is None:
            failed = task.source_status is Status.FAILED
            status = Status.FAILED if failed else Status.PENDING
            return _unrecorded(status, task.skipped)
        return _with_skip_mark(record, task)

    def attempt_limit(self, task: Task, max_attempts: int) -> int:
        """The number of attempts that the task has in all."""
        record = self.record(task)
        allowed = record.allowed or task.max_attempts or max_attempts
        return allowed + record.conflicts + len(record.questions)

    def excuses_conflict(self, task: Task, max_attempts: int) -> bool:
        """Whether one more conflict may cost the task no attempt."""
        return self.record(task).conflicts < (task.max_attempts or max_attempts)

    def past_conflicts(self, task: Task, max_attempts: int) -> PastConflicts:
        """Where the task's work has conflicted."""
        record = self.records.get(task.id)
        if record is None or not record.conflict_paths:
            return _NO_CONFLICTS
        often = min(_OFTEN, task.max_attempts or max_attempts)
        return PastConflicts(record.conflict_paths, record.conflicts >= often)

    def work_to_start_from(self, task: Task) -> KeptWork | None:
        """The work that the task's next attempt starts from; None: from the base.

        Not if the task asks for something else now, nor after too many attempts from
        such work that failed in the same way.
        """
        record = self.record(task)
        if record.kept is None or record.repeats >= _MAX_REPEATS:
            return None
        return record.kept if record.kept.request == task.request_digest else None

    def expected_seconds(self, task: Task) -> float:
        """The task's estimate, or else the duration of its last success, or a minute."""
        return task.estimate or self.record(task).seconds or _DEFAULT_SECONDS

    def standing(self, task: Task, max_attempts: int) -> Standing:
        """Whether the task is completed, open (may run now or later) or stuck."""
        record = self.record(task)
        if record.status is Status.COMPLETED:
            return Standing.COMPLETED
        if task.blocker or record.skipped or record.held or record.final:
            return Standing.STUCK
        used_up = record.attempts >= self.attempt_limit(task, max_attempts)
        if record.status is Status.FAILED and used_up:
            return Standing.STUCK
        if record.open_question is not None:
            return Standing.ASKING
        return Standing.GATED if self.is_gated(task) else Standing.OPEN

    def may_ask(self, task: Task) -> bool:
        """Whether one more question of the task's agent may wait for an answer."""
        return len(self.record(task).questions) < MAX_QUESTIONS

    def question_to_answer(self, task: Task) -> Question | None:
        """The question of the task's last attempt, also if it has been answered."""
        record = self.record(task)
        waits = record.status is Status.PENDING and not record.skipped
        if not waits or not record.questions:
            return None
        last = record.questions[-1]
        return last if last.attempt == record.attempts else None

    def is_gated(self, task: Task) -> bool:
        """Whether no attempt of the task may start before a person approves it."""
        recorded = self.records.get(task.id)
        if recorded is None or recorded.gate is None:
            return task.gate
        return recorded.gate

    def standings(self, plan: Plan, max_attempts: int) -> dict[str, Standing]:
        """Task id → standing, in plan order."""
        standings = {}
        for task in plan.tasks:
            # Most tasks of a large plan have neither a record nor a mark.
            unmarked = task.source_status is Status.PENDING and not (
                task.skipped or task.blocker or task.gate
            )
            if unmarked and task.id not in self.records:
                standings[task.id] = Standing.OPEN
            else:
                standings[task.id] = self.standing(task, max_attempts)
        return standings

    def has_recorded(self, task: Task, result: Result) -> bool:
        """Whether this very result is recorded, as when a batch is merged twice."""
        record = self.record(task)
        return record.attempts == result.attempt and record.finished == result.finished

    def has_landed(self, task: Task) -> bool:
        """Whether the task's work is in the repository: completed, and not by a skip."""
        record = self.record(task)
        if record.status is not Status.COMPLETED:
            return False
        # `skip --satisfied` completes a task that never ran, or that failed.
        return not record.skipped or (record.attempts > 0 and record.error is None)

    def has_changed_since(self, task: Task) -> bool:
        """Whether the task was completed and has since been changed in the plan.

        False if the record does not say what its agent was asked to do.
        """
        record = self.record(task)
        if record.status is not Status.COMPLETED or record.request is None:
            return False
        return record.request != task.request_digest

    def is_ahead_of(self, other: Progress) -> bool:
        """Whether it records an attempt or a completion that the other does not."""
        for task_id, record in self.records.items():
            other_record = other.records.get(task_id, Record())
            completed = record.status is Status.COMPLETED
            other_completed = other_record.status is Status.COMPLETED
            if completed and not other_completed:
                return True
            if record.attempts > other_record.attempts:
                return True
        return False

    # -- changes --

    def with_records(self, changed: Mapping[str, Record]) -> Progress:
        return replace(self, records={**self.records, **changed})

    def with_run(self, run: RunRecord) -> Progress:
        return replace(self, run=run)

    def with_every_task(self, tasks: Iterable[Task]) -> Progress:
        """Add a record for each task, so that a later change touches one line only.

        If the plan itself marks a task as skipped, that is not recorded: the task must
        run again once somebody removes the mark from the plan.
        """
        return self.with_records({task.id: self._own_record(task) for task in tasks})

    def with_held(self, task: Task, branch: str) -> Progress:
        """The task's finished work waits on `branch` for a person."""
        return self._updated(task, self._own_record(task), {"held": branch})

    def with_retry(self, task: Task, max_attempts: int) -> Progress:
        """Grant the task one more attempt; a task that has landed stays completed."""
        if self.has_landed(task):
            return self
        record = self.record(task)
        limit = max(self.attempt_limit(task, max_attempts), record.attempts + 1)
        questions = record.questions
        if record.open_question is not None:
            questions = _answered(questions, "")
        # A task that was undone, or that asks, has attempts and has not failed.
        has_failed = record.status is Status.FAILED or record.error is not None
        changes = {
            "status": Status.FAILED if has_failed else Status.PENDING,
            "questions": questions,
            "allowed": limit - record.conflicts - len(record.questions),
            "final": False,
            "skipped": False if task.skipped else None,
            "held": None,
        }
        return self._updated(task, record, changes)

    def with_redo(self, task: Task, max_attempts: int) -> Progress:
        """Open a task that has landed; grant any other task one more attempt."""
        if not self.has_landed(task):
            return self.with_retry(task, max_attempts)
        record = self.record(task)
        limit = max(self.attempt_limit(task, max_attempts), record.attempts + 1)
        changes = {
            "status": Status.PENDING,
            "allowed": limit - record.conflicts - len(record.questions),
            "skipped": False if task.skipped else None,
        }
        reopened = replace(self, reopened=self.reopened | {task.id})
        return reopened._updated(task, record, changes)

    def with_message(self, task: Task, message: str) -> Progress:
        """The person's message for the task's next attempts, until one of them lands; ""
        leaves an earlier one.
        """
        if not message or self.has_landed(task):
            return self
        return self._updated(task, self._own_record(task), {"message": message})

    def with_answer(self, task: Task, answer: str) -> Progress:
        """The person's answer to the question of the task's last attempt, if it asked."""
        if self.question_to_answer(task) is None:
            return self
        record = self._own_record(task)
        changes = {"questions": _answered(record.questions, answer)}
        return self._updated(task, record, changes)

    def with_gate(self, task: Task, *, closed: bool) -> Progress:
        """Let the task wait for a person's approval, or approve it."""
        if self.is_gated(task) is closed:
            return self
        # What the plan says is not recorded: a gate that is added later counts.
        gate = None if task.gate is closed else closed
        return self._updated(task, self._own_record(task), {"gate": gate})

    def with_undo(self, task: Task, max_attempts: int) -> Progress:
        """Open a task whose change has been taken out of the branch; attempts stay, and a
        gate of the plan asks again.
        """
        reopened = self.with_redo(task, max_attempts)
        changes = {
            "summary": None,
            "changed": (),
            "accepted": None,
            "request": None,
            "error": None,
            "gate": None,
            "kept": None,
            "repeats": 0,
        }
        return reopened._updated(task, reopened.record(task), changes)

    def with_accepted(
        self,
        task: Task,
        attempt: int,
        changed: Sequence[str],
        finished: str,
        *,
        verified: bool,
    ) -> Progress:
        """Complete the task by work of an attempt that a person has let land; `verified`:
        whether verify was green with it.
        """
        record = self._own_record(task)
        changes = {
            "status": Status.COMPLETED,
            # the work of an attempt that did not count is one all the same
            "attempts": max(record.attempts, attempt),
            "final": False,
            "skipped": False if record.skipped else None,
            "held": None,
            "error": None,
            "finished": finished,
            "changed": shortened(changed),
            "accepted": "verified" if verified else "unverified",
            "request": task.request_digest,
            "kept": None,
            "repeats": 0,
            "message": "",
            "questions": (),
        }
        return self._updated(task, record, changes)

    def with_skip(self, task: Task, *, satisfied: bool) -> Progress:
        """Never run the task; `satisfied`: its dependents run all the same.

        A task that has landed is left as it is.
        """
        if self.has_landed(task):
            return self
        record = self.record(task)
        status = Status.COMPLETED if satisfied else Status.PENDING
        return self._updated(task, record, {"skipped": True, "status": status})

    def after_success(
        self, task: Task, result: Result, changed: Sequence[str] = ()
    ) -> Progress:
        """The progress once `result`, which changed these paths, has landed.

        Raises ValueError if the attempt does not follow the recorded ones.
        """
        record = self._after_attempt(task, result.attempt)
        changes = {
            "status": Status.COMPLETED,
            "held": None,
            "error": None,
            "started": result.started,
            "finished": result.finished,
            "seconds": seconds_between(result.started, result.finished),
            "agent": result.agent,
            "job": result.job,
            "artifact": result.artifact,
            "summary": result.usage.summary,
            "changed": tuple(changed),
            "accepted": None,
            "request": task.request_digest,
            "kept": None,
            "repeats": 0,
            "message": "",
            "questions": (),
            **_total_usage(record, result.usage),
        }
        return self._updated(task, record, changes)

    def after_failure(
        self,
        task: Task,
        attempt: int,
        failure: Failure,
        result: Result | None,
        *,
        kept: KeptWork | None = None,
        from_work: bool = False,
    ) -> Progress:
        """The progress after a failed attempt; unchanged if the failure does not count.
        After one that asked, the task waits for the answer.

        `result` is None if the attempt left none. `kept` is the work that the next
        attempt may start from, `from_work` whether this one started from earlier work.
        Raises ValueError if the attempt does not follow the recorded ones.
        """
        if not failure.counted:
            return self
        record = self._after_attempt(task, attempt)
        usage = result.usage if result is not None else Usage()
        if failure.kind is FailureKind.QUESTION:
            asked = Question(attempt=attempt, text=failure.message)
            changes = {
                "status": Status.PENDING,
                "error": None,
                "questions": (*record.questions, asked),
                "kept": kept,
                "repeats": 0,
                **_of_attempt(result),
                **_total_usage(record, usage),
            }
            return self._updated(task, record, changes)
        log_tail = failure.log_tail[-KEPT_TAIL:]
        paths = dict.fromkeys([*record.conflict_paths, *failure.paths])
        error = failure.model_copy(update={"log_tail": log_tail, "paths": ()})
        changes = {
            "status": Status.FAILED,
            "error": error,
            "conflicts": record.conflicts + failure.excused,
            "conflict_paths": tuple(paths)[:_MAX_CONFLICT_PATHS],
            "final": not failure.retryable,
            "kept": kept,
            "repeats": _repeats(record, failure) if from_work else 0,
            **_of_attempt(result),
            **_total_usage(record, usage),
        }
        return self._updated(task, record, changes)

    def _own_record(self, task: Task) -> Record:
        """The task's record, without the plan's mark that skips it."""
        record = self.record(task)
        recorded = self.records.get(task.id)
        skipped = recorded.skipped if recorded is not None else None
        if record.skipped == skipped:
            return record
        return record.model_copy(update={"skipped": skipped})

    def _after_attempt(self, task: Task, attempt: int) -> Record:
        record = self._own_record(task)
        if attempt != record.attempts + 1 or record.status is Status.COMPLETED:
            raise ValueError(
                f"{task.id}: attempt {attempt} does not follow "
                f"{record.attempts} ({record.status})"
            )
        return record.model_copy(update={"attempts": attempt})

    def _updated(
        self, task: Task, record: Record, changes: Mapping[str, object]
    ) -> Progress:
        return self.with_records({task.id: record.model_copy(update=changes)})


def _with_skip_mark(record: Record, task: Task) -> Record:
    # A plan that marks a task as in progress skips it, because somebody works on it.
    # If fanin has started the task, that mark is fanin's own.
    if task.source_status is Status.IN_PROGRESS and _has_begun(record):
        return record
    if record.skipped is None and task.skipped:
        return record.model_copy(update={"skipped": True})
    return record


def _answered(questions: Sequence[Question], answer: str) -> tuple[Question, ...]:
    """The questions with this answer to the last one."""
    *earlier, last = questions
    # validated, as an answer may come from anywhere
    answered = Question(attempt=last.attempt, text=last.text, answer=answer)
    return (*earlier, answered)


def _of_attempt(result: Result | None) -> dict[str, Any]:
    """Where and when an attempt that has not succeeded ran, as far as that is known."""
    if result is None:
        return {"job": None, "artifact": None}
    return {
        "job": result.job,
        "artifact": result.artifact,
        "started": result.started,
        "finished": result.finished,
        "agent": result.agent,
    }


def _repeats(record: Record, failure: Failure) -> int:
    """How many attempts from earlier work have failed in the same way, with this one."""
    is_same = record.error is not None and _is_same(record.error, failure)
    return record.repeats + 1 if record.repeats and is_same else 1


def _is_same(one: Failure, other: Failure) -> bool:
    # Only the sentences about conflicts are fanin's own: an agent's differ each time.
    # A conflict with other tasks or elsewhere is another one.
    is_conflict = one.kind is FailureKind.CONFLICT
    return one.kind is other.kind and (not is_conflict or one.message == other.message)


def _has_begun(record: Record) -> bool:
    return record.attempts > 0 or record.status is Status.IN_PROGRESS


@lru_cache
def _unrecorded(status: Status, skipped: bool) -> Record:
    """The record of a task that has none: one object for all, as records are frozen."""
    return Record(status=status, skipped=skipped or None)


def stale_reason(
    progress: Progress, task: Task | None, digest: str, attempt: int
) -> str | None:
    """Return why a result no longer counts at this head; None if it counts.

    `task` is the head's, None if it was removed there; `digest` and `attempt` are the
    result's. This one rule covers batches that are merged twice, jobs that are run
    again, and rival runs.
    """
    if task is None:
        return "the task is no longer in the plan"
    record = progress.record(task)
    if record.status is Status.COMPLETED:
        return "the task is already completed"
    if record.attempts != attempt - 1:
        recorded = pluralize(record.attempts, "attempt")
        return f"this is attempt {attempt}, but {recorded} already recorded"
    if task.digest != digest:
        return "the task's text has changed since"
    return None


def shortened(lines: Sequence[str]) -> tuple[str, ...]:
    """The first lines about changed paths, one line of text each, and how many more there
    are.
    """
    shown = []
    for line in lines[:_MAX_CHANGED_PATHS]:
        text = clean(line).replace("\n", " ")
        shown.append(text[:_MAX_PATH_LENGTH])
    if len(lines) > len(shown):
        shown.append(f"… and {len(lines) - len(shown)} more")
    return tuple(shown)


def from_source(plan: Plan, path: str) -> Progress:
    """The plan's own marks as the progress of a plan at `path`.

    For converting a plan to a format that cannot mark tasks.
    """
    records = {}
    for task in plan.tasks:
        # The line that blocks a task is lost, so the task itself must not start.
        skipped = task.skipped or bool(task.blocker)
        if skipped or task.source_status in {Status.COMPLETED, Status.FAILED}:
            records[task.id] = Record(
                status=task.source_status, skipped=skipped or None
            )
    return Progress(path, records)


def parse(
    path: str,
    text: str | None,
    plan: str,
    *,
    any_section: bool = False,
    folder: str = "",
) -> Progress:
    """The progress in `text`, the content of the file at `path`; None: no file yet.

    `any_section`: that of any plan in the file or folder `plan` will do. `folder`: a
    plan in it may come after another one there, such as the next change of OpenSpec.

    What was recorded for a plan alone counts when it is one of several, and back.

    Raises InvalidInput if it is unreadable or belongs to a plan other than `plan`.
    """
    if text is None:
        return Progress(plan)
    try:
        document = ProgressFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        what = f"unreadable progress: {key} {first['msg']}"
        remedy = (
            "restore the last good version from git, or delete the file to start over"
        )
        line = _line_of(text, first["loc"])
        raise InvalidInput([Problem(path, line, what, remedy)]) from None
    _refuse_second_records(path, text, len(document.tasks) + len(document.others))
    is_part = any_section and document.plan.startswith((f"{plan}#", f"{plan}/"))
    if is_part:
        plan = document.plan
    if document.plan != plan and not _may_follow(document, plan, folder):
        what = f"this is the progress of {document.plan}, not of {plan}"
        remedy = "give this plan its own file with the setting progress:"
        raise InvalidInput([Problem(path, 1, what, remedy)])
    progress = Progress(plan, document.tasks, document.model_extra or {}, document.run)
    if plan_paths.is_several(plan):
        return _of_several(progress, document)
    if document.plan == plan and not document.others:
        return progress
    return _of_one(progress, document)


def _may_follow(document: ProgressFile, plan: str, folder: str) -> bool:
    """Whether the plan takes over the progress of another one."""
    was = document.plan
    recorded = {record.plan for record in document.tasks.values() if record.plan}
    if plan_paths.is_several(plan):
        if not plan_paths.is_several(was):
            return plan_paths.covers(plan, was.partition("#")[0])
        shared = set(plan_paths.parts(plan)) & set(plan_paths.parts(was))
        return bool(shared) or any(plan_paths.covers(plan, name) for name in recorded)
    if plan_paths.is_several(was):
        own_path = plan.partition("#")[0]
        return plan in recorded or plan_paths.covers(was, own_path)
    inside = f"{folder}/"
    return bool(folder) and was.startswith(inside) and plan.startswith(inside)


def _entries(document: ProgressFile) -> Iterator[tuple[str, Owner | None, Record]]:
    """Each record with its id in the file and its owner; None if the file has none."""
    default = None if plan_paths.is_several(document.plan) else document.plan
    for task_id, record in [*document.tasks.items(), *document.others.items()]:
        plan = record.plan or default
        owner = Owner(plan, record.own_id or task_id) if plan else None
        plain = record.model_copy(update={"plan": None, "own_id": None})
        yield task_id, owner, plain


def _of_several(progress: Progress, document: ProgressFile) -> Progress:
    """Every record under an id of its own, which is the one of the file if it is free."""
    records: dict[str, Record] = {}
    owners: dict[str, Owner] = {}
    for task_id, owner, record in _entries(document):
        key = task_id
        if key in records and owner is not None:
            key = _full_id(owner)
        records[key] = record
        if owner is not None:
            owners[key] = owner
    return replace(progress, records=records, owners=owners)


def _of_one(progress: Progress, document: ProgressFile) -> Progress:
    """The records of this plan under its own ids; those of the others are kept."""
    records: dict[str, Record] = {}
    others: dict[str, Record] = {}
    for task_id, owner, record in _entries(document):
        if owner is None or owner.plan == progress.plan:
            records[owner.own_id if owner else task_id] = record
            continue
        key = task_id
        if key in others:
            key = _full_id(owner)
        others[key] = _owned(record, key, owner)
    return replace(progress, records=records, others=others)


def _full_id(owner: Owner) -> str:
    name = plan_paths.names([owner.plan])[owner.plan]
    return f"{name}/{owner.own_id}"


def _owned(record: Record, task_id: str, owner: Owner) -> Record:
    own_id = owner.own_id if owner.own_id != task_id else None
    return record.model_copy(update={"plan": owner.plan, "own_id": own_id})


def render(progress: Progress, order: Iterable[str]) -> str:
    """The file's text: the records of `order`, then those of tasks no longer in the plan."""
    head = {"version": 1, "plan": progress.plan, **progress.extra}
    opening = json.dumps(head, ensure_ascii=False).removesuffix("}") + ', "tasks": {'
    lines: list[str] = []
    for task_id in dict.fromkeys([*order, *progress.records]):
        if task_id not in progress.records:
            continue
        record = progress.records[task_id]
        owner = progress.owners.get(task_id)
        if owner is not None:
            record = _owned(record, task_id, owner)
        lines.append(_record_line(task_id, record, is_first=not lines))
    if progress.others:
        lines.append('}, "others": {')
        first = len(lines)
        for task_id, record in progress.others.items():
            lines.append(_record_line(task_id, record, is_first=len(lines) == first))
    closing = "}}"
    if progress.run is not None:
        closing = f'}}, "run": {_run_json(progress.run)}}}'
    return "\n\n".join([opening, *lines, closing]) + "\n"


def _record_line(task_id: str, record: Record, *, is_first: bool) -> str:
    comma = "" if is_first else ","
    key = json.dumps(task_id, ensure_ascii=False)
    return f"{comma}{key}: {_record_json(record)}"


def seconds_between(started: str, finished: str) -> float:
    """Seconds between two ISO 8601 times; 0 if the clock was set back in between."""
    duration = datetime.fromisoformat(finished) - datetime.fromisoformat(started)
    return max(0.0, duration.total_seconds())


# Every commit writes the whole file, and differs from the last one in a line or two.
@lru_cache(maxsize=2**14)
def _record_json(record: Record) -> str:
    # Readers may rely on these two, so they are written even if they are the defaults.
    always = {"status": record.status.value, "attempts": record.attempts}
    changed = record.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(always | changed, ensure_ascii=False)


def _run_json(run: RunRecord) -> str:
    document = {"id": run.id, "round": run.round}
    document |= run.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(document, ensure_ascii=False)


def _total_usage(record: Record, usage: Usage) -> dict[str, Any]:
    """Cost and tokens of all attempts, `record` counting this one already.

    Once one attempt's is unknown, the total is unknown (None), never too low.
    """
    if record.attempts == 1:
        return {"cost_usd": usage.cost_usd, "tokens": usage.tokens}
    cost_usd = tokens = None
    if record.cost_usd is not None and usage.cost_usd is not None:
        cost_usd = record.cost_usd + usage.cost_usd
    if record.tokens is not None and usage.tokens is not None:
        tokens = record.tokens + usage.tokens
    return {"cost_usd": cost_usd, "tokens": tokens}


def _refuse_second_records(path: str, text: str, count: int) -> None:
    """Raise InvalidInput if a task has two records, as after a merge that kept both.

    JSON itself takes the last of them. `count`: how many tasks have one.
    """
    # Each record has the key once, so that most files need not be read again.
    if text.count('"status":') == count:
        return
    repeated: list[str] = []

    def note_repeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
        seen = dict(pairs)
        if len(seen) != len(pairs):
            keys = [key for key, _ in pairs]
            repeated.extend(key for key in seen if keys.count(key) > 1)
        return seen

    json.loads(text, object_pairs_hook=note_repeated)
    if not repeated:
        return
    key = json.dumps(repeated[0], ensure_ascii=False)
    lines = [number for number, line in enumerate(text.split("\n"), 1) if key in line]
    line = lines[1] if len(lines) > 1 else 1
    what = f"two records of {repeated[0]}; the other one is on line {lines[0]}"
    raise InvalidInput([Problem(path, line, what, "keep one of them")])


def _line_of(text: str, location: tuple[int | str, ...]) -> int:
    """The line, from 1, of pydantic's error location; 1 if it cannot be found."""
    if not location:
        return _syntax_error_line(text)
    if len(location) < 2:
        return 1
    # A record has its own line, which starts with its task id.
    key = json.dumps(str(location[1]), ensure_ascii=False)
    for number, line in enumerate(text.split("\n"), 1):
        if key in line:
            return number
    return 1


def _syntax_error_line(text: str) -> int:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.lineno
    except RecursionError:
        pass
    return 1
