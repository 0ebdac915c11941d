"""What a person asks of a plan: to retry tasks, to skip them, to hold or approve them, to
answer the question of one, to take them out again, or to let kept work of one land.

A request is a document, so that it can wait until a run chooses its next tasks. What it
changes is decided then. A new kind of request is a class here, and a change of
`plan.changes` if none of those there will do.
"""

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from runner.core.documents import Document
from runner.core.errors import UsageProblem
from runner.core.fanin_commands import typed
from runner.core.result import ObjectId, PersonsMessage
from runner.core.task import PlanSettings, Status, Task
from runner.plan.changes import (
    AnsweredQuestion,
    Change,
    GateChange,
    GrantedAttempt,
    SkippedTask,
)
from runner.plan.snapshot import Snapshot, refuse_landed
from runner.plan.view import views


class _TaskRequest(Document):
    """A request for tasks of a plan on a branch; `progress` is the progress file's path."""

    version: Literal[1] = 1
    branch: str
    plan: PlanSettings
    progress: str
    tasks: tuple[str, ...] = ()

    def task_ids(self, _snapshot: Snapshot, _max_attempts: int) -> tuple[str, ...]:
        """The ids of the tasks that it is for, as things are now."""
        return self.tasks


class RetryRequest(_TaskRequest):
    """Grant each task one more attempt; `redo`: completed ones too. `failed`: every task
    that has failed for good, when the request is applied. `message` is for the prompt.
    """

    kind: Literal["retry"] = "retry"
    redo: bool = False
    failed: bool = False
    message: PersonsMessage = ""

    def task_ids(self, snapshot: Snapshot, max_attempts: int) -> tuple[str, ...]:
        """The ids of the tasks that it is for, as things are now."""
        if not self.failed:
            return self.tasks
        task_views = views(
            snapshot.plan, snapshot.graph, snapshot.progress, max_attempts
        )
        return tuple(view.task.id for view in task_views if view.state == "failed")

    @property
    def outcome(self) -> str:
        """What a task is for which it has been done: `to be retried`."""
        return "to be retried"

    def is_done(self, snapshot: Snapshot, task: Task, max_attempts: int) -> bool:
        """Whether it would change nothing: the task may run already, with the message."""
        if self.message not in {"", snapshot.progress.record(task).message}:
            return False
        if snapshot.progress.record(task).open_question is not None:
            return False  # it would let the task go on without an answer
        return snapshot.progress.standing(task, max_attempts).may_run

    def refuse(self, snapshot: Snapshot, tasks: Sequence[Task]) -> None:
        """Raises UsageProblem if one of the tasks cannot be retried."""
        if not self.redo:
            refuse_landed(snapshot, tasks)

    def change(self, snapshot: Snapshot, task: Task, max_attempts: int) -> Change:
        """The change for one of the tasks."""
        return GrantedAttempt(
            kind="retry",
            task=task.id,
            follows=snapshot.progress.record(task).attempts,
            max_attempts=max_attempts,
            redo=self.redo,
            message=self.message,
        )


class SkipRequest(_TaskRequest):
    """Never run the tasks; `satisfied`: their dependents run all the same."""

    kind: Literal["skip"] = "skip"
    satisfied: bool = False

    @property
    def outcome(self) -> str:
        """What a task is for which it has been done: `skipped`."""
        return "skipped as satisfied" if self.satisfied else "skipped"

    def is_done(self, snapshot: Snapshot, task: Task, max_attempts: int) -> bool:
        """Whether it would change nothing: the task is skipped in this way already."""
        progress = snapshot.progress
        change = self.change(snapshot, task, max_attempts)
        changed = change.applied_to(progress, task)
        return changed.record(task) == progress.record(task)

    def refuse(self, snapshot: Snapshot, tasks: Sequence[Task]) -> None:
        """Raises UsageProblem if one of the tasks cannot be skipped."""
        refuse_landed(snapshot, tasks, "skip tasks that are still open")

    def change(self, snapshot: Snapshot, task: Task, _max_attempts: int) -> Change:
        """The change for one of the tasks."""
        return SkippedTask(
            kind="skip",
            task=task.id,
            follows=snapshot.progress.record(task).attempts,
            satisfied=self.satisfied,
        )


class _GateRequest(_TaskRequest):
    """Close or open a gate before the tasks."""

    kind: Literal["hold", "approve"]

    def change(self, snapshot: Snapshot, task: Task, _max_attempts: int) -> Change:
        """The change for one of the tasks."""
        follows = snapshot.progress.record(task).attempts
        return GateChange(kind=self.kind, task=task.id, follows=follows)


class HoldRequest(_GateRequest):
    """Start no attempt of the tasks before a person approves them."""

    kind: Literal["hold"] = "hold"

    @property
    def outcome(self) -> str:
        """What a task is for which it has been done: `on hold`."""
        return "on hold"

    def is_done(self, snapshot: Snapshot, task: Task, _max_attempts: int) -> bool:
        """Whether it would change nothing: the task waits for approval already."""
        return snapshot.progress.is_gated(task)

    def refuse(self, snapshot: Snapshot, tasks: Sequence[Task]) -> None:
        """Raises UsageProblem if one of the tasks has landed."""
        refuse_landed(snapshot, tasks, "hold tasks that are still open")


class ApproveRequest(_GateRequest):
    """Let the tasks start that wait for a person's approval."""

    kind: Literal["approve"] = "approve"

    @property
    def outcome(self) -> str:
        """What a task is for which it has been done: `free to start`."""
        return "free to start"

    def is_done(self, snapshot: Snapshot, task: Task, _max_attempts: int) -> bool:
        """Whether it would change nothing: the task waits for no approval."""
        return not snapshot.progress.is_gated(task)

    def refuse(self, _snapshot: Snapshot, _tasks: Sequence[Task]) -> None:
        """Any task may be approved, also before it is reached."""


class ReplyRequest(_TaskRequest):
    """Answer the question that the last attempt of one task has ended with."""

    kind: Literal["reply"] = "reply"
    answer: Annotated[PersonsMessage, Field(min_length=1)]

    @property
    def outcome(self) -> str:
        """What a task is for which it has been done: `answered`."""
        return "answered so"

    def is_done(self, snapshot: Snapshot, task: Task, _max_attempts: int) -> bool:
        """Whether it would change nothing: the task has this very answer."""
        question = snapshot.progress.question_to_answer(task)
        return question is not None and question.answer == self.answer

    def refuse(self, snapshot: Snapshot, tasks: Sequence[Task]) -> None:
        """Raises UsageProblem if one of the tasks has not asked, or has gone on since."""
        for task in tasks:
            if snapshot.progress.question_to_answer(task) is None:
                retry = typed("retry", [task.id], '--message "…"')
                raise UsageProblem(
                    f"{task.id} has no question to answer",
                    f"to say something to its next attempt:  {retry}",
                )

    def change(self, snapshot: Snapshot, task: Task, _max_attempts: int) -> Change:
        """The change for one of the tasks."""
        return AnsweredQuestion(
            kind="reply",
            task=task.id,
            follows=snapshot.progress.record(task).attempts,
            answer=self.answer,
        )


class UndoRequest(_TaskRequest):
    """Take the changes of landed tasks out of the branch again; `with_dependents`: and
    those of all landed tasks that depend on them.
    """

    kind: Literal["undo"] = "undo"
    with_dependents: bool = False

    def refuse(self, snapshot: Snapshot, tasks: Sequence[Task]) -> None:
        """Raises UsageProblem if one of the tasks cannot be taken out."""
        for task in tasks:
            if not snapshot.progress.has_landed(task):
                raise UsageProblem(
                    f"{task.id} has not landed", "fanin status  shows what has"
                )
            if snapshot.progress.record(task).attempts == 0:
                raise UsageProblem(
                    f"{task.id} was marked as completed in the plan, and no attempt "
                    "of it has landed",
                    f"clear the mark in {task.path or snapshot.plan.path}",
                )
        ids = [task.id for task in tasks]
        dependents = [] if self.with_dependents else _landed_dependents(snapshot, ids)
        if dependents:
            verb = "builds" if len(dependents) == 1 else "build"
            together = typed("undo", ids, "--with-dependents")
            raise UsageProblem(
                f"{', '.join(dependents)} {verb} on {', '.join(ids)} and landed too",
                f"undo them together:  {together}",
            )

    def chosen(self, snapshot: Snapshot) -> list[Task]:
        """The tasks to take out, in plan order. Raises UsageProblem as `refuse`."""
        tasks = snapshot.tasks_named(self.tasks)
        self.refuse(snapshot, tasks)
        ids = [task.id for task in tasks]
        return snapshot.tasks_named([*ids, *_landed_dependents(snapshot, ids)])


class AcceptRequest(_TaskRequest):
    """Let the work of one task land: `commit`, as a change of the commit `base`.

    `attempt` is the one that made it. `allow` are globs of protected paths that it may
    change. `held`: the commit has fanin's own files too. `unverified`: verify need not be
    green.
    """

    kind: Literal["accept"] = "accept"
    commit: ObjectId
    base: ObjectId
    attempt: Annotated[int, Field(ge=0)]
    held: bool = False
    allow: tuple[str, ...] = ()
    unverified: bool = False

    def refuse(self, snapshot: Snapshot, tasks: Sequence[Task]) -> None:
        """Raises UsageProblem if a task is completed, or waits for others."""
        graph, progress = snapshot.graph, snapshot.progress
        for task in tasks:
            if progress.record(task).status is Status.COMPLETED:
                raise UsageProblem(
                    f"{task.id} is completed",
                    f"{typed('undo', [task.id])}  takes it out",
                )
            waits_for = [
                each
                for each in graph.dependencies(task.id)
                if progress.record(graph.tasks[each]).status is not Status.COMPLETED
            ]
            if waits_for:
                verb = "is" if len(waits_for) == 1 else "are"
                raise UsageProblem(
                    f"{', '.join(waits_for)}, which {task.id} depends on, {verb} not "
                    "completed",
                    "accept or run that first",
                )

    def chosen(self, snapshot: Snapshot) -> list[Task]:
        """The one task. Raises UsageProblem as `refuse`."""
        tasks = snapshot.tasks_named(self.tasks)
        self.refuse(snapshot, tasks)
        return tasks


def _landed_dependents(snapshot: Snapshot, ids: Sequence[str]) -> list[str]:
    """Other tasks that depend on some of these and have landed, in plan order."""
    graph, found = snapshot.graph, set(ids)
    waiting = list(ids)
    while waiting:
        for dependent in graph.dependents(waiting.pop()):
            if dependent not in found:
                found.add(dependent)
                waiting.append(dependent)
    return [
        task.id
        for task in snapshot.plan.tasks
        if task.id in found - set(ids) and snapshot.progress.has_landed(task)
    ]


# Those that change the progress alone, and those that change files of the branch.
ProgressRequest = (
    RetryRequest | SkipRequest | HoldRequest | ApproveRequest | ReplyRequest
)
FileRequest = UndoRequest | AcceptRequest
Request = ProgressRequest | FileRequest


@cache
def _adapter() -> TypeAdapter[Request]:
    """Reads a request of any kind. Built when there is one."""
    any_request: Any = Annotated[Request, Field(discriminator="kind")]
    return TypeAdapter(any_request)


class Decision(NamedTuple):
    """What a request changes in a snapshot, and why it leaves other tasks as they are.

    `done`: a sentence on those that need no change, "" if there are none.
    """

    changes: tuple[Change, ...]
    refused: tuple[str, ...]
    done: str = ""


def parse_request(text: bytes) -> Request:
    """The request in a JSON text. ValueError if it is none, or of a newer fanin."""
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        raise ValueError(str(error)) from None


def check_request(request: Request, snapshot: Snapshot) -> None:
    """Raises UsageProblem if one of the tasks is not in the plan or cannot be changed."""
    request.refuse(snapshot, snapshot.tasks_named(request.tasks))


def decide(request: ProgressRequest, snapshot: Snapshot, max_attempts: int) -> Decision:
    """What the request changes now. What cannot be changed any more is left."""
    changes: list[Change] = []
    refused: list[str] = []
    done: list[str] = []
    for task_id in dict.fromkeys(request.task_ids(snapshot, max_attempts)):
        try:
            [task] = snapshot.tasks_named([task_id])
            request.refuse(snapshot, [task])
        except UsageProblem as problem:
            refused.append(f"{describe(request, [task_id])}: {problem.message}")
            continue
        if request.is_done(snapshot, task, max_attempts):
            done.append(task_id)
        else:
            changes.append(request.change(snapshot, task, max_attempts))
    sentence = ""
    if done:
        verb = "is" if len(done) == 1 else "are"
        sentence = f"{', '.join(done)} {verb} already {request.outcome}"
    return Decision(tuple(changes), tuple(refused), sentence)


def describe(request: Request, task_ids: Sequence[str] = ()) -> str:
    """The request as one would type it, or the part of it for these tasks."""
    if not task_ids and isinstance(request, RetryRequest) and request.failed:
        return "retry --failed"
    return f"{request.kind} {', '.join(task_ids or request.tasks)}"
