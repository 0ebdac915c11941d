"""What one attempt left: its result, why it failed, what it used; and the verdict on a
merged tree.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    Field,
    StringConstraints,
    model_validator,
)

from runner.core.documents import Document, Instant, Text


class FailureKind(StrEnum):
    """Why an attempt failed, by structure and never by words in its text."""

    AGENT_ERROR = "agent_error"
    TIMEOUT = "timeout"
    IDLE = "idle"
    RATE_LIMIT = "rate_limit"
    PERMISSION = "permission"
    NO_CHANGE = "no_change"
    VERIFY = "verify"
    SCOPE = "scope"
    POLICY = "policy"
    CONFLICT = "conflict"
    NO_RESULT = "no_result"
    CORRUPT = "corrupt"
    STALE = "stale"
    ENVIRONMENT = "environment"
    NOT_READY = "not_ready"
    INTERRUPTED = "interrupted"
    BASE_RED = "base_red"


# A person ended it, a rate limit did, it never ran here, its key was missing or
# refused, or the branch was red before: none of that is the task's fault (DESIGN,
# State).
UNCOUNTED = frozenset(
    {
        FailureKind.INTERRUPTED,
        FailureKind.RATE_LIMIT,
        FailureKind.STALE,
        FailureKind.BASE_RED,
        FailureKind.NOT_READY,
    }
)


class Failure(Document):
    """Why an attempt did not succeed; `retryable` False means no retry makes sense."""

    kind: FailureKind
    message: Text
    retryable: bool = True
    log_tail: Text = ""

    @property
    def counted(self) -> bool:
        return self.kind not in UNCOUNTED


class Usage(Document):
    """What the agent reported about itself; None is unknown, never zero."""

    summary: Text | None = None
    cost_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None


class Result(Document):
    """What one attempt left, as written in `result.json` of its folder.

    `run_attempt` is GitHub's: which run of the same job this was; 1 on one machine.
    `tree` is the git tree the attempt made and `pack` the file beside it with the
    objects the base lacks; both are None when nothing changed or the attempt failed
    before its work was captured. A failed attempt may still carry its work, so that it
    can be kept.
    """

    version: Literal[1] = 1
    batch: str
    manifest: str
    task: str
    attempt: int
    base: str
    run_attempt: int = 1
    started: Instant
    finished: Instant
    agent: Text
    succeeded: bool
    failure: Failure | None = None
    usage: Usage = Usage()
    tree: (
        Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]
        | None
    ) = None
    pack: Literal["change.pack"] | None = None

    @model_validator(mode="after")
    def _either_or(self) -> Result:
        if self.succeeded == (self.failure is not None):
            raise ValueError("a result either succeeded or has a failure")
        if (self.tree is None) != (self.pack is None):
            raise ValueError("a tree comes with the pack of its objects")
        return self


class Verdict(Document):
    """What `verify` found, bound to what it looked at: the head, the batch, and the
    tree that is green.

    `failed` are the tasks to send back; `tree` is the head with all others in, before
    progress and marks.
    """

    version: Literal[1] = 1
    batch: str
    manifest: str
    head: str
    tree: str
    failed: dict[str, Failure] = Field(default_factory=dict)
