"""The records of a progress file: one for each task, and that of the run on GitHub
Actions that landed last.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from runner.core.documents import Document
from runner.core.result import (
    Failure,
    JobIds,
    KeptWork,
    PersonsMessage,
    Question,
    RecordedLimit,
)
from runner.core.task import Status

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


def seconds_between(started: str, finished: str) -> float:
    """Seconds between two ISO 8601 times; 0 if the clock was set back in between."""
    duration = datetime.fromisoformat(finished) - datetime.fromisoformat(started)
    return max(0.0, duration.total_seconds())
