"""The pull requests of a run after a landing: opened, brought up to date, and their base
taken in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.core.errors import FaninError
from runner.delivery.base import base_conflicts
from runner.ui import job_summary

if TYPE_CHECKING:
    from runner.actions.merge_inputs import MergeInputs
    from runner.actions.merge_report import MergeReport
    from runner.actions.publisher import Publisher


class PullRequestUpdates:
    """Tells people on GitHub what has landed."""

    def __init__(self, job: MergeInputs, publisher: Publisher) -> None:
        self._job, self._publisher = job, publisher

    def tell_people(self, report: MergeReport) -> None:
        """Open pull requests and write the comment; what fails is a warning.

        Last, because the work has landed and the next round must not wait for news.
        """
        pull_requests = dict(report.next_state.pull_requests)
        base = pull_requests.pop(self._publisher.branch, None)
        sentences = self._publisher.open_pull_requests(pull_requests)
        if self._publisher.branch == self._job.state.delivery and base is not None:
            sentences.insert(0, self._update_pull_request(report, base))
        elif base is not None:
            sentences += self._publisher.open_pull_requests(
                {self._publisher.branch: base}
            )
        for sentence in sentences:
            self._job.job_io.summary(
                job_summary.note(sentence, self._job.context.repository_url)
            )
        report.comment(self._job.context, self._job.job_io, self._job.github)

    def _update_pull_request(self, report: MergeReport, base: str) -> str:
        """Bring the pull request of the run up to date; return a sentence on it."""
        from runner.delivery.pull_request import publish
        from runner.ui.pull_request_text import Delivered

        delivered = Delivered(
            self._job.manifest.plan.path,
            base,
            report.views,
            self._job.manifest.verify,
            self._job.context.repository_url,
            checks_may_wait=True,
        )
        published = publish(
            self._job.github,
            self._publisher.branch,
            report.batch.commit or report.batch.fan_in.head,
            delivered,
            is_finished=report.is_finished,
        )
        for warning in published.warnings:
            self._job.job_io.annotate("warning", warning, title="fanin")
        return published.sentence

    def take_in_base(self, report: MergeReport) -> None:
        """Merge what has landed on the base meanwhile into the run's own branch, for the
        next round. UsageProblem if they conflict: then no round follows.

        GitHub merges them, since the history of both is not here.
        """
        base = report.next_state.pull_requests.get(self._publisher.branch)
        if self._publisher.branch != self._job.state.delivery or base is None:
            return
        message = f"Merge {base} into {self._publisher.branch}\n\nFanin-Run: {self._job.state.run}"
        try:
            tip = self._job.remote.branches(base)[base]
            if self._job.github.merge_into(self._publisher.branch, tip, message):
                return
        except (FaninError, KeyError) as error:
            self._job.job_io.annotate(
                "warning",
                f"going on without what {base} has now: {error}",
                title="fanin",
            )
            return
        self._job.set_outputs({"again": "false"})
        raise base_conflicts(base, self._publisher.branch)
