"""The batch manifest: the tasks of one batch, frozen with all that its jobs need."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
)

from runner.core.documents import Document, Size, Text, UserDocument, digest_of
from runner.core.result import Failure
from runner.core.task import AgentSettings, PlanSettings, Task


class Brought(Document):
    """What a dependency brought, for the prompt of those that build on it: its summary
    and its changed paths.
    """

    id: str
    title: Text
    summary: Text | None = None
    changed: tuple[Text, ...] = ()


class BatchEntry(Document):
    """A task frozen for one attempt: legs and fan-in read this and never decide from
    the plan again.
    """

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


class Limits(UserDocument):
    """Bounds of one task's change, and of a run."""

    files: Annotated[int, Field(ge=1)] = 100
    size: Size = 4 * 2**20
    max_cost_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_rounds: Annotated[int, Field(ge=1)] = 100


class Manifest(Document):
    """The batch manifest: everything `task`, `verify` and `merge` need, sealed by
    `digest`.

    `plan` names the format too: nobody detects it a second time. `env` are plain
    variables of agent and verify. `retry` are ids that a person asked to try again; the
    fan-in grants the attempt in its commit.
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
    env: dict[str, str] = Field(default_factory=dict)
    entries: tuple[BatchEntry, ...]

    @property
    def batch(self) -> str:
        return f"{self.run}.{self.round}"

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json"))
