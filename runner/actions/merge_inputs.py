"""What job `merge` is given: the batch, its results, the branch and how to land on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner.actions import masked_values
from runner.actions.batch_choice import ChoiceOptions
from runner.actions.masked_values import MaskedValues, set_outputs
from runner.core.result_folder import RefuseSeal, accept_any_seal
from runner.policy.redaction import NONE, Secrets

if TYPE_CHECKING:
    from runner.actions.round_state import RoundState
    from runner.actions.workflow_io import JobIO, WorkflowContext
    from runner.core.manifest import Manifest
    from runner.github_api.client import GitHub
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository


@dataclass(frozen=True)
class MergeOptions:
    """Options of job `merge`.

    `task_result`, `verify_result`: how GitHub says these jobs ended. `commit_via`: git
    or api. `last`: whether no second verification follows. `secrets`: searched for in
    the results. `refuse_seal`: refuses results that another job made. `masked`: what no
    output may contain. `events`: the file for its events. `chooses`: whether the next
    batch is chosen here, as `choice` says. `environ`: the job's environment.
    """

    choice: ChoiceOptions
    chooses: bool = False
    verdict: Path | None = None
    task_result: str = "success"
    verify_result: str = "success"
    commit_via: str = "git"
    last: bool = True
    secrets: Secrets = NONE
    refuse_seal: RefuseSeal = accept_any_seal
    masked: MaskedValues = masked_values.NONE
    events: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled, or a leg ran into GitHub's time limit.

        GitHub gives both the same result. Job `continue` does not start after a cancel,
        so that choosing is left to the run that it starts.
        """
        return "cancelled" in {self.task_result, self.verify_result}

    @property
    def api_wait_seconds(self) -> float:
        """How long to wait for GitHub's API, in all.

        GitHub ends every job five minutes after a cancel.
        """
        return 60.0 if self.cancelled else 600.0


class MergeInputs(NamedTuple):
    """The batch and what job `merge` works with.

    `results` is the folder that the artifacts of the task jobs were downloaded to,
    `state` that of the run before this round.
    """

    repo: Repository
    manifest: Manifest
    results: Path
    state: RoundState
    remote: Remote
    github: GitHub
    context: WorkflowContext
    job_io: JobIO
    options: MergeOptions

    def set_outputs(self, values: Mapping[str, str]) -> bool:
        """Set outputs of the job; see `masked_values.set_outputs`."""
        return set_outputs(values, self.job_io, self.options.masked)
