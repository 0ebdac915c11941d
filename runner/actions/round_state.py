"""The state that a round hands on to the next (`fanin-state`) and its jobs share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

from runner.actions.workflow_io import WorkflowContext
from runner.config.settings_table import SETTINGS
from runner.core.documents import Document
from runner.core.errors import UsageProblem
from runner.core.limits import Limits
from runner.core.manifest import Manifest
from runner.core.plurals import pluralize
from runner.core.result import RecordedLimit
from runner.schedule.backoff import Backoff
from runner.schedule.budget import Budget
from runner.schedule.task_choice import TasksForPerson

if TYPE_CHECKING:
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository


# The output `waiting` where no time helps, but a person's approval or answer.
WAITS_FOR_APPROVAL, WAITS_FOR_ANSWER = "approval", "answer"
# The settings that every later round keeps as the first round had them.
CARRIED = tuple(setting.name for setting in SETTINGS if setting.handed_on)
# How many rounds a run remembers as merged: about 20 bytes each of the state and of the
# progress file. GitHub deletes the results of older ones after a week.
MERGED_ROUNDS = 50
_LEAVE_EMPTY = "leave this input empty; fanin fills it in"


class RoundState(Document):
    """`fanin-state`, the one input of the caller's workflow that fanin writes.

    `inputs` are those of the run's first round, by setting name. `issues` are the
    options of `collect` in the first round. `pull_requests` are those of the run's own
    branches: branch → where it goes. `delivery` is the run's own branch, if its work goes
    to the base by a pull request; nothing is there before the first landing. `merged`
    has the latest rounds whose results are in `spent_usd`: `RUN.ROUND` → GitHub's run
    attempt that merged them. `slots` limits the agents at once after a rate limit;
    `limited` counts the rounds in a row that met one. `limits` are usage limits, by
    agent.
    """

    run: str
    round: int = 1
    branch: str | None = None
    pull_request: int | None = None
    inputs: dict[str, str] = Field(default_factory=dict)
    issues: dict[str, str] = Field(default_factory=dict)
    pull_requests: dict[str, str] = Field(default_factory=dict)
    delivery: str | None = None
    spent_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    dearest_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    merged: dict[str, int] = Field(default_factory=dict)
    slots: Annotated[int, Field(ge=1)] | None = None
    limited: Annotated[int, Field(ge=0)] = 0
    limits: dict[str, RecordedLimit] = Field(default_factory=dict)

    def budget(self, max_cost_usd: float | None) -> Budget:
        """The run's budget so far."""
        return Budget(max_cost_usd, self.spent_usd, self.dearest_usd)

    def backoff(self, max_agents: int) -> Backoff:
        """The run's backoff so far, for at most `max_agents` agents at once."""
        return Backoff(
            max_agents, min(max_agents, self.slots or max_agents), self.limited
        )

    def merged_by(self, github_run: str, round_: int) -> int:
        """The run attempt that merged the round last; 0 if none did.

        `github_run` is the run of the workflow that has the round's jobs, which may be
        a later one than `run`.
        """
        return self.merged.get(f"{github_run}.{round_}", 0)

    def with_merged(
        self, github_run: str, round_: int, run_attempt: int
    ) -> dict[str, int]:
        """`merged` once the results of the round are paid for too."""
        name = f"{github_run}.{round_}"
        merged = {other: last for other, last in self.merged.items() if other != name}
        merged[name] = run_attempt
        return dict(list(merged.items())[-MERGED_ROUNDS:])

    def next_round(self, branch: str) -> RoundState:
        """The state of the round after this one, which works on `branch`."""
        return self.model_copy(update={"round": self.round + 1, "branch": branch})


def limit_reached(state: RoundState, limits: Limits) -> str | None:
    """Which limit lets no round follow this one, as a sentence; None if none does."""
    if state.round >= limits.max_rounds:
        return f"limits.max_rounds allows {pluralize(limits.max_rounds, 'round')}"
    if limits.max_cost_usd is not None and state.spent_usd >= limits.max_cost_usd:
        return (
            f"${state.spent_usd:.2f} spent, "
            f"limits.max_cost_usd is ${limits.max_cost_usd:.2f}"
        )
    return None


def round_state(text: str, context: WorkflowContext) -> RoundState:
    """Parse the state that the previous round handed on; "" starts a new run.

    For the first job of a round. Raises UsageProblem if no round can have written it.
    """
    if not text.strip():
        return RoundState(run=context.run_id, pull_request=context.pull_request)
    return handed_over(text)


def handed_over(text: str, manifest: Manifest | None = None) -> RoundState:
    """Parse the state that an earlier job handed on.

    Raises UsageProblem if it is missing, if no job can have written it, and if it
    belongs to another round than `manifest`.
    """
    state = _parse(text)
    if manifest is not None and (state.run, state.round) != (
        manifest.run,
        manifest.round,
    ):
        raise UsageProblem(
            f"the state is of round {state.round} of run {state.run}, but the batch "
            f"manifest of round {manifest.round} of run {manifest.run}",
            "hand on the output state of job  next",
        )
    return state


def rounds_done(state: RoundState, limits: Limits) -> str | None:
    """Why the round `state` may not start: the run has had all its rounds."""
    if state.round <= limits.max_rounds:
        return None
    return f"run {state.run} has had its limits.max_rounds = {limits.max_rounds} rounds"


def _parse(text: str) -> RoundState:
    if not text.strip():
        raise UsageProblem(
            "the state of the run is missing, and without it the limits are lost",
            "GitHub drops an output that contains a secret: look for  Skip output  in "
            "the log of the job before, and run the workflow again",
        )
    try:
        state = RoundState.model_validate_json(text)
    except ValidationError as error:
        raise UsageProblem(
            f"fanin-state was not written by a previous round: {error.errors()[0]['msg']}",
            _LEAVE_EMPTY,
        ) from None
    if not set(state.inputs) <= set(CARRIED):
        names = ", ".join(sorted(set(state.inputs) - set(CARRIED)))
        raise UsageProblem(
            f"fanin-state was not written by a previous round: it sets {names}",
            _LEAVE_EMPTY,
        )
    # The id becomes part of a branch's name.
    if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", state.run):
        raise UsageProblem(
            f"fanin-state was not written by a previous round: its run is {state.run!r}",
            _LEAVE_EMPTY,
        )
    return state


def first_round_inputs(environ: Mapping[str, str], state: RoundState) -> dict[str, str]:
    """The inputs of the run's first round, by setting name."""
    if state.inputs:
        return dict(state.inputs)
    inputs = {}
    for name in CARRIED:
        value = environ.get(_variable(name))
        if value:
            inputs[name] = value
    return inputs


def with_inputs(
    environ: Mapping[str, str], inputs: Mapping[str, str]
) -> dict[str, str]:
    """The environment as if `inputs` had been given to this job."""
    variables = {_variable(name): value for name, value in inputs.items()}
    return {**environ, **variables}


def _variable(name: str) -> str:
    return f"FANIN_{name.upper()}"


def read_manifest(path: Path, digest: str) -> Manifest:
    """Read the batch manifest and check it against the digest of job `next`.

    Raises UsageProblem if there is none, it is invalid, or the digests differ.
    """
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageProblem(
            f"there is no batch manifest at {path}", "run job  next  first"
        ) from None
    except ValidationError as error:
        raise UsageProblem(
            f"{path} is not a valid batch manifest: {error.errors()[0]['msg']}",
            "run the workflow again from the start",
        ) from None
    if digest and manifest.digest != digest:
        raise UsageProblem(
            "the batch manifest belongs to another run",
            "run the workflow again from the start, with all its jobs",
        )
    return manifest


def landing_branch(state: RoundState, manifest: Manifest, remote: Remote) -> str:
    """The branch that the batch lands on: a run's own one as soon as it is there."""
    branch = state.branch or manifest.branch
    own = state.delivery
    if own not in {None, branch} and own in remote.branches(own):
        return own
    return branch


def landing_head(
    repo: Repository, manifest: Manifest, remote: Remote, state: RoundState, branch: str
) -> str:
    """Fetch and return the commit to merge the batch on: the branch's head, or the
    batch's base where a run's own branch begins.

    What has landed on the base since is taken in before the next round.
    """
    if state.delivery in {None, branch}:
        return fetch_branch(repo, manifest, remote, branch)
    if repo.commit(manifest.base) is None:
        remote.fetch(manifest.base)
    return manifest.base


def fetch_branch(
    repo: Repository, manifest: Manifest, remote: Remote, branch: str
) -> str:
    """Fetch the branch and the batch's base; return the branch's head commit."""
    head = remote.fetch(branch)
    # The checkout is shallow, and the branch may have moved past the base.
    if repo.commit(manifest.base) is None:
        remote.fetch(manifest.base)
    return head


def views_of(snapshot: Snapshot, max_attempts: int) -> list[TaskView]:
    """The state of every task, in plan order."""
    from runner.plan import view

    return view.views(snapshot.plan, snapshot.graph, snapshot.progress, max_attempts)


def tasks_for_person(views: Sequence[TaskView]) -> TasksForPerson:
    """The tasks that wait for a person and nothing else."""
    gated = [view.task.id for view in views if view.state == "gated"]
    asking = [view.task.id for view in views if view.state == "asking"]
    return TasksForPerson(tuple(gated), tuple(asking))


def waiting_output(tasks: TasksForPerson) -> str:
    """The output `waiting` of a run in which only these tasks are left; "" for none."""
    parts = []
    if tasks.asking:
        parts.append(WAITS_FOR_ANSWER)
    if tasks.gated:
        parts.append(WAITS_FOR_APPROVAL)
    return ",".join(parts)
