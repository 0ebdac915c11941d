"""Changes of the progress that are durable and not on the branch yet: attempts that
failed, and what a person asked for. They count as if the branch had them.

Each follows a number of attempts of its task, so that none counts twice, whether the
branch has it already or not.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from runner.core.documents import Document
from runner.core.result import (
    Failure,
    FailureKind,
    KeptWork,
    PersonsMessage,
    Result,
)
from runner.core.task import Status, Task
from runner.plan.progress import Progress
from runner.plan.snapshot import Applied, Snapshot


class FailedAttempt(Document):
    """A failed attempt that counts, or one that asks; the fields are those of
    `Progress.after_failure`.
    """

    kind: Literal["failed"] = "failed"
    task: str
    attempt: Annotated[int, Field(ge=1)]
    failure: Failure
    result: Result | None = None
    kept: KeptWork | None = None
    from_work: bool = False

    @property
    def follows(self) -> int:
        """How many attempts the task has had before the change."""
        return self.attempt - 1

    def applied_to(self, progress: Progress, task: Task) -> Progress:
        """The progress with this change; the task has had `follows` attempts."""
        if progress.record(task).status is Status.COMPLETED:
            return progress
        return progress.after_failure(
            task,
            self.attempt,
            self.failure,
            self.result,
            kept=self.kept,
            from_work=self.from_work,
        )


class GrantedAttempt(Document):
    """One more attempt for a task; `redo`: even if it has landed. `message` is for its
    prompt.
    """

    kind: Literal["retry"]
    task: str
    follows: Annotated[int, Field(ge=0)]
    max_attempts: Annotated[int, Field(ge=1)]
    redo: bool = False
    message: PersonsMessage = ""

    def applied_to(self, progress: Progress, task: Task) -> Progress:
        """The progress with this change; the task has had `follows` attempts."""
        if not self.redo:
            granted = progress.with_retry(task, self.max_attempts)
            return granted.with_message(task, self.message)
        record = progress.record(task)
        # The branch may have this very change already.
        if record.status is not Status.PENDING or not record.attempts:
            progress = progress.with_redo(task, self.max_attempts)
        return progress.with_message(task, self.message)


class SkippedTask(Document):
    """A task that never runs; `satisfied`: its dependents run all the same."""

    kind: Literal["skip"]
    task: str
    follows: Annotated[int, Field(ge=0)]
    satisfied: bool = False

    def applied_to(self, progress: Progress, task: Task) -> Progress:
        """The progress with this change; the task has had `follows` attempts."""
        return progress.with_skip(task, satisfied=self.satisfied)


class GateChange(Document):
    """`hold`: no attempt of the task starts before a person's approval; `approve`: that."""

    kind: Literal["hold", "approve"]
    task: str
    follows: Annotated[int, Field(ge=0)]

    def applied_to(self, progress: Progress, task: Task) -> Progress:
        """The progress with this change; the task has had `follows` attempts."""
        return progress.with_gate(task, closed=self.kind == "hold")


class AnsweredQuestion(Document):
    """A person's answer to what the task's agent has asked."""

    kind: Literal["reply"]
    task: str
    follows: Annotated[int, Field(ge=0)]
    answer: PersonsMessage

    def applied_to(self, progress: Progress, task: Task) -> Progress:
        """The progress with this change; the task has had `follows` attempts."""
        return progress.with_answer(task, self.answer)


Change = Annotated[
    FailedAttempt | GrantedAttempt | SkippedTask | GateChange | AnsweredQuestion,
    Field(discriminator="kind"),
]


@cache
def _adapter() -> TypeAdapter[tuple[Change, ...]]:
    """Reads changes. Built when there are some."""
    return TypeAdapter(tuple[Change, ...])


class ChangeSet(NamedTuple):
    """Changes that became durable together, under an `id` that no others have."""

    id: str
    changes: tuple[Change, ...]


def parse_changes(document: object) -> tuple[Change, ...]:
    """The changes of a JSON array. TypeError if it is none."""
    try:
        return _adapter().validate_python(document)
    except ValidationError as error:
        raise TypeError(str(error)) from None


def apply_changes(snapshot: Snapshot, sets: Iterable[ChangeSet]) -> Applied:
    """Apply the sets in order.

    A change of a task that is not in the plan, or that has had more attempts already,
    changes nothing: the branch has it, or another one in its place.
    """
    sets = tuple(sets)
    progress = snapshot.progress
    tasks = snapshot.graph.tasks
    waiting = [(each.id, change) for each in sets for change in each.changes]
    while True:
        still_waiting = []
        for set_id, change in waiting:
            task = tasks.get(change.task)
            if task is None:
                # The plan in the commit may have it.
                if snapshot.problems:
                    still_waiting.append((set_id, change))
                continue
            attempts = progress.record(task).attempts
            if attempts < change.follows:
                still_waiting.append((set_id, change))
            elif attempts == change.follows:
                progress = change.applied_to(progress, task)
        # What was applied may be what another one follows.
        if len(still_waiting) == len(waiting):
            break
        waiting = still_waiting
    waiting_ids = {set_id for set_id, _ in waiting}
    ids = [each.id for each in sets if each.id not in waiting_ids]
    return Applied(snapshot.with_progress(progress), ids)


def unrecorded_failures(snapshot: Snapshot) -> Mapping[str, Failure]:
    """Task id → the failure of its last attempt, or its question, where the snapshot's
    commit lacks it.
    """
    failures: dict[str, Failure] = {}
    if snapshot.recorded is None:
        return failures
    for task_id in snapshot.progress.changed_since(snapshot.recorded):
        record = snapshot.progress.records[task_id]
        before = snapshot.recorded.records.get(task_id)
        if before is not None and before.attempts >= record.attempts:
            continue
        if record.open_question is not None:
            text = record.open_question.text
            failures[task_id] = Failure(kind=FailureKind.QUESTION, message=text)
        elif record.error is not None:
            failures[task_id] = record.error
    return failures


def requests_subject(sets: Iterable[ChangeSet]) -> str:
    """What persons asked for, as the subject of a commit; "" if nothing."""
    ids: dict[str, list[str]] = {}
    for change_set in sets:
        for change in change_set.changes:
            if not isinstance(change, FailedAttempt):
                ids.setdefault(change.kind, []).append(change.task)
    subject = "; ".join(f"{kind} {', '.join(tasks)}" for kind, tasks in ids.items())
    return subject[:1].upper() + subject[1:]
