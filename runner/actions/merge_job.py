"""Job `merge`: merges a batch's results and lands them.

The only job that may write to the repository. It runs no agent and no code of the
repository.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner import pipeline
from runner.actions import publisher
from runner.actions.merge_report import LandedBatch, MergeReport
from runner.actions.round_state import RoundState, fetch_branch
from runner.actions.verify_job import read_verdict
from runner.actions.workflow_io import JobIO, WorkflowContext
from runner.core.errors import EXIT_DONE, EnvironmentBroken, VerdictOutdated
from runner.core.manifest import Manifest
from runner.core.result import Failure, FailureKind, Verdict
from runner.fan_in.inputs import (
    BatchResults,
    RecordedVerdict,
    SendBack,
    Verification,
)
from runner.policy.redaction import NONE, Secrets

if TYPE_CHECKING:
    from runner.fan_in.batch_merge import FanIn
    from runner.github_api.client import GitHub
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository

_HELD_BODY = (
    "The branch moved twice while this was verified. "
    "Merging it completes the tasks in it."
)
_QUIET_BRANCH = "re-run this job when the branch is quiet"


@dataclass(frozen=True)
class MergeOptions:
    """Options of job `merge`.

    `task_result`: how GitHub says the task jobs ended, together. `commit_via`: git or
    api. `last`: whether no second verification follows. `secrets`: searched for in the
    results.
    """

    verdict: Path | None = None
    task_result: str = "success"
    commit_via: str = "git"
    last: bool = True
    secrets: Secrets = NONE


class MergeJob:
    """Merges the results of one batch on the branch's head, and publishes them."""

    def __init__(
        self,
        repo: Repository,
        manifest: Manifest,
        results: Path,
        state: RoundState,
        remote: Remote,
        github: GitHub,
        context: WorkflowContext,
        job_io: JobIO,
        options: MergeOptions,
    ) -> None:
        self.repo = repo
        self.manifest = manifest
        self.results = results
        self.state = state
        self.remote = remote
        self.github = github
        self.context = context
        self.job_io = job_io
        self.options = options
        self.publisher = publisher.Publisher(
            repo,
            remote,
            github,
            job_io,
            run=state.run,
            branch=state.branch or manifest.branch,
            commit_via=options.commit_via,
        )

    @property
    def branch(self) -> str:
        return self.publisher.branch

    def run(self) -> int:
        """Merge, land and report; return the exit code.

        Raises EnvironmentBroken if the branch cannot be pushed to.
        """
        try:
            batch = self._land()
        except VerdictOutdated as error:
            if not self.options.last:
                self.job_io.output({"moved": "true"})
                self.job_io.annotate(
                    "notice",
                    f"{self.branch} moved: the merged tree is verified once more",
                )
                return EXIT_DONE
            batch = self._hold(str(error))
        report = MergeReport(self.manifest, self.state, batch)
        return report.publish(self.context, self.job_io, self.github)

    def _land(self) -> LandedBatch:
        fan_in: FanIn | None = None
        for _ in range(publisher.TRIES):
            head = fetch_branch(self.repo, self.manifest, self.remote, self.branch)
            fan_in = self._replay(fan_in, head) or self._merge(head)
            if not fan_in.commits:
                return LandedBatch(self.branch, fan_in)
            update = self.publisher.put(fan_in.commits, head)
            if update.landed:
                note = self.publisher.open_pull_request_if_switched()
                return LandedBatch(self.branch, fan_in, note)
            if update.refused:
                self.publisher.switch_branch(update)
        raise EnvironmentBroken(
            f"{self.branch} moved {publisher.TRIES} times while the batch was merged",
            f"nothing is lost: {_QUIET_BRANCH}",
        )

    def _replay(self, fan_in: FanIn | None, head: str) -> FanIn | None:
        # Much faster than merging again, so that the push can win on a busy branch.
        if fan_in is None:
            return None
        return pipeline.replay(self.repo, self.manifest, fan_in, head)

    def _merge(self, head: str) -> FanIn:
        return pipeline.merge_batch(
            self.repo, self._batch_results(), head, verification=self._verification()
        )

    def _batch_results(self) -> BatchResults:
        return BatchResults(
            self.manifest,
            self.results,
            missing=self._missing_result(),
            secrets=self.options.secrets,
        )

    def _missing_result(self) -> Failure:
        """The failure of a task whose job left no result.

        It counts as an attempt, unless a person cancelled the run.
        """
        if self.options.task_result == "cancelled":
            return Failure(
                kind=FailureKind.INTERRUPTED, message="the run was cancelled"
            )
        return Failure(kind=FailureKind.NO_RESULT, message="the job left no result")

    def _verdict(self) -> Verdict | None:
        if self.manifest.verify is None or self.options.verdict is None:
            return None
        return read_verdict(self.options.verdict, self.manifest)

    def _verification(self) -> Verification | None:
        """The recorded verdict. Without one, a batch that must be verified is sent
        back.
        """
        if self.manifest.verify is None:
            return None
        verdict = self._verdict()
        if verdict is not None:
            return RecordedVerdict(verdict)
        failure = Failure(
            kind=FailureKind.VERIFY,
            message="not verified: the job  verify  left no verdict",
        )
        return SendBack({entry.task.id: failure for entry in self.manifest.entries})

    def _hold(self, reason: str) -> LandedBatch:
        """Hold the batch on a branch of its own until a person merges it.

        Used when the branch moved during both verifications. The branch first records
        that the tasks are held. The held branch builds on that commit, so that its pull
        request merges without conflict and completes the tasks.
        """
        held_branch = f"fanin/held/{self.manifest.batch}"
        verdict = self._verdict()
        for _ in range(publisher.TRIES):
            head = fetch_branch(self.repo, self.manifest, self.remote, self.branch)
            note, held = pipeline.hold_batch(
                self.repo,
                self._batch_results(),
                head,
                held_branch=held_branch,
                failures=verdict.failed if verdict else {},
            )
            push = self.remote.push(self.branch, note.tip, head)
            if push.refused:
                raise EnvironmentBroken(
                    f"{self.branch} refused the push: {push.text}",
                    "the results are kept as artifacts",
                )
            if push.landed:
                # None: a job that is re-run must not replace a branch that exists.
                self.remote.push(held_branch, held.tip, None)
                pull_request = self.publisher.open_pull_request(
                    held_branch,
                    self.branch,
                    f"Fanin batch {self.manifest.batch}",
                    _HELD_BODY,
                )
                return LandedBatch(self.branch, note, pull_request)
        raise EnvironmentBroken(
            reason, f"{_QUIET_BRANCH}; the results are kept as artifacts"
        )
