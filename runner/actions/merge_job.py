"""Job `merge`: merges a batch's results, lands them and chooses the next batch.

The only job that may write to the repository. It runs no agent and no code of the
repository.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from runner.actions.batch_landing import BatchLanding
from runner.actions.following_round import FollowingRound
from runner.actions.job_events import JobEvents
from runner.actions.merge_report import MergeOutputs
from runner.actions.publisher import Publisher
from runner.actions.pull_request_updates import PullRequestUpdates
from runner.actions.round_state import landing_branch, views_of
from runner.core import result_folder
from runner.core.errors import (
    EXIT_DONE,
    EnvironmentBroken,
    UsageProblem,
    VerdictOutdated,
)
from runner.ui import job_summary

if TYPE_CHECKING:
    from runner.actions.merge_inputs import MergeInputs

# `retention-days` of the artifacts in round.yml and fanin.yml.
RETENTION = timedelta(days=7)


class MergeJob:
    """Merges the results of one batch on the branch's head, and publishes them."""

    def __init__(self, job: MergeInputs) -> None:
        self._job = job
        self._publisher = Publisher(
            job.repo,
            job.remote,
            job.github,
            job.job_io,
            run=job.state.run,
            branch=job.state.branch or job.manifest.branch,
            own_branch=job.state.delivery,
            commit_via=job.options.commit_via,
        )
        self._landing = BatchLanding(job, self._publisher)
        self._events = JobEvents(job.options.events, job.manifest, job.options.secrets)

    def run(self) -> int:
        """Merge, land, report and choose the next batch; return the exit code.

        Raises EnvironmentBroken if the branch cannot be pushed to or there is no
        verdict. What goes wrong in choosing raises too, after all else is done: then
        no output starts another round.
        """
        branch = landing_branch(self._job.state, self._job.manifest, self._job.remote)
        if branch != self._publisher.branch:
            self._publisher.use_own_branch()
        if self._job.manifest.verify is not None and self._landing.verdict() is None:
            if self._verify_was_not_rerun():
                return self._verify_again("job verify was not run again")
            self._report_missing_verdict()
        self._events.merging()
        try:
            batch = self._landing.land()
        except VerdictOutdated as error:
            if not self._job.options.last:
                return self._verify_again(error.message, error.refused)
            batch = self._landing.hold(str(error))
        self._events.landed(batch)
        report = self._landing.report(batch)
        following = FollowingRound(self._job, self._publisher.branch)
        chooses = report.again and following.may_choose(report.next_state)
        # First, since later jobs need them even if this job ends red.
        can_go_on = self._job.set_outputs(
            report.outputs(again=report.again and not chooses)
        )
        exit_code = report.publish(self._job.context, self._job.job_io)
        pull_requests = PullRequestUpdates(self._job, self._publisher)
        pull_requests.tell_people(report)
        if report.again:
            pull_requests.take_in_base(report)
        if chooses and can_go_on:
            try:
                following.choose(report)
            except UsageProblem as error:
                error.heading = "the next round was not chosen, so the run ends here"
                raise
        return exit_code

    def _verify_again(self, reason: str, refused: Sequence[int] = ()) -> int:
        """Leave the batch to a second verification; return the exit code.

        `refused`: entries whose results it must leave out.
        """
        outputs = {"moved": "true"}
        if refused:
            outputs["refused"] = " ".join(map(str, refused))
        self._job.job_io.output(outputs)
        self._job.job_io.annotate(
            "notice", f"{reason}: the merged tree is verified once more"
        )
        return EXIT_DONE

    def _verify_was_not_rerun(self) -> bool:
        """Whether GitHub re-ran this job without job `verify`.

        After a cancel `verify` may be skipped, and a re-run of failed jobs leaves out
        skipped jobs of which all needs are green. The second verification needs this
        job, so it is part of the re-run.
        """
        return (
            self._job.context.run_attempt > 1
            and not self._job.options.last
            and self._job.options.verify_result in {"skipped", "cancelled"}
        )

    def _report_missing_verdict(self) -> None:
        """Report that nothing lands and nothing counts. Raises EnvironmentBroken."""
        from runner.plan.snapshot import read_snapshot

        head, manifest = self._landing.head(), self._job.manifest
        snapshot = read_snapshot(
            self._job.repo, head, manifest.plan, manifest.progress, manifest.task_rules
        )
        outputs = MergeOutputs.of_views(
            views_of(snapshot, manifest.max_attempts),
            again=False,
            commit=None,
            branch=self._publisher.branch,
            state=self._job.state,
        )
        self._job.set_outputs(outputs.as_mapping())
        summary = job_summary.missing_verdict_summary(
            manifest.batch, self._kept_until(), self._job.context.run_url
        )
        self._job.job_io.summary(summary)
        raise EnvironmentBroken(
            f"batch {manifest.batch} is not verified: job verify gave no verdict, "
            "so nothing landed and no attempt counts",
            f"re-run failed jobs before {self._kept_until()}: the results are kept as "
            "artifacts until then, and finished agents do not run again",
        )

    def _kept_until(self) -> str:
        """When GitHub deletes the first of the results; a date such as 2026-01-31."""
        now = datetime.now(UTC)
        first = now
        for attempt in result_folder.attempts(self._job.results):
            # An agent had a shell on the machine that wrote the time.
            with contextlib.suppress(ValueError, TypeError):
                started = datetime.fromisoformat(attempt.started)
                if now - RETENTION < started < first:
                    first = started
        return (first + RETENTION).date().isoformat()
