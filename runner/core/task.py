"""A task, a plan of them, and the settings that a plan may give a task: its agent,
where the plan is.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from runner.core.documents import Duration, TaskId, UserDocument, digest_of
from runner.core.variables import EnvName


class Status(StrEnum):
    """The four stored states of a task; *ready* and *blocked* are computed, never
    stored.
    """

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class Standing(StrEnum):
    """How a task stands by itself, its dependencies left aside."""

    OPEN = "open"  # it may run as soon as its dependencies are completed
    COMPLETED = "completed"
    # failed for good, skipped or held: it will not run and satisfies nobody
    STUCK = "stuck"


class AgentSettings(UserDocument):
    """Which agent runs: a preset's name, or any command as an argv list.

    `env` names the variables it may see beside the preset's own. `args` are added to a
    preset's argv. `home`: `isolated` gives every attempt an empty home folder,
    `inherit` the user's own; unset, a preset is isolated on GitHub Actions and
    everything else inherits. `idle_timeout`: seconds without a word after which it is
    ended.
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
            raise ValueError("give exactly one of preset and command")
        if self.command is not None and not (self.command and self.command[0]):
            raise ValueError("command is empty; write at least the program's name")
        if self.command is not None and (self.model or self.args or self.max_turns):
            raise ValueError(
                "model, args and max_turns need a preset; with command, write them into it"
            )
        return self

    @property
    def name(self) -> str:
        return self.preset or (self.command or ("",))[0]


class TaskFields(UserDocument):
    """What a plan may say of a task.

    `files`: gitignore-style globs the task may change; None = anything not protected,
    () = nothing. `timeout` and `estimate` are seconds.
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

    `line` is 1-based, `path` the task's own file where the plan is a folder, else "".
    `source_status` and `skipped` are what the source's own marks say; a progress record
    overrides them. None of the four is part of the task's identity.
    """

    line: int = Field(default=1, exclude=True, repr=False)
    path: str = Field(default="", exclude=True, repr=False)
    source_status: Status = Field(default=Status.PENDING, exclude=True, repr=False)
    skipped: bool = Field(default=False, exclude=True, repr=False)

    @property
    def digest(self) -> str:
        """Identity of the task's text: a result made for another text must not land
        (DESIGN, State).
        """
        return digest_of(self.model_dump(mode="json"))


# A plan of issues has no place of a person's choosing, since `fanin collect` writes it,
# and may stand beside another.
ISSUES, ISSUES_PATH, ISSUES_PROGRESS = (
    "github-issues",
    ".fanin/issues.json",
    ".fanin/issues-progress.json",
)


class PlanSettings(UserDocument):
    """Which plan: its file or folder, the format (None: it is detected) and what that
    format lets one choose.

    `ignore_dangling` drops dependencies on tasks that are not in the plan; otherwise
    they are errors.
    """

    path: str = "tasks.yml"
    source: str | None = None
    options: dict[str, str] = Field(default_factory=dict)
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
    """A parsed plan: its tasks in file order and what the reader should be told about
    the reading.

    `source` and `options` are what read it, and so what writes it back.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    path: str
    source: str
    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()
    options: dict[str, str] = Field(default_factory=dict)

    def task(self, task_id: str) -> Task | None:
        return next((task for task in self.tasks if task.id == task_id), None)
