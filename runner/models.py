"""Data that crosses rooms or jobs: tasks, plans, settings of an agent, the batch manifest, results.

Documents other people write (plan, settings) forbid unknown keys, because a misspelt `depends_on` that is
silently ignored would run a task too early. Documents fanin writes (manifest, result, progress) keep the
unknown fields of a newer version.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, overload

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|kB|MB|GB)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def parse_duration(value: object) -> float:
    """Seconds from `30m`, `1h30m`, `45s` or a plain number of seconds. ValueError for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif _NUMBER.fullmatch(str(value).strip()):  # as a flag or a variable gives it
        seconds = float(str(value))
    else:
        match = _DURATION.fullmatch(str(value).strip())
        if not match or not any(match.groups()):
            raise ValueError("write a duration like 45s, 30m or 1h30m")
        hours, minutes, secs = (float(part or 0) for part in match.groups())
        seconds = hours * 3600 + minutes * 60 + secs
    if not 0 < seconds < 10**9:
        raise ValueError("a duration must be more than zero")
    return seconds


def parse_size(value: object) -> int:
    """Bytes from `4 MiB`, `500kB` or a plain number. ValueError for anything else."""
    match = _SIZE.fullmatch(str(value).strip())
    if isinstance(value, bool) or not match:
        raise ValueError("write a size like 4MiB or 500kB")
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])


_DURATION_SCHEMA = {
    "type": ["number", "string"],
    "exclusiveMinimum": 0,
    "examples": ["45s", "30m", "1h30m"],
    "pattern": r"^(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?$",
    "minLength": 2,
}
_SIZE_SCHEMA = {
    "type": ["integer", "string"],
    "minimum": 0,
    "examples": ["4MiB", "500kB"],
    "pattern": r"^\d+(\.\d+)?\s*([kKMG]i?)?[bB]?$",
}
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@overload
def clean(value: str) -> str: ...


@overload
def clean(value: object) -> object: ...


def clean(value: object) -> object:
    """Text from an agent, git or a file name, made safe to print, commit and store.

    Control characters would speak to the terminal, NUL ends a commit message, lone surrogates (bytes of a file name
    that are no UTF-8) cannot be encoded. Everything that is not text is left to the validation.
    """
    if not isinstance(value, str):
        return value
    return _UNPRINTABLE.sub(
        "\ufffd", value.encode("utf-8", "backslashreplace").decode().replace("\r\n", "\n").replace("\r", "\n")
    )


Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
# An id travels in file names, refs, tables and shell text: anything printable without spaces at its ends.
TaskId = Annotated[
    str, StringConstraints(pattern=r"^[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$", max_length=200)
]


def _instant(value: str) -> str:
    if datetime.fromisoformat(value).tzinfo is None:
        raise ValueError("a time needs its zone")
    return value


Instant = Annotated[str, StringConstraints(max_length=40), AfterValidator(_instant)]
Text = Annotated[str, BeforeValidator(clean)]

# What GitHub's runner gives to its own steps: with it an agent could act as the job, or change the steps after it
# (GitHub, "Security hardening for GitHub Actions"; the runner's `GITHUB_*` command files). Also fanin's own.
_NEVER_PASSED = re.compile(
    r"GITHUB_(?:TOKEN|ENV|PATH|OUTPUT|STATE|STEP_SUMMARY)|ACTIONS_.*|INPUT_.*|FANIN_(?:TOKEN|COOKIE|AGENT_ENV)",
    re.IGNORECASE,
)


def _passable(name: str) -> str:
    if _NEVER_PASSED.fullmatch(name):
        raise ValueError(f"{name} never reaches an agent: with it the agent could act as the job itself")
    return name


EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"), AfterValidator(_passable)]


ENV_LIMIT = 16 * 2**10  # bytes of all names and values of `env`, which travel from job to job
_FANINS_OWN = re.compile(r"FANIN_.*|PATH|HOME", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and bytes that are not UTF-8


def _settable(name: str) -> str:
    if _FANINS_OWN.fullmatch(name):
        raise ValueError(f"{name} is set by fanin: choose another name")
    return name


def _one_line(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("write it as text: numbers and booleans in quotes")
    if _CONTROL.search(value):
        raise ValueError("write one line of text, without control characters")
    return value


def _bounded(env: dict[str, str]) -> dict[str, str]:
    size = sum(len(name) + len(value.encode()) for name, value in env.items())
    if size > ENV_LIMIT:
        raise ValueError(f"{size:,} bytes of names and values, more than {ENV_LIMIT:,}")
    return env


PlainName = Annotated[EnvName, AfterValidator(_settable)]
PlainValue = Annotated[str, BeforeValidator(_one_line)]
PlainEnv = Annotated[
    dict[PlainName, PlainValue],
    AfterValidator(_bounded),
    Field(json_schema_extra={"additionalProperties": False}),  # as the reader, which takes no name of another form
]


class Written(BaseModel):
    """What a person writes: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(BaseModel):
    """What fanin writes and other tools read: immutable, unknown fields kept."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Status(StrEnum):
    """The four stored states of a task; *ready* and *blocked* are computed, never stored."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class Standing(StrEnum):
    """How a task stands by itself, its dependencies left aside."""

    OPEN = "open"  # it may run as soon as its dependencies are completed
    COMPLETED = "completed"
    STUCK = "stuck"  # failed for good, skipped or held: it will not run and satisfies nobody


class AgentSettings(Written):
    """Which agent runs: a preset's name, or any command as an argv list.

    `env` names the variables it may see beside the preset's own. `args` are added to a preset's argv. `home`:
    `isolated` gives every attempt an empty home folder, `inherit` the user's own; unset, a preset is isolated on
    GitHub Actions and everything else inherits. `idle_timeout`: seconds without a word after which it is ended.
    """

    preset: str | None = None
    command: tuple[str, ...] | None = None
    model: Annotated[str, StringConstraints(min_length=1)] | None = None
    args: tuple[str, ...] = ()
    max_turns: Annotated[int, Field(ge=1)] | None = None
    env: tuple[EnvName, ...] = ()
    home: Literal["isolated", "inherit"] | None = None
    idle_timeout: Duration | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"preset": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_two(self) -> AgentSettings:
        if (self.preset is None) == (self.command is None):
            raise ValueError("give exactly one of preset or command")
        if self.command is not None and not (self.command and self.command[0]):
            raise ValueError("command needs at least the program's name")
        if self.command is not None and (self.model or self.args or self.max_turns):
            raise ValueError("model, args and max_turns belong to a preset; write them into command yourself")
        return self

    @property
    def name(self) -> str:
        return self.preset or (self.command or ("",))[0]


class TaskFields(Written):
    """What a plan may say of a task.

    `files`: gitignore-style globs the task may change; None = anything not protected, () = nothing.
    `timeout` and `estimate` are seconds.
    """

    id: TaskId
    title: Annotated[str, StringConstraints(min_length=1)]
    prompt: str = ""
    files: tuple[str, ...] | None = None
    depends_on: tuple[str, ...] = ()
    acceptance: tuple[str, ...] = ()
    agent: AgentSettings | None = None
    verify: str | None = None
    timeout: Duration | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = None
    estimate: Duration | None = None
    priority: int = 0
    allow: tuple[str, ...] = ()
    allow_empty: bool = False


class Task(TaskFields):
    """One unit of work for one agent, with its place and its marks in the source.

    `line` is 1-based, `path` the task's own file where the plan is a folder, else "". `source_status` and `skipped`
    are what the source's own marks say; a progress record overrides them. None of the four is part of the task's
    identity.
    """

    line: int = Field(default=1, exclude=True, repr=False)
    path: str = Field(default="", exclude=True, repr=False)
    source_status: Status = Field(default=Status.PENDING, exclude=True, repr=False)
    skipped: bool = Field(default=False, exclude=True, repr=False)

    @property
    def digest(self) -> str:
        """Identity of the task's text: a result made for another text must not land (DESIGN, State)."""
        return digest_of(self.model_dump(mode="json"))


# A plan of issues has no place of a person's choosing, since `fanin collect` writes it, and may stand beside another.
ISSUES, ISSUES_PATH, ISSUES_PROGRESS = "github-issues", ".fanin/issues.json", ".fanin/issues-progress.json"


class PlanSettings(Written):
    """Which plan: its file or folder, the format (None: it is detected) and what that format lets one choose.

    `ignore_dangling` drops dependencies on tasks that are not in the plan; otherwise they are errors.
    """

    path: str = "tasks.yml"
    source: str | None = None
    options: dict[str, str] = {}
    ignore_dangling: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if isinstance(value, dict) and value.get("source") == ISSUES:
            return {"path": ISSUES_PATH, **value}
        return {"path": value} if isinstance(value, str) else value

    def __str__(self) -> str:
        return self.path

    @property
    def of_issues(self) -> bool:
        """Whether GitHub issues are the plan."""
        return self.source == ISSUES or self.path == ISSUES_PATH


class Plan(BaseModel):
    """A parsed plan: its tasks in file order and what the reader should be told about the reading.

    `source` and `options` are what read it, and so what writes it back.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    path: str
    source: str
    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()
    options: dict[str, str] = {}

    def task(self, task_id: str) -> Task | None:
        return next((task for task in self.tasks if task.id == task_id), None)


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


# A person ended it, a rate limit did, it never ran here, its key was missing or refused, or the branch was red before:
# none of that is the task's fault (DESIGN, State).
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


class Brought(Document):
    """What a dependency brought, for the prompt of those that build on it: its summary and its changed paths."""

    id: str
    title: Text
    summary: Text | None = None
    changed: tuple[Text, ...] = ()


class BatchEntry(Document):
    """A task frozen for one attempt: legs and fan-in read this and never decide from the plan again."""

    index: int
    task: Task
    task_digest: str
    attempt: int
    agent: AgentSettings
    timeout: float
    verify: str | None = None
    previous: Failure | None = None
    brought: tuple[Brought, ...] = ()
    reserved_usd: float | None = None  # this attempt's share of max_cost_usd

    @property
    def folder(self) -> str:
        """The entry's result folder; ids may hold `/` or `:`, so the index names it."""
        return f"{self.index:03d}"


class Limits(Written):
    """Bounds of one task's change, and of a run."""

    files: Annotated[int, Field(ge=1)] = 100
    size: Size = 4 * 2**20
    max_cost_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_rounds: Annotated[int, Field(ge=1)] = 100


class Manifest(Document):
    """The batch manifest: everything `task`, `verify` and `merge` need, sealed by `digest`.

    `plan` names the format too: nobody detects it a second time. `env` are plain variables of agent and verify.
    `retry` are ids that a person asked to try again; the fan-in grants the attempt in its commit.
    """

    version: Literal[1] = 1
    run: str
    round: int
    base: str
    plan: PlanSettings
    progress: str
    branch: str
    commit_strategy: Literal["batch", "individual"]
    protected: tuple[str, ...]
    never: tuple[str, ...]
    limits: Limits
    scope: Literal["fail", "warn"] = "fail"
    verify: str | None = None
    verify_retries: int = 1
    verify_timeout: float = 1800.0
    max_attempts: int = 3
    retry: tuple[str, ...] = ()
    prompt_template: str | None = None
    env: dict[str, str] = {}
    entries: tuple[BatchEntry, ...]

    @property
    def batch(self) -> str:
        return f"{self.run}.{self.round}"

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json"))


class Result(Document):
    """What one attempt left, as written in `result.json` of its folder.

    `run_attempt` is GitHub's: which run of the same job this was; 1 on one machine.
    `tree` is the git tree the attempt made and `pack` the file beside it with the objects the base lacks;
    both are None when nothing changed or the attempt failed before its work was captured. A failed attempt
    may still carry its work, so that it can be kept.
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
    tree: Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")] | None = None
    pack: Literal["change.pack"] | None = None

    @model_validator(mode="after")
    def _either_or(self) -> Result:
        if self.succeeded == (self.failure is not None):
            raise ValueError("a result either succeeded or has a failure")
        if (self.tree is None) != (self.pack is None):
            raise ValueError("a tree comes with the pack of its objects")
        return self


class Verdict(Document):
    """What `verify` found, bound to what it looked at: the head, the batch, and the tree that is green.

    `failed` are the tasks to send back; `tree` is the head with all others in, before progress and marks.
    """

    version: Literal[1] = 1
    batch: str
    manifest: str
    head: str
    tree: str
    failed: dict[str, Failure] = {}


def digest_of(value: Any) -> str:
    """sha256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
