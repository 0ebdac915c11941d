"""The progress of a plan: what the records of its tasks say, and their legal changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress, filterfalse
from operator import is_not
from types import MappingProxyType
from typing import Any, NamedTuple

from runner.core.documents import clean
from runner.core.plurals import pluralize
from runner.core.result import (
    MAX_QUESTIONS,
    Failure,
    FailureKind,
    KeptWork,
    Question,
    Result,
    Usage,
)
from runner.core.task import Owner, Plan, Standing, Status, Task, index_of
from runner.plan.records import Record, RunRecord, seconds_between

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


class PastConflicts(NamedTuple):
    """Where a task's work has conflicted; no paths if it has not.

    `alone`: so often that nothing whose paths are unknown may run beside it.
    """

    paths: tuple[str, ...] = ()
    alone: bool = False


_NO_CONFLICTS = PastConflicts()


class Progress(NamedTuple):
    """The records of the plan at path `plan`, by task id. Every change is a new object.

    `run` is the run on GitHub Actions that landed last. `extra` holds fields of the
    file that a newer version has written. `reopened` are ids of tasks whose completed
    mark in the plan counts no more; the commit that records this clears the mark.
    `owners`: which of several plans each id is of, {} if the plan is one. `others`:
    the records of other plans, which were part of it once or come before it.
    """

    plan: str
    records: Mapping[str, Record] = MappingProxyType({})
    extra: Mapping[str, Any] = MappingProxyType({})
    run: RunRecord | None = None
    reopened: frozenset[str] = frozenset()
    owners: Mapping[str, Owner] = MappingProxyType({})
    others: Mapping[str, Record] = MappingProxyType({})

    # -- questions --

    def record(self, task: Task) -> Record:
        """The task's record, combined with its marks in the plan.

        A completed mark counts even if an older record says pending: a person set it.
        """
        record = self.records.get(task.id)
        marked = task.source_status is Status.COMPLETED
        if marked and task.id not in self.reopened:
            if record is None:
                record = Record.model_construct()
            if record.status is Status.COMPLETED:
                return _with_skip_mark(record, task)
            return record.model_copy(update={"status": Status.COMPLETED, "error": None})
        if record is None:
            failed = task.source_status is Status.FAILED
            status = Status.FAILED if failed else Status.PENDING
            return _unrecorded(status, skipped=task.skipped)
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
            unmarked = not (task.is_marked or task.blocker or task.gate)
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

    def changed_since(self, other: Progress) -> Iterator[str]:
        """Ids whose record is not the same object as in `other`."""
        # Asked at each landing of all records, and most are the same object.
        records = self.records
        differ = map(is_not, records.values(), map(other.records.get, records))
        return compress(records, differ)

    # -- changes --

    def with_records(self, changed: Mapping[str, Record]) -> Progress:
        return self._replace(records={**self.records, **changed})

    def with_run(self, run: RunRecord) -> Progress:
        return self._replace(run=run)

    def with_every_task(self, tasks: Sequence[Task]) -> Progress:
        """Add a record for each task, so that a later change touches one line only.

        If the plan itself marks a task as skipped, that is not recorded: the task must
        run again once somebody removes the mark from the plan.
        """
        # Most tasks of a large plan have neither a record nor a mark.
        index = index_of(tasks)
        missing = [*filterfalse(self.records.__contains__, index.by_id)]
        own_records = dict.fromkeys(missing, _unrecorded(Status.PENDING, skipped=False))
        for task in self._marked_anew(tasks, missing):
            own_record = self._own_record(task)
            if own_record is not self.records.get(task.id):
                own_records[task.id] = own_record
        complete = self.with_records(own_records) if own_records else self
        global _last_complete
        _last_complete = tasks, complete
        return complete

    def _marked_anew(
        self, tasks: Sequence[Task], missing: Sequence[str]
    ) -> Sequence[Task]:
        """The marked tasks whose records may lack what their marks say."""
        index, last = index_of(tasks), _last_complete
        if last is None or last[0] is not tasks or last[1].reopened != self.reopened:
            return index.marked
        changed = [*missing, *self.changed_since(last[1])]
        found = filter(None, map(index.by_id.get, changed))
        return [task for task in found if task.is_marked]

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
        reopened = self._replace(reopened=self.reopened | {task.id})
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
        recorded = self.records.get(task.id)
        # Most tasks of a large plan have neither a record nor a mark.
        if not task.is_marked:
            return recorded or _unrecorded(Status.PENDING, skipped=False)
        record = self.record(task)
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
    # What is completed stays so: BMAD's own mark for it, `review`, skips other stories.
    if record.status is Status.COMPLETED:
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


# The tasks that had a record each last, and that progress: at each landing only a few
# records are others, while a person may have marked most of a large plan.
_last_complete: tuple[Sequence[Task], Progress] | None = None


@lru_cache
def _unrecorded(status: Status, *, skipped: bool) -> Record:
    """The record of a task that has none: one object for all, as records are frozen."""
    return Record.model_construct(status=status, skipped=skipped or None)


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
