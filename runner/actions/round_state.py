"""What a round hands to the next (`fanin-state`), and what the jobs of a round share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

from runner.actions.workflow_io import WorkflowContext
from runner.core.documents import Document
from runner.core.errors import UsageProblem
from runner.core.manifest import Manifest
from runner.schedule.backoff import Backoff
from runner.schedule.budget import Budget

if TYPE_CHECKING:
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository


# What a person may choose in the UI and every later round must keep; sent along by
# `continue`.
CARRIED = (
    "plan",
    "source",
    "ignore_dangling",
    "parallel",
    "max_concurrent",
    "commit_strategy",
    "max_attempts",
    "timeout",
    "verify",
    "agent",
    "agent_command",
    "env",
    "max_cost_usd",
    "max_rounds",
    "progress",
)


class RoundState(Document):
    """`fanin-state`, the one machine input of the caller's workflow: what a round hands
    to the next.
    """

    run: str
    round: int = 1
    branch: str | None = None
    pull_request: int | None = None
    inputs: dict[str, str] = Field(default_factory=dict)
    # what `collect` was asked for in the first round
    issues: dict[str, str] = Field(default_factory=dict)
    spent_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    dearest_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    # agents at once, while a rate limit lowers it
    slots: Annotated[int, Field(ge=1)] | None = None
    limited: Annotated[int, Field(ge=0)] = 0  # rounds in a row that met a rate limit

    def budget(self, limit: float | None) -> Budget:
        return Budget(limit, self.spent_usd, self.dearest_usd)

    def pace(self, most: int) -> Backoff:
        return Backoff(most, min(most, self.slots or most), self.limited)


def round_state(text: str, context: WorkflowContext) -> RoundState:
    """The state that the round before handed on, or that of a new run. UsageProblem if
    it is not readable.
    """
    if not text.strip():
        return RoundState(run=context.run_id, pull_request=context.pull_request)
    try:
        state = RoundState.model_validate_json(text)
    except ValidationError as error:
        raise UsageProblem(
            f"fanin-state is not what the round before wrote: {error.errors()[0]['msg']}",
            "leave this input empty; fanin fills it in",
        ) from None
    if set(state.inputs) - set(CARRIED) or not re.fullmatch(
        r"[0-9A-Za-z-]{1,64}", state.run
    ):
        raise UsageProblem(
            "fanin-state holds what no round writes",
            "leave this input empty; fanin fills it in",
        )
    return state


def carried(environ: Mapping[str, str], state: RoundState) -> dict[str, str]:
    """The inputs that count: those of the run's first round."""
    if state.inputs:
        return dict(state.inputs)
    return {
        name: environ[f"FANIN_{name.upper()}"]
        for name in CARRIED
        if environ.get(f"FANIN_{name.upper()}")
    }


def with_inputs(
    environ: Mapping[str, str], inputs: Mapping[str, str]
) -> dict[str, str]:
    """The environment as if the inputs that count had been given to this job."""
    return {
        **environ,
        **{f"FANIN_{name.upper()}": value for name, value in inputs.items()},
    }


def read_manifest(path: Path, digest: str) -> Manifest:
    """The batch manifest, checked against the digest that job `next` gave. UsageProblem
    if it is another one.
    """
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageProblem(
            f"there is no batch manifest at {path}", "job  next  must have run before"
        ) from None
    except ValidationError as error:
        raise UsageProblem(
            f"{path} is no batch manifest: {error.errors()[0]['msg']}",
            "run the workflow anew",
        ) from None
    if digest and manifest.digest != digest:
        raise UsageProblem(
            "the batch manifest does not belong to this run",
            "run the workflow anew, all jobs of it",
        )
    return manifest


def fetch(repo: Repository, manifest: Manifest, remote: Remote, branch: str) -> str:
    """Bring the branch's head and the batch's base here; the head's id."""
    head = remote.fetch(branch)
    if repo.commit(manifest.base) is None:
        remote.fetch(manifest.base)
    return head


def views_of(snapshot: Snapshot, max_attempts: int) -> list[TaskView]:
    from runner.plan import view

    return view.views(snapshot.plan, snapshot.graph, snapshot.progress, max_attempts)
