"""What is known of each task's state: the progress file, its legal changes, and what
follows from it.

The file keeps one record per line in plan order, a blank line between records and the
comma in front, so that changing one record touches one line and git merges branches
which changed different tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from runner.core.documents import Document
from runner.core.errors import InvalidInput, Problem
from runner.core.result import Failure, Result, Usage
from runner.core.task import Plan, Standing, Status, Task

# characters of a failed attempt's log that travel with the branch to the retry's prompt
KEPT_TAIL = 2_000


class Record(Document):
    """One task's record. `seconds` is how long the successful attempt ran, learnt for
    the critical path.

    `allowed` is how many attempts are granted when that differs from the settings
    (`retry` adds to it), `changed` is what the task changed, a line a path, for the
    prompts of those that build on it. `final` that no retry makes sense, `held` the
    branch where finished work waits. Times are ISO 8601 UTC. `skipped` is None where
    fanin was told nothing: then the plan's own mark decides, also one that changes
    later.
    """

    status: Status = Status.PENDING
    attempts: Annotated[int, Field(ge=0)] = 0
    allowed: int | None = None
    final: bool = False
    skipped: bool | None = None
    held: str | None = None
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    error: Failure | None = None
    agent: str | None = None
    summary: str | None = None
    changed: tuple[str, ...] = ()
    cost_usd: float | None = None
    tokens: int | None = None


class ProgressFile(Document):
    version: Literal[1]
    plan: str
    tasks: dict[str, Record]


@dataclass(frozen=True)
class Progress:
    """The records of one plan. Immutable: every change gives a new one."""

    plan: str
    records: Mapping[str, Record] = field(default_factory=dict)
    # fields of a newer version, kept
    extra: Mapping[str, Any] = field(default_factory=dict)

    def record(self, task: Task) -> Record:
        """The task's record, with the source's own marks where fanin has not said
        otherwise.

        A completed mark in the plan counts even beside an older pending record: a
        person ticked it.
        """
        record = self.records.get(task.id)
        if task.source_status is Status.COMPLETED and (
            record is None or record.status is not Status.COMPLETED
        ):
            return (record or Record()).model_copy(
                update={"status": Status.COMPLETED, "error": None}
            )
        if record is None:
            known = (
                task.source_status
                if task.source_status is Status.FAILED
                else Status.PENDING
            )
            return _unrecorded(known, task.skipped)
        if record.skipped is None and task.skipped:
            return record.model_copy(update={"skipped": True})
        return record

    def attempt_limit(self, task: Task, max_attempts: int) -> int:
        """How many attempts the task has in all."""
        return self.record(task).allowed or task.max_attempts or max_attempts

    def expected_seconds(self, task: Task) -> float:
        """How long the task is expected to take: as declared, as it took before, or
        like any other.
        """
        return task.estimate or self.record(task).seconds or 60.0

    def standing(self, task: Task, max_attempts: int) -> Standing:
        """Completed, open (may run now or later), or stuck."""
        record = self.record(task)
        if record.status is Status.COMPLETED:
            return Standing.COMPLETED
        if record.skipped or record.held or record.final:
            return Standing.STUCK
        if record.status is Status.FAILED and record.attempts >= self.attempt_limit(
            task, max_attempts
        ):
            return Standing.STUCK
        return Standing.OPEN

    def standings(self, plan: Plan, max_attempts: int) -> dict[str, Standing]:
        records, fresh = self.records, Status.PENDING
        return {
            # most tasks of a large plan: nothing is known of them
            task.id: Standing.OPEN
            if task.id not in records
            and task.source_status is fresh
            and not task.skipped
            else self.standing(task, max_attempts)
            for task in plan.tasks
        }

    def has_recorded(self, task: Task, result: Result) -> bool:
        """Whether this very result is recorded already, as when a fan-in is done twice."""
        record = self.record(task)
        return record.attempts == result.attempt and record.finished == result.finished

    def with_held(self, task: Task, branch: str) -> Progress:
        """The task's finished work waits on `branch` for a person."""
        return self.with_records(
            {task.id: self._own(task).model_copy(update={"held": branch})}
        )

    def is_ahead_of(self, other: Progress) -> bool:
        """Whether this one records an attempt or a completion that the other does not."""
        for task_id, record in self.records.items():
            theirs = other.records.get(task_id, Record())
            done, done_there = (
                record.status is Status.COMPLETED,
                theirs.status is Status.COMPLETED,
            )
            if record.attempts > theirs.attempts or (done and not done_there):
                return True
        return False

    def with_every_task(self, tasks: Iterable[Task]) -> Progress:
        """With a record for each task, so that a later change touches one line. What
        only the plan skips is not written down: a person may take that mark away.
        """
        return self.with_records({task.id: self._own(task) for task in tasks})

    def _own(self, task: Task) -> Record:
        """The task's record with what fanin was told of skipping, the plan's mark left
        aside.
        """
        record, told = self.record(task), self.records.get(task.id)
        skipped = told.skipped if told is not None else None
        return (
            record
            if record.skipped == skipped
            else record.model_copy(update={"skipped": skipped})
        )

    def with_records(self, changed: Mapping[str, Record]) -> Progress:
        return replace(self, records={**self.records, **changed})

    def after_success(
        self, task: Task, result: Result, changed: Sequence[str] = ()
    ) -> Progress:
        """The state after `result` landed. ValueError if it is not the attempt that may
        follow.
        """
        record = self._after_attempt(task, result.attempt)
        return self.with_records(
            {
                task.id: record.model_copy(
                    update={
                        "status": Status.COMPLETED,
                        "held": None,
                        "error": None,
                        "started": result.started,
                        "finished": result.finished,
                        "seconds": seconds_between(result.started, result.finished),
                        "agent": result.agent,
                        "summary": result.usage.summary,
                        "changed": tuple(changed),
                        **_spent(record, result.usage),
                    }
                )
            }
        )

    def after_failure(
        self, task: Task, attempt: int, failure: Failure, result: Result | None
    ) -> Progress:
        """The state after a failed attempt. An attempt that a person or a rate limit
        ended is not counted.
        """
        if not failure.counted:
            return self
        record = self._after_attempt(task, attempt)
        kept = failure.model_copy(update={"log_tail": failure.log_tail[-KEPT_TAIL:]})
        usage = result.usage if result is not None else Usage()
        changes = {
            "status": Status.FAILED,
            "error": kept,
            "final": not failure.retryable,
            **_spent(record, usage),
        }
        if result is not None:
            changes |= {
                "started": result.started,
                "finished": result.finished,
                "agent": result.agent,
            }
        return self.with_records({task.id: record.model_copy(update=changes)})

    def with_retry(self, task: Task, max_attempts: int) -> Progress:
        """One more attempt for a task, whatever its state; attempts are never lowered."""
        record = self.record(task)
        granted = max(self.attempt_limit(task, max_attempts), record.attempts + 1)
        return self.with_records(
            {
                task.id: record.model_copy(
                    update={
                        "status": Status.FAILED if record.attempts else Status.PENDING,
                        "allowed": granted,
                        "final": False,
                        "skipped": False if task.skipped else None,
                        "held": None,
                    }
                )
            }
        )

    def with_skip(self, task: Task, *, satisfied: bool) -> Progress:
        """Never run the task; `satisfied` lets its dependents run all the same. What is
        completed stays so.
        """
        done = satisfied or self.record(task).status is Status.COMPLETED
        status = Status.COMPLETED if done else Status.PENDING
        return self.with_records(
            {
                task.id: self.record(task).model_copy(
                    update={"skipped": True, "status": status}
                )
            }
        )

    def _after_attempt(self, task: Task, attempt: int) -> Record:
        record = self._own(task)
        if attempt != record.attempts + 1 or record.status is Status.COMPLETED:
            raise ValueError(
                f"{task.id}: attempt {attempt} does not follow {record.attempts} ({record.status})"
            )
        return record.model_copy(update={"attempts": attempt})


@lru_cache
def _unrecorded(status: Status, skipped: bool) -> Record:
    """The record of a task of which nothing is written: one for all of them, since
    records never change.
    """
    return Record(status=status, skipped=skipped or None)


def stale_reason(
    progress: Progress, task: Task | None, digest: str, attempt: int
) -> str | None:
    """Why a result does not count at this head, or None. The one rule for doubled
    fan-ins, re-runs and rivals.

    `task` is the head's own, None if it was removed there; `digest` and `attempt` are
    the result's.
    """
    if task is None:
        return "the task is no longer in the plan"
    record = progress.record(task)
    if record.status is Status.COMPLETED:
        return "the task is completed already"
    if record.attempts != attempt - 1:
        return f"this is attempt {attempt}, but {record.attempts} attempts are recorded"
    if task.digest != digest:
        return "the task's text has changed since"
    return None


def from_source(plan: Plan, path: str) -> Progress:
    """What the plan's own marks say, as the progress of a plan at `path` whose format
    has no word for it.
    """
    records = {
        task.id: Record(status=task.source_status, skipped=task.skipped or None)
        for task in plan.tasks
        if task.skipped or task.source_status in {Status.COMPLETED, Status.FAILED}
    }
    return Progress(path, records)


def parse(path: str, text: str | None, plan: str) -> Progress:
    """The progress in `text` (None: there is none yet). InvalidInput if it is
    unreadable or of another plan.
    """
    if text is None:
        return Progress(plan)
    try:
        found = ProgressFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            [
                Problem(
                    path,
                    _line_of(text, first["loc"]),
                    f"unreadable progress: {place} {first['msg']}",
                    "take the last good one from git, or delete the file to start afresh",
                )
            ]
        ) from None
    if found.plan != plan:
        raise InvalidInput(
            [
                Problem(
                    path,
                    1,
                    f"this is the progress of {found.plan}, not of {plan}",
                    "give this plan a file of its own with the setting progress:",
                )
            ]
        )
    return Progress(plan, found.tasks, found.model_extra or {})


def render(progress: Progress, order: Iterable[str]) -> str:
    """The file's text: records of `order` first, then those of tasks that have left the
    plan.
    """
    ids = [*dict.fromkeys([*order, *progress.records])]
    head = (
        json.dumps(
            {"version": 1, "plan": progress.plan, **progress.extra}, ensure_ascii=False
        )[:-1]
        + ', "tasks": {'
    )
    lines = [
        f"{json.dumps(task_id, ensure_ascii=False)}: {_one_line(progress.records[task_id])}"
        for task_id in ids
        if task_id in progress.records
    ]
    return (
        "\n\n".join(
            [
                head,
                *(
                    line if place == 0 else f",{line}"
                    for place, line in enumerate(lines)
                ),
                "}}",
            ]
        )
        + "\n"
    )


def seconds_between(started: str, finished: str) -> float:
    """Seconds between two ISO 8601 times; never negative, since clocks are set back."""
    return max(
        0.0,
        (
            datetime.fromisoformat(finished) - datetime.fromisoformat(started)
        ).total_seconds(),
    )


# every commit holds the whole file, and differs from the last one in a line or two
@lru_cache(maxsize=2**14)
def _one_line(record: Record) -> str:
    stated = {"status": record.status.value, "attempts": record.attempts}
    return json.dumps(
        stated | record.model_dump(mode="json", exclude_defaults=True),
        ensure_ascii=False,
    )


def _spent(record: Record, usage: Usage) -> dict[str, Any]:
    """Cost over all attempts; unknown once any part is unknown, never 0 for it.
    `record` counts this attempt.
    """
    first = record.attempts == 1
    return {
        name: now if first else None if before is None or now is None else before + now
        for name, before, now in (
            ("cost_usd", record.cost_usd, usage.cost_usd),
            ("tokens", record.tokens, usage.tokens),
        )
    }


def _line_of(text: str, loc: tuple[int | str, ...]) -> int:
    if not loc:
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            return error.lineno
        except RecursionError:
            return 1
    needle = json.dumps(str(loc[1]), ensure_ascii=False) if len(loc) > 1 else ""
    return next(
        (
            number
            for number, line in enumerate(text.split("\n"), 1)
            if needle and needle in line
        ),
        1,
    )
