"""The landing of one batch in job `merge`: merged on the branch's head, pushed, and merged
again if the branch has moved.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from runner import pipeline
from runner.actions import open_run, publisher
from runner.actions.earlier_results import uploaded_entries
from runner.actions.held_batch import hold_batch
from runner.actions.kept_work import KeptWorkRefs
from runner.actions.merge_report import LandedBatch, MergeReport
from runner.actions.replay import replay
from runner.actions.round_state import landing_head
from runner.actions.verify_job import read_verdict
from runner.core import result_folder
from runner.core.errors import EnvironmentBroken, FaninError, UsageProblem
from runner.core.manifest import BatchEntry
from runner.core.result import Failure, FailureKind, Verdict
from runner.core.result_folder import Checks
from runner.delivery.choice import HELD_PREFIX
from runner.fan_in.inputs import BatchResults, RecordedVerdict, Verification

if TYPE_CHECKING:
    from runner.actions.merge_inputs import MergeInputs
    from runner.actions.open_run import RunAtHead
    from runner.actions.publisher import Publisher
    from runner.fan_in.outcome import FanIn
    from runner.plan.records import RunRecord

_QUIET_BRANCH = "re-run this job when the branch is quiet"


class BatchLanding:
    """Merges the results of one batch on the branch's head, and pushes them."""

    def __init__(self, job: MergeInputs, publisher: Publisher) -> None:
        self._job, self._publisher = job, publisher
        self._kept_work = KeptWorkRefs(job.remote, job.job_io)

    def land(self) -> LandedBatch:
        fan_in: FanIn | None = None
        for _ in range(publisher.TRIES):
            head = self.head()
            fan_in = self._replay(fan_in, head) or self._merge(head)
            if not fan_in.commits:
                return self._landed(fan_in)
            # First, because the progress names it.
            self._kept_work.push(fan_in)
            self._publisher.start_own_branch(head)
            update = self._publisher.put(fan_in.commits, head)
            if update.landed:
                self._kept_work.drop_completed(
                    self._job.manifest, fan_in, self._branches_of_run
                )
                self._record_changes(fan_in, head, update.commit)
                return self._landed(fan_in, update.commit)
            if update.refused:
                self._publisher.switch_branch(update)
        raise EnvironmentBroken(
            f"{self._publisher.branch} moved {publisher.TRIES} times while the batch was merged",
            f"nothing is lost: {_QUIET_BRANCH}",
        )

    def hold(self, reason: str) -> LandedBatch:
        """Hold the batch on a branch of its own until a person merges it.

        Used when the branch moved during both verifications. The branch first records
        that the tasks are held. The held branch builds on that commit, so that its pull
        request merges without conflict and completes the tasks.
        """
        held_branch = f"{HELD_PREFIX}{self._job.manifest.batch}"
        verdict = self.verdict()
        for _ in range(publisher.TRIES):
            head = self.head()
            note, held = hold_batch(
                self._job.repo,
                self._batch_results(),
                head,
                held_branch=held_branch,
                failures=verdict.failed if verdict else {},
            )
            self._kept_work.push(note)
            self._publisher.start_own_branch(head)
            push = self._publisher.put_with_branch(
                note.commits, head, held_branch, held.commits
            )
            if push.landed:
                self._publisher.pull_requests[held_branch] = self._publisher.branch
                return self._landed(note, push.commit)
        raise EnvironmentBroken(
            reason, f"{_QUIET_BRANCH}; the results are kept as artifacts"
        )

    def verdict(self) -> Verdict | None:
        if self._job.manifest.verify is None or self._job.options.verdict is None:
            return None
        return read_verdict(self._job.options.verdict, self._job.manifest)

    def head(self) -> str:
        """The commit to merge the batch on, fetched."""
        return landing_head(
            self._job.repo,
            self._job.manifest,
            self._job.remote,
            self._job.state,
            self._publisher.branch,
        )

    def report(self, batch: LandedBatch) -> MergeReport:
        return MergeReport(
            self._job.manifest,
            self._job.state,
            batch,
            github_run=self._job.context.run_id,
            run_attempt=self._job.context.run_attempt,
            now=self._reported_at,
        )

    def _landed(self, fan_in: FanIn, commit: str | None = None) -> LandedBatch:
        """The batch as it landed; `commit` is the one that GitHub made, if it did."""
        return LandedBatch(
            self._publisher.branch,
            fan_in,
            self._run_at(fan_in.head),
            dict(self._publisher.pull_requests),
            commit,
        )

    def _record_changes(self, fan_in: FanIn, head: str, commit: str | None) -> None:
        """Push what each task has changed where the commits do not say it. `commit` is
        the one that GitHub made of them, if it did.
        """
        from runner.fan_in.landed_changes import landing_commit

        if fan_in.snapshot is None:
            return
        record = landing_commit(
            self._job.repo,
            [(self._job.manifest, self._job.results, fan_in)],
            fan_in.snapshot.progress,
            head,
            fan_in.tip,
        )
        if record is not None:
            self._kept_work.push_record(record, [commit] if commit else fan_in.commits)

    def _replay(self, fan_in: FanIn | None, head: str) -> FanIn | None:
        # Much faster than merging again, so that the push can win on a busy branch.
        if fan_in is None:
            return None
        return replay(self._job.repo, self._job.manifest, fan_in, head)

    def _merge(self, head: str) -> FanIn:
        self._refuse_missing_results(head)
        return pipeline.merge_batch(
            self._job.repo,
            self._batch_results(),
            head,
            verification=self._verification(head),
        )

    def _verification(self, head: str) -> Verification | None:
        """The recorded verdict, None if the batch need not be verified.

        Fetches the commit that it is about if the branch has moved to `head` since: it
        may hold all the same. A commit that cannot be fetched voids it.
        """
        verdict = self.verdict()
        if verdict is None:
            return None
        if verdict.head != head and self._job.repo.commit(verdict.head) is None:
            with contextlib.suppress(FaninError):
                self._job.remote.fetch(verdict.head)
        return RecordedVerdict(verdict)

    def _batch_results(self) -> BatchResults:
        return BatchResults(
            self._job.manifest,
            self._job.results,
            missing=self._missing_result(),
            secrets=self._job.options.secrets,
            record_run=self._record_run,
            checks=self._checks,
            pushes_kept=True,
        )

    @property
    def _checks(self) -> Checks:
        return Checks(refuse_seal=self._job.options.refuse_seal, are_artifacts=True)

    def _missing_result(self) -> Failure:
        """The failure of a task whose job left no result.

        It counts as an attempt, unless a person cancelled the run.
        """
        if self._job.options.task_result == "cancelled":
            return Failure(
                kind=FailureKind.INTERRUPTED, message="the run was cancelled"
            )
        return Failure(kind=FailureKind.NO_RESULT, message="the job left no result")

    def _record_run(self, fan_in: FanIn) -> RunRecord:
        """The run as it is once this batch has landed."""
        batch = LandedBatch(self._publisher.branch, fan_in, self._run_at(fan_in.head))
        return self.report(batch).run_record()

    def _run_at(self, head: str) -> RunAtHead:
        """The batch's run as the commit `head` knows it."""
        return open_run.run_at_head(
            self._job.state, self._recorded_at_base, self._recorded_at(head)
        )

    @cached_property
    def _recorded_at_base(self) -> RunRecord | None:
        return self._recorded_at(self._job.manifest.base)

    def _recorded_at(self, commit: str) -> RunRecord | None:
        from runner.plan.snapshot import read_progress

        manifest = self._job.manifest
        return read_progress(
            self._job.repo, commit, manifest.plan, manifest.progress
        ).run

    @cached_property
    def _reported_at(self) -> datetime:
        """One time for all reports: what is recorded before the landing and what the job's
        outputs say after it must name the same end of a usage limit.
        """
        return datetime.now(UTC)

    @property
    def _branches_of_run(self) -> set[str]:
        """The branches that the run has worked on: one that refuses pushes, and its own."""
        own = {self._job.manifest.branch, self._publisher.branch}
        refusing = {
            base for head, base in self._job.state.pull_requests.items() if head in own
        }
        return own | refusing

    def _refuse_missing_results(self, head: str) -> None:
        """Raise UsageProblem if results are not where they must be.

        A job that succeeded, or uploaded an artifact, has left one, so that the workflow
        did not download it. It must not count as an attempt. A re-run leaves out what
        is recorded already.
        """
        from runner.plan.progress import stale_reason
        from runner.plan.snapshot import read_progress

        manifest = self._job.manifest
        readings = result_folder.read_batch(self._job.results, manifest, self._checks)
        missing = [reading.entry for reading in readings if not reading.started]
        reason = "every task job succeeded"
        if self._job.options.task_result != "success":
            missing = self._uploaded(missing)
            reason = "the run has such an artifact"
        if not missing:
            return
        recorded = read_progress(self._job.repo, head, manifest.plan, manifest.progress)
        task_ids = [
            entry.task.id
            for entry in missing
            if stale_reason(recorded, entry.task, entry.task_digest, entry.attempt)
            is None
        ]
        if task_ids:
            raise UsageProblem(
                f"{self._job.results} has no result of {', '.join(task_ids)}, "
                f"although {reason}",
                f"download all artifacts  fanin-{manifest.batch}-*  there, each into a "
                "folder of its own (without merge-multiple)",
            )

    def _uploaded(self, missing: Sequence[BatchEntry]) -> list[BatchEntry]:
        """The missing entries whose results the run has as artifacts.

        GitHub is not asked where artifacts have folders of their own: then the download
        works. If it does not answer, nothing is known of the entries.
        """
        if not missing or result_folder.has_folders_of_artifacts(self._job.results):
            return []
        try:
            artifacts = self._job.github.artifacts(self._job.context.run_id)
        except FaninError:
            return []
        return uploaded_entries(artifacts, self._job.manifest.batch, missing)
