"""Job `merge`: merges a batch's results, lands them and chooses the next batch.

The only job that may write to the repository. It runs no agent and no code of the
repository.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from runner import pipeline
from runner.actions import masked_values, open_run, publisher
from runner.actions.batch_choice import Choice, ChoiceOptions, choose_batch
from runner.actions.earlier_results import uploaded_entries
from runner.actions.job_events import JobEvents
from runner.actions.kept_work import KeptWorkRefs
from runner.actions.masked_values import MaskedValues
from runner.actions.merge_report import LandedBatch, MergeOutputs, MergeReport
from runner.actions.round_state import (
    RoundState,
    landing_branch,
    landing_head,
    limit_reached,
    views_of,
    with_inputs,
)
from runner.actions.verify_job import read_verdict
from runner.actions.workflow_io import Annotation, JobIO, WorkflowContext
from runner.core import result_folder
from runner.core.errors import (
    EXIT_DONE,
    EnvironmentBroken,
    FaninError,
    UsageProblem,
    VerdictOutdated,
)
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Failure, FailureKind, Verdict
from runner.core.result_folder import Checks, RefuseSeal, accept_any_seal
from runner.delivery.base import base_conflicts
from runner.delivery.choice import HELD_PREFIX
from runner.fan_in.inputs import (
    BatchResults,
    RecordedVerdict,
    Verification,
)
from runner.policy.redaction import NONE, Secrets
from runner.ui import job_summary

if TYPE_CHECKING:
    from runner.actions.open_run import RunAtHead
    from runner.fan_in.outcome import FanIn
    from runner.github_api.client import GitHub
    from runner.plan.records import RunRecord
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository

_QUIET_BRANCH = "re-run this job when the branch is quiet"
# `retention-days` of the artifacts in round.yml and fanin.yml.
RETENTION = timedelta(days=7)


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
            own_branch=state.delivery,
            commit_via=options.commit_via,
        )

        self.kept_work = KeptWorkRefs(remote, job_io)
        self._events = JobEvents(options.events, manifest, options.secrets)

    @property
    def branch(self) -> str:
        return self.publisher.branch

    @property
    def _branches_of_run(self) -> set[str]:
        """The branches that the run has worked on: one that refuses pushes, and its own."""
        own = {self.manifest.branch, self.branch}
        refusing = {
            base for head, base in self.state.pull_requests.items() if head in own
        }
        return own | refusing

    def run(self) -> int:
        """Merge, land, report and choose the next batch; return the exit code.

        Raises EnvironmentBroken if the branch cannot be pushed to or there is no
        verdict. What goes wrong in choosing raises too, after all else is done: then
        no output starts another round.
        """
        branch = landing_branch(self.state, self.manifest, self.remote)
        if branch != self.branch:
            self.publisher.use_own_branch()
        if self.manifest.verify is not None and self._verdict() is None:
            if self._verify_was_not_rerun():
                return self._verify_again("job verify was not run again")
            self._report_missing_verdict()
        self._events.merging()
        try:
            batch = self._land()
        except VerdictOutdated as error:
            if not self.options.last:
                return self._verify_again(error.message, error.refused)
            batch = self._hold(str(error))
        self._events.landed(batch)
        report = self._report(batch)
        chooses = report.again and self._may_choose(report.next_state)
        # First, since later jobs need them even if this job ends red.
        can_go_on = self._output(report.outputs(again=report.again and not chooses))
        exit_code = report.publish(self.context, self.job_io)
        self._tell_people(report)
        if report.again:
            self._take_in_base(report)
        if chooses and can_go_on:
            try:
                self._choose_next(report)
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
        self.job_io.output(outputs)
        self.job_io.annotate(
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
            self.context.run_attempt > 1
            and not self.options.last
            and self.options.verify_result in {"skipped", "cancelled"}
        )

    def _tell_people(self, report: MergeReport) -> None:
        """Open pull requests and write the comment; what fails is a warning.

        Last, because the work has landed and the next round must not wait for news.
        """
        pull_requests = dict(report.next_state.pull_requests)
        base = pull_requests.pop(self.branch, None)
        sentences = self.publisher.open_pull_requests(pull_requests)
        if self.branch == self.state.delivery and base is not None:
            sentences.insert(0, self._update_pull_request(report, base))
        elif base is not None:
            sentences += self.publisher.open_pull_requests({self.branch: base})
        for sentence in sentences:
            self.job_io.summary(job_summary.note(sentence, self.context.repository_url))
        report.comment(self.context, self.job_io, self.github)

    def _update_pull_request(self, report: MergeReport, base: str) -> str:
        """Bring the pull request of the run up to date; return a sentence on it."""
        from runner.delivery.pull_request import publish
        from runner.ui.pull_request_text import Delivered

        delivered = Delivered(
            self.manifest.plan.path,
            base,
            report.views,
            self.manifest.verify,
            self.context.repository_url,
            checks_may_wait=True,
        )
        published = publish(
            self.github,
            self.branch,
            report.batch.commit or report.batch.fan_in.head,
            delivered,
            is_finished=report.is_finished,
        )
        for warning in published.warnings:
            self.job_io.annotate("warning", warning, title="fanin")
        return published.sentence

    def _take_in_base(self, report: MergeReport) -> None:
        """Merge what has landed on the base meanwhile into the run's own branch, for the
        next round. UsageProblem if they conflict: then no round follows.

        GitHub merges them, since the history of both is not here.
        """
        base = report.next_state.pull_requests.get(self.branch)
        if self.branch != self.state.delivery or base is None:
            return
        message = f"Merge {base} into {self.branch}\n\nFanin-Run: {self.state.run}"
        try:
            tip = self.remote.branches(base)[base]
            if self.github.merge_into(self.branch, tip, message):
                return
        except (FaninError, KeyError) as error:
            self.job_io.annotate(
                "warning",
                f"going on without what {base} has now: {error}",
                title="fanin",
            )
            return
        self._output({"again": "false"})
        raise base_conflicts(base, self.branch)

    def _head(self) -> str:
        """The commit to merge the batch on, fetched."""
        return landing_head(
            self.repo, self.manifest, self.remote, self.state, self.branch
        )

    def _report_missing_verdict(self) -> None:
        """Report that nothing lands and nothing counts. Raises EnvironmentBroken."""
        from runner.plan.snapshot import read_snapshot

        head, manifest = self._head(), self.manifest
        snapshot = read_snapshot(
            self.repo, head, manifest.plan, manifest.progress, manifest.task_rules
        )
        outputs = MergeOutputs.of_views(
            views_of(snapshot, manifest.max_attempts),
            again=False,
            commit=None,
            branch=self.branch,
            state=self.state,
        )
        self._output(outputs.as_mapping())
        summary = job_summary.missing_verdict_summary(
            manifest.batch, self._kept_until(), self.context.run_url
        )
        self.job_io.summary(summary)
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
        for attempt in result_folder.attempts(self.results):
            # An agent had a shell on the machine that wrote the time.
            with contextlib.suppress(ValueError, TypeError):
                started = datetime.fromisoformat(attempt.started)
                if now - RETENTION < started < first:
                    first = started
        return (first + RETENTION).date().isoformat()

    def _may_choose(self, next_state: RoundState) -> bool:
        """Whether the next round may be one of this run.

        Otherwise job `continue` starts it: it says which limit is reached, and waits
        after a rate limit.
        """
        return (
            self.options.chooses
            and not self.options.cancelled
            and not next_state.limited
            and limit_reached(next_state, self.manifest.limits) is None
        )

    def _choose_next(self, report: MergeReport) -> None:
        """Choose the next batch and set the outputs that start its round.

        Reads plan and settings of the branch's head; runs no code of the repository and
        loads no plan format of another package.
        """
        from runner.config.settings import FILE, load
        from runner.plan import formats
        from runner.plan.snapshot import read_snapshot
        from runner.plan.trees import decode_text

        state = report.next_state.next_round(self.branch)
        head = self.remote.fetch(self.branch)
        settings = load(
            {},
            with_inputs(self.options.environ, state.inputs),
            decode_text(FILE, self.repo.file(head, FILE)),
        )
        plan = settings.plan
        if plan.source is None:
            plan = plan.model_copy(update={"source": self.manifest.plan.source})
        is_builtin = plan.source in formats.BUILT_IN_NAMES
        if plan != self.manifest.plan or not is_builtin:
            # The format may be a plug-in's, which job `next` may load.
            self._output({"again": "true"})
            return
        snapshot = read_snapshot(
            self.repo, head, plan, settings.progress, settings.task_rules
        )
        choice = choose_batch(
            self.repo,
            snapshot,
            settings.model_copy(update={"plan": plan}),
            state,
            self.branch,
            self.options.choice,
        )
        self._report_choice(choice)

    def _report_choice(self, choice: Choice) -> None:
        notes = [Annotation("notice", note, title="fanin") for note in choice.notes]
        self.job_io.annotate_all(notes)
        if choice.manifest is None:
            stop_reason = choice.state.budget(
                self.manifest.limits.max_cost_usd
            ).stop_reason()
            if stop_reason is not None:
                self.job_io.annotate("notice", stop_reason, title="fanin")
            return
        round_json = choice.round_json()
        masked = self.options.masked.find(round_json)
        if masked is not None:
            self.job_io.annotate(
                "warning",
                f"the next round's tasks contain the value of {masked}, and GitHub "
                "drops such an output: the next round starts in a run of its own",
                title="fanin",
            )
            self._output({"again": "true"})
            return
        self._output({"round": round_json})
        ids = ", ".join(entry.task.id for entry in choice.manifest.entries)
        self.job_io.summary(job_summary.next_round_summary(choice.state.round, ids))

    def _output(self, values: Mapping[str, str]) -> bool:
        """Set outputs; those that GitHub would drop are empty.

        Returns whether another round can start: not without `branch` and `state`.
        """
        can_go_on = True
        allowed = dict(values)
        for name, value in values.items():
            masked = self.options.masked.find(value)
            if masked is None:
                continue
            allowed[name] = ""
            if name in {"branch", "state"}:
                # Without them, another round would start as a new run without limits.
                can_go_on = False
                allowed["again"] = "false"
                self.job_io.annotate(
                    "error",
                    f"the output {name} contains the value of {masked}, and GitHub "
                    "drops such an output: the run ends here",
                    title="fanin",
                )
        self.job_io.output(allowed)
        return can_go_on

    def _land(self) -> LandedBatch:
        fan_in: FanIn | None = None
        for _ in range(publisher.TRIES):
            head = self._head()
            fan_in = self._replay(fan_in, head) or self._merge(head)
            if not fan_in.commits:
                return self._landed(fan_in)
            # First, because the progress names it.
            self.kept_work.push(fan_in)
            self.publisher.start_own_branch(head)
            update = self.publisher.put(fan_in.commits, head)
            if update.landed:
                self.kept_work.drop_completed(
                    self.manifest, fan_in, self._branches_of_run
                )
                self._record_changes(fan_in, head, update.commit)
                return self._landed(fan_in, update.commit)
            if update.refused:
                self.publisher.switch_branch(update)
        raise EnvironmentBroken(
            f"{self.branch} moved {publisher.TRIES} times while the batch was merged",
            f"nothing is lost: {_QUIET_BRANCH}",
        )

    def _record_changes(self, fan_in: FanIn, head: str, commit: str | None) -> None:
        """Push what each task has changed where the commits do not say it. `commit` is
        the one that GitHub made of them, if it did.
        """
        from runner.fan_in.landed_changes import landing_commit

        if fan_in.snapshot is None:
            return
        record = landing_commit(
            self.repo,
            [(self.manifest, self.results, fan_in)],
            fan_in.snapshot.progress,
            head,
            fan_in.tip,
        )
        if record is not None:
            self.kept_work.push_record(record, [commit] if commit else fan_in.commits)

    def _landed(self, fan_in: FanIn, commit: str | None = None) -> LandedBatch:
        """The batch as it landed; `commit` is the one that GitHub made, if it did."""
        return LandedBatch(
            self.branch,
            fan_in,
            self._run_at(fan_in.head),
            dict(self.publisher.pull_requests),
            commit,
        )

    def _report(self, batch: LandedBatch) -> MergeReport:
        return MergeReport(
            self.manifest,
            self.state,
            batch,
            github_run=self.context.run_id,
            run_attempt=self.context.run_attempt,
            now=self._reported_at,
        )

    @cached_property
    def _reported_at(self) -> datetime:
        """One time for all reports: what is recorded before the landing and what the job's
        outputs say after it must name the same end of a usage limit.
        """
        return datetime.now(UTC)

    def _run_at(self, head: str) -> RunAtHead:
        """The batch's run as the commit `head` knows it."""
        return open_run.run_at_head(
            self.state, self._recorded_at_base, self._recorded_at(head)
        )

    @cached_property
    def _recorded_at_base(self) -> RunRecord | None:
        return self._recorded_at(self.manifest.base)

    def _recorded_at(self, commit: str) -> RunRecord | None:
        from runner.plan.snapshot import read_progress

        manifest = self.manifest
        return read_progress(self.repo, commit, manifest.plan, manifest.progress).run

    def _replay(self, fan_in: FanIn | None, head: str) -> FanIn | None:
        # Much faster than merging again, so that the push can win on a busy branch.
        if fan_in is None:
            return None
        return pipeline.replay(self.repo, self.manifest, fan_in, head)

    def _merge(self, head: str) -> FanIn:
        self._refuse_missing_results(head)
        return pipeline.merge_batch(
            self.repo,
            self._batch_results(),
            head,
            verification=self._verification(head),
        )

    def _refuse_missing_results(self, head: str) -> None:
        """Raise UsageProblem if results are not where they must be.

        A job that succeeded, or uploaded an artifact, has left one, so that the workflow
        did not download it. It must not count as an attempt. A re-run leaves out what
        is recorded already.
        """
        from runner.plan.progress import stale_reason
        from runner.plan.snapshot import read_progress

        manifest = self.manifest
        readings = result_folder.read_batch(self.results, manifest, self._checks)
        missing = [reading.entry for reading in readings if not reading.started]
        reason = "every task job succeeded"
        if self.options.task_result != "success":
            missing = self._uploaded(missing)
            reason = "the run has such an artifact"
        if not missing:
            return
        recorded = read_progress(self.repo, head, manifest.plan, manifest.progress)
        task_ids = [
            entry.task.id
            for entry in missing
            if stale_reason(recorded, entry.task, entry.task_digest, entry.attempt)
            is None
        ]
        if task_ids:
            raise UsageProblem(
                f"{self.results} has no result of {', '.join(task_ids)}, "
                f"although {reason}",
                f"download all artifacts  fanin-{manifest.batch}-*  there, each into a "
                "folder of its own (without merge-multiple)",
            )

    def _uploaded(self, missing: Sequence[BatchEntry]) -> list[BatchEntry]:
        """The missing entries whose results the run has as artifacts.

        GitHub is not asked where artifacts have folders of their own: then the download
        works. If it does not answer, nothing is known of the entries.
        """
        if not missing or result_folder.has_folders_of_artifacts(self.results):
            return []
        try:
            artifacts = self.github.artifacts(self.context.run_id)
        except FaninError:
            return []
        return uploaded_entries(artifacts, self.manifest.batch, missing)

    def _batch_results(self) -> BatchResults:
        return BatchResults(
            self.manifest,
            self.results,
            missing=self._missing_result(),
            secrets=self.options.secrets,
            record_run=self._record_run,
            checks=self._checks,
            pushes_kept=True,
        )

    @property
    def _checks(self) -> Checks:
        return Checks(refuse_seal=self.options.refuse_seal, are_artifacts=True)

    def _record_run(self, fan_in: FanIn) -> RunRecord:
        """The run as it is once this batch has landed."""
        batch = LandedBatch(self.branch, fan_in, self._run_at(fan_in.head))
        return self._report(batch).run_record()

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

    def _verification(self, head: str) -> Verification | None:
        """The recorded verdict, None if the batch need not be verified.

        Fetches the commit that it is about if the branch has moved to `head` since: it
        may hold all the same. A commit that cannot be fetched voids it.
        """
        verdict = self._verdict()
        if verdict is None:
            return None
        if verdict.head != head and self.repo.commit(verdict.head) is None:
            with contextlib.suppress(FaninError):
                self.remote.fetch(verdict.head)
        return RecordedVerdict(verdict)

    def _hold(self, reason: str) -> LandedBatch:
        """Hold the batch on a branch of its own until a person merges it.

        Used when the branch moved during both verifications. The branch first records
        that the tasks are held. The held branch builds on that commit, so that its pull
        request merges without conflict and completes the tasks.
        """
        held_branch = f"{HELD_PREFIX}{self.manifest.batch}"
        verdict = self._verdict()
        for _ in range(publisher.TRIES):
            head = self._head()
            note, held = pipeline.hold_batch(
                self.repo,
                self._batch_results(),
                head,
                held_branch=held_branch,
                failures=verdict.failed if verdict else {},
            )
            self.kept_work.push(note)
            self.publisher.start_own_branch(head)
            push = self.publisher.put_with_branch(
                note.commits, head, held_branch, held.commits
            )
            if push.landed:
                self.publisher.pull_requests[held_branch] = self.branch
                return self._landed(note, push.commit)
        raise EnvironmentBroken(
            reason, f"{_QUIET_BRANCH}; the results are kept as artifacts"
        )
