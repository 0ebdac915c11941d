"""The state that the parts of one run share, and the steps of both schedules."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from runner import pipeline
from runner.core.clock import Clock, SystemClock
from runner.fan_in import kept_refs
from runner.local.batch_bases import BatchBases
from runner.local.request_context import RequestContext, TakenRequests
from runner.local.setup_record import SetupRecord
from runner.local.unrecorded import counted_snapshot, with_unrecorded
from runner.plan.snapshot import Snapshot, committed_include, committed_template
from runner.plan.trees import CommitTree
from runner.schedule.task_choice import EVERY_TASK, TaskChoice

# What applies requests is imported when there are some: most runs have none.
if TYPE_CHECKING:
    from runner.attempt.context import AttemptContext
    from runner.config.settings import Settings
    from runner.core.manifest import Manifest
    from runner.fan_in.inputs import BatchResults
    from runner.fan_in.outcome import FanIn
    from runner.local.delivery import LocalDelivery
    from runner.local.journal import Journal
    from runner.local.landing import BranchLander
    from runner.local.observer import MaskingObserver
    from runner.repo.repository import Repository
    from runner.schedule.agent_choice import AgentChoice
    from runner.schedule.budget import Budget


@dataclass(frozen=True, eq=False)
class RunContext:
    """One run: its id, repository and settings, its journal, lander and observer.

    `choice` says which tasks may start. `draining` is set when nothing new is to start.
    `deferred` are ids of requests that must wait for the end. `delivery` is that of its
    work by a pull request, None if it lands on the branch.
    """

    run: str
    repo: Repository
    settings: Settings
    journal: Journal
    lander: BranchLander
    observer: MaskingObserver
    attempt_context: AttemptContext
    draining: threading.Event
    choice: TaskChoice = EVERY_TASK
    clock: Clock = field(default_factory=SystemClock)
    delivery: LocalDelivery | None = None
    deferred: set[str] = field(default_factory=set)
    bases: BatchBases = field(default_factory=BatchBases)

    def snapshot(self) -> Snapshot:
        """The plan and progress at the branch's head, with what the journal has besides.

        Raises UsageProblem if the branch is gone.
        """
        settings, state = self.settings, self.journal.state()
        branch, head = self.lander.branch, self.lander.head()
        landed = self.lander.landed_snapshot(self.run, head)
        if landed is not None:
            return with_unrecorded(landed, state, branch, settings.progress).snapshot
        return counted_snapshot(
            self.repo,
            state,
            branch,
            head,
            settings.plan,
            settings.progress,
            settings.task_rules,
        ).snapshot

    def begin_round(self, snapshot: Snapshot) -> tuple[Snapshot, str | None]:
        """Take in what has landed on the base of the run's pull request, if it has one.

        Returns the snapshot after it, and why no round may begin, None if one may.
        """
        if self.delivery is None or self.delivery.is_taken_in:
            return snapshot, None
        if reason := self.delivery.take_in_base(self.lander):
            return snapshot, reason
        return self.snapshot(), None

    def publish(self, *, is_finished: bool = False) -> None:
        """Bring the run's pull request up to date, if it has one. Time passes."""
        if self.delivery is not None:
            self.delivery.is_taken_in = False
            self.delivery.publish(self.lander, self.snapshot(), is_finished=is_finished)

    def take_requests(
        self, snapshot: Snapshot, running: Collection[str] = ()
    ) -> TakenRequests:
        """Take what persons have asked for since, and report it.

        `snapshot` is what counts now, `running` are the ids of tasks at work.
        """
        if self.journal.requests.is_empty:
            return TakenRequests(snapshot)
        from runner.local.requests import take_requests

        taken = take_requests(
            self.journal,
            snapshot,
            self.lander.branch,
            self.settings.progress,
            self.settings.max_attempts,
            running,
        )
        for note in taken.notes:
            self.observer.note(note)
        return taken

    @property
    def must_change_files(self) -> bool:
        """Whether a request waits that is applied when nothing runs, before anything
        else starts.
        """
        if self.journal.requests.is_empty:
            return False
        from runner.local.requests import file_requests

        branch = self.lander.branch
        return bool(file_requests(self.journal, branch, self.deferred))

    def apply_file_requests(self) -> None:
        """Apply the requests that change files. Only while nothing runs."""
        from runner.local.requests import apply_file_requests

        environ = self.attempt_context.environ
        with self.lander.watch.own_changes():
            apply_file_requests(
                RequestContext(self.repo, self.settings, environ),
                self.journal,
                self.lander.branch,
                self.deferred,
                self.observer.note,
            )

    def land_unrecorded(self, older: Snapshot | None = None) -> None:
        """Commit what the journal has and the branch lacks, if anything.

        By an `older` plan, if that of the branch cannot be read; else InvalidInput.
        """
        settings = self.settings
        changes = self.journal.state().unrecorded_on(
            self.lander.branch, settings.progress
        )
        self.lander.land_changes(
            self.run, settings.plan, settings.progress, changes, older
        )

    @cached_property
    def setup_record(self) -> SetupRecord:
        return SetupRecord(self.repo.private_folder(), self.settings.setup)

    def report_set_up(self, paths: Sequence[str]) -> None:
        """Record the tracked files that set-up has changed; a note if that is new."""
        self.setup_record.save(paths, self.observer.note)

    def results_folder(self, manifest: Manifest) -> Path:
        """The folder that holds the result folders of a batch."""
        return self.journal.results_folder(manifest.run, manifest.round)

    def batch_results(self, manifest: Manifest) -> BatchResults:
        """The results of a batch, to be merged with others before they land."""
        folder = self.results_folder(manifest)
        results = self.lander.batch_results(manifest, folder)
        return replace(
            results,
            defers_progress=self.lands_together,
            is_in_base=partial(self.bases.has_work_of, batch=manifest.batch),
            outdated=self.bases.why_outdated(manifest.batch),
        )

    @property
    def lands_together(self) -> bool:
        """Whether several results land as one commit, which alone has the progress file:
        it has the records of all tasks.
        """
        settings = self.settings
        return settings.max_concurrent > 1 and settings.commit_strategy != "individual"

    def drop_kept_work(self, manifest: Manifest, fan_in: FanIn) -> None:
        """Delete the refs that keep earlier work of tasks that have landed now."""
        repo = self.repo
        may_have_some = (repo.git_dir / kept_refs.ROOT).is_dir()
        refs: list[str] = []
        for entry in kept_refs.completed(manifest, fan_in):
            if not may_have_some and entry.attempt == 1:
                continue
            # That of this attempt keeps what did not land with the rest.
            own = kept_refs.name(manifest, entry)
            for branch in self._branches_of(manifest):
                folder = kept_refs.folder_of(manifest, entry.task.id, branch)
                refs += [ref for ref in repo.refs(f"{folder}/") if ref != own]
        if refs:
            repo.delete_refs(refs)

    def _branches_of(self, manifest: Manifest) -> list[str]:
        """The batch's branch, and those that its work waits for or waited on."""
        branches = {manifest.branch: None, self.lander.branch: None}
        state = self.journal.state()
        for waiting in (*state.waiting, *state.freed):
            if {waiting.branch, waiting.target} & branches.keys():
                branches |= {waiting.branch: None, waiting.target: None}
        return list(branches)

    def next_batch(
        self,
        snapshot: Snapshot,
        round_number: int,
        *,
        slots: int,
        budget: Budget,
        select_tasks: pipeline.SelectTasks | None = None,
        agents: AgentChoice | None = None,
        budget_shares: int = 1,
    ) -> Manifest | None:
        """Choose the batch that may start now; None if no task is ready.

        The parameters are those of `pipeline.BatchRequest`.
        """
        template = committed_template(
            self.repo, snapshot.commit, self.settings.prompt_template
        )
        manifest = pipeline.next_batch(
            snapshot,
            self.settings,
            pipeline.BatchRequest(
                run=self.run,
                round_number=round_number,
                branch=self.lander.branch,
                slots=slots,
                budget=budget,
                budget_shares=budget_shares,
                prompt_template=template,
                include=committed_include(self.repo, snapshot.commit),
                tree=CommitTree(self.repo, snapshot.commit),
                select_tasks=select_tasks,
                choice=self.choice,
                agents=agents,
            ),
        )
        if manifest is not None:
            self.observer.add_secrets(self.lander.secrets_of_agents(manifest))
        return manifest
