"""The result of an attempt, and the verdict of `verify` on a merged tree."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    model_validator,
)

from runner.core.documents import Document, Instant, ReportedDocument, Text
from runner.core.message_text import visible

# GitHub's ids of a run and of a job of it. Digits alone, because they become an address.
JobIds = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}/[0-9]{1,20}$")]


ObjectId = Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]

# No plan of a provider has a usage limit over a longer time than a week.
MAX_LIMIT_DAYS = 8
# More than any attempt can use.
MAX_COST_USD = 10.0**9
MAX_TOKENS = 10**15


# Characters. What a machine reports is written into commits, again with each commit.
MAX_MESSAGE = 2_000
MAX_LOG_TAIL = 4_000


def _shortened(text: str) -> str:
    if len(text) <= MAX_MESSAGE:
        return text
    return text[: MAX_MESSAGE - 1] + "…"


def _without_outer_space(text: object) -> object:
    return visible(text).strip() if isinstance(text, str) else text


# What a person says to a task's next agent, as it is shown and quoted in its prompt.
MAX_PERSONS_MESSAGE = 4_000  # characters
PersonsMessage = Annotated[
    str,
    StringConstraints(max_length=MAX_PERSONS_MESSAGE),
    BeforeValidator(_without_outer_space),
]


class FailureKind(StrEnum):
    """The kind of a failure. Never guessed from words in an agent's text."""

    AGENT_ERROR = "agent_error"
    TIMEOUT = "timeout"
    IDLE = "idle"
    RATE_LIMIT = "rate_limit"
    USAGE_LIMIT = "usage_limit"
    PERMISSION = "permission"
    NO_CHANGE = "no_change"
    VERIFY = "verify"
    SCOPE = "scope"
    POLICY = "policy"
    CONFLICT = "conflict"
    NO_RESULT = "no_result"
    CORRUPT = "corrupt"
    STALE = "stale"
    QUESTION = "question"
    ENVIRONMENT = "environment"
    NOT_READY = "not_ready"
    INTERRUPTED = "interrupted"
    BASE_RED = "base_red"


# Failures that are not the task's fault, so they do not count as an attempt.
UNCOUNTED = frozenset(
    {
        FailureKind.INTERRUPTED,
        FailureKind.RATE_LIMIT,
        FailureKind.USAGE_LIMIT,
        FailureKind.STALE,
        FailureKind.BASE_RED,
        FailureKind.NOT_READY,
    }
)


# Failures after which the next attempt starts from the work that is there.
CARRIED_ON = frozenset(
    {
        FailureKind.CONFLICT,
        FailureKind.VERIFY,
        FailureKind.TIMEOUT,
        FailureKind.IDLE,
        FailureKind.AGENT_ERROR,
        FailureKind.QUESTION,
    }
)
# Failures of work that no later attempt starts from.
REFUSED = frozenset({FailureKind.POLICY, FailureKind.SCOPE})


class RecordedLimit(Document):
    """A usage limit as documents have it; `schedule.limit_waits` explains the fields."""

    until: Instant
    since: Instant
    known: bool
    repeats: Annotated[int, Field(ge=0)] = 0


class Failure(Document):
    """The failure of an attempt. Without `retryable`, no further attempt is made.

    `resets_at` is when a usage limit ends, None if that is unknown. `paths` are those of
    a conflict that the merge found. `excused`: the conflict is not the task's fault, so
    the attempt counts and the task gets one more. A question, whose text is `message`, is
    no failure of the task either: it waits for the answer.
    """

    kind: FailureKind
    message: Text
    retryable: bool = True
    log_tail: Text = ""
    resets_at: Instant | None = None
    paths: tuple[Text, ...] = ()
    excused: bool = False

    @property
    def counted(self) -> bool:
        """Whether it is recorded as one of the task's attempts."""
        return self.kind not in UNCOUNTED

    @property
    def verb(self) -> Literal["asks", "failed"]:
        """What the attempt has done, for a sentence that the message follows."""
        return "asks" if self.kind is FailureKind.QUESTION else "failed"


class KeptWork(Document):
    """The work of a failed attempt, which the next one may start from.

    `commit` has it, on top of the commit that the attempt started from. `attempt` is its
    number, `request` the `Task.request_digest` of what it was asked to do.
    """

    commit: ObjectId
    attempt: Annotated[int, Field(ge=1)]
    request: str


# How often a task may ask before a question fails its attempt: an agent that always asks
# must end.
MAX_QUESTIONS = 3


class Question(Document):
    """What the agent of attempt `attempt` has asked, as it is shown and quoted.

    `answer` is a person's: None while the task waits for it, "" if the agent is to go on
    without one.
    """

    attempt: Annotated[int, Field(ge=1)]
    text: Annotated[
        str, BeforeValidator(_without_outer_space), AfterValidator(_shortened)
    ]
    answer: PersonsMessage | None = None


def _reported(failure: Failure) -> Failure:
    """The known fields of a failure, with texts of a limited length."""
    known = {name: getattr(failure, name) for name in Failure.model_fields}
    known["message"] = _shortened(failure.message)
    known["log_tail"] = failure.log_tail[-MAX_LOG_TAIL:]
    return Failure(**known)


# A failure as a machine reports it. The progress file keeps a newer version's fields.
ReportedFailure = Annotated[Failure, AfterValidator(_reported)]


class Usage(ReportedDocument):
    """The agent's own report of its usage. None means unknown, never zero.

    `input_tokens` and `output_tokens` are parts of `tokens`, which some agents report
    as a sum only. What a cache had of the input is part of it.
    """

    summary: Annotated[Text, AfterValidator(_shortened)] | None = None
    # Bounds, because both are summed: a sum of more than 4,300 digits, or an infinite
    # one, cannot be written as JSON.
    cost_usd: Annotated[float, Field(ge=0, le=MAX_COST_USD)] | None = None
    tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    input_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    output_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None


class Result(ReportedDocument):
    """The outcome of one attempt, stored as `result.json` in its result folder.

    - `manifest`: the digest of the manifest that it belongs to.
    - `run_attempt`: GitHub's count of runs of the same job; 1 on one machine.
    - `job`: the ids of GitHub's run and job, `RUN/JOB`; None on one machine.
    - `artifact`: the name of the artifact that it came in, which its reader sets.
    - `tree`: the id of the git tree that the attempt made; `pack`: the file beside it
      with the objects that the base lacks. Both are None if nothing changed, or if the
      attempt failed before its work was captured. A failed attempt may have them too,
      so that its work can be kept.
    - `warnings`: sentences about work that is left out of the tree.
    """

    version: Literal[1] = 1
    batch: str
    manifest: str
    task: str
    attempt: int
    base: str
    run_attempt: int = 1
    job: JobIds | None = None
    artifact: str | None = Field(default=None, exclude=True)
    started: Instant
    finished: Instant
    agent: Text
    succeeded: bool
    failure: ReportedFailure | None = None
    usage: Usage = Usage.model_construct()
    tree: ObjectId | None = None
    pack: Literal["change.pack"] | None = None
    warnings: Annotated[list[Text], Field(max_length=10)] = Field(default_factory=list)

    def refused(self, failure: Failure) -> Self:
        """This result as a failed one, without a text that its machine wrote."""
        changes = {
            "succeeded": False,
            "failure": failure,
            "usage": self.usage.model_copy(update={"summary": None}),
            "warnings": [],
        }
        return self.model_copy(update=changes)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if self.succeeded == (self.failure is not None):
            raise ValueError("a result either succeeded or has a failure")
        if (self.tree is None) != (self.pack is None):
            raise ValueError("a tree comes with the pack of its objects")
        return self


class Verdict(ReportedDocument):
    """The outcome of `verify`, bound to the batch and the head that were verified.

    `failed` are the tasks that are not merged, each with the reason. `tree` is the tree
    that passed: the head with all other tasks merged, before progress is written.
    """

    version: Literal[1] = 1
    batch: str
    manifest: str
    head: str
    tree: str
    failed: dict[str, ReportedFailure] = Field(default_factory=dict)
