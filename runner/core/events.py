"""The events of a run, typed, and the observer that receives them.

Every field is a plain JSON value or a document of such values, so that an event can be
written as one line of JSON: `event.model_dump_json()`. `event` names its type.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, Protocol

from pydantic import Field

from runner.core.documents import Document, Instant, Text
from runner.core.result import Failure, Usage


def _utc_now() -> str:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return now.replace("+00:00", "Z")


class Event(Document):
    """Something that happened at `time`: ISO 8601, UTC, whole milliseconds."""

    time: Instant = Field(default_factory=_utc_now)


class UsageReport(Document):
    """The usage that attempts reported; `without_cost` attempts reported no cost."""

    attempts: int = 0
    cost_usd: float = 0.0
    tokens: int = 0
    without_cost: int = 0


class RunStarted(Event):
    """A run begins to work on a plan of so many `tasks`.

    `settings` describes what was decided, one short line each.
    """

    event: Literal["run_started"] = "run_started"
    run: str
    branch: str
    plan: Text
    tasks: int
    schedule: Literal["batch", "rolling"]
    settings: tuple[Text, ...] = ()


class ChosenTask(Document):
    """A task of a batch, and which attempt of it this is (from 1)."""

    task: str
    title: Text
    attempt: int


class BatchChosen(Event):
    """The tasks that run now, side by side, on top of the commit `base`."""

    event: Literal["batch_chosen"] = "batch_chosen"
    batch: str
    round: int
    base: str
    tasks: tuple[ChosenTask, ...]


class AttemptEvent(Event):
    """Something that happened to one attempt of a task."""

    batch: str
    task: str
    attempt: int


class AttemptStarted(AttemptEvent):
    """An attempt begins: its checkout is made, then `agent` starts."""

    event: Literal["attempt_started"] = "attempt_started"
    title: Text
    agent: Text


class AgentOutput(AttemptEvent):
    """The last line that the agent has written, at most four times a second."""

    event: Literal["agent_output"] = "agent_output"
    last_line: Text


class AttemptEnded(AttemptEvent):
    """An attempt is over after `seconds`; without a `failure` its work can be merged."""

    event: Literal["attempt_ended"] = "attempt_ended"
    title: Text
    seconds: float
    failure: Failure | None = None
    usage: Usage = Usage()


class VerifyStarted(Event):
    """The merged tree of a batch, as `commit`, is about to be verified."""

    event: Literal["verify_started"] = "verify_started"
    batch: str
    commit: str
    command: Text


class VerifyEnded(Event):
    """Verifying `commit` took `seconds`; None as `failure` means that it passed."""

    event: Literal["verify_ended"] = "verify_ended"
    batch: str
    commit: str
    seconds: float
    failure: Failure | None = None


class ResultMerged(AttemptEvent):
    """The work of an attempt is in the merged tree."""

    event: Literal["result_merged"] = "result_merged"


class ResultRefused(AttemptEvent):
    """The attempt failed, or its work was not merged. `kept` is the ref that keeps it."""

    event: Literal["result_refused"] = "result_refused"
    failure: Failure
    kept: str | None = None


class BatchMerged(Event):
    """Every result of a batch is merged or refused; `usage` sums up its attempts."""

    event: Literal["batch_merged"] = "batch_merged"
    batch: str
    usage: UsageReport


class CommitLanded(Event):
    """`branch` has a new commit with the work of `tasks`.

    It also records the failed attempts of `failed_tasks`.
    """

    event: Literal["commit_landed"] = "commit_landed"
    branch: str
    commit: str
    tasks: tuple[str, ...] = ()
    failed_tasks: tuple[str, ...] = ()


class Waiting(Event):
    """Nothing starts for so many `seconds`, for the reason given.

    After a usage limit, `until` is the time at which the run goes on.
    """

    event: Literal["waiting"] = "waiting"
    seconds: float
    reason: Text
    until: Instant | None = None


class Note(Event):
    """Something that a person should know."""

    event: Literal["note"] = "note"
    message: Text


class RunEnded(Event):
    """A run is over: nothing is ready, or `reason` says why it stopped before that.

    `landed` counts the tasks whose work landed. `waiting_branch` holds work that could
    not land on its own branch.
    """

    event: Literal["run_ended"] = "run_ended"
    run: str
    branch: str
    outcome: Literal["completed", "stopped", "interrupted", "error"]
    reason: Text | None = None
    landed: int = 0
    waiting_branch: str | None = None
    usage: UsageReport = UsageReport()


RunEvent = (
    RunStarted
    | BatchChosen
    | AttemptStarted
    | AgentOutput
    | AttemptEnded
    | VerifyStarted
    | VerifyEnded
    | ResultMerged
    | ResultRefused
    | BatchMerged
    | CommitLanded
    | Waiting
    | Note
    | RunEnded
)


class RunObserver(Protocol):
    """Hears what happens in a run. Called from several threads."""

    @property
    def wants_output(self) -> bool:
        """Whether to make `AgentOutput` events at all."""

    def observe(self, event: RunEvent, /) -> None: ...
