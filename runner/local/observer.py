"""Reports a run: masks secrets in events, and shows the last line of agents' output."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from runner.core import result_folder
from runner.core.events import (
    AttemptEnded,
    BatchChosen,
    BatchMerged,
    ChosenTask,
    CommitLanded,
    Note,
    PhaseChanged,
    PlannedTask,
    PlanRead,
    RunEvent,
    RunObserver,
)
from runner.fan_in import merge_events
from runner.plan.view import views
from runner.policy.masking import masked_document
from runner.policy.redaction import NONE, Secrets
from runner.schedule.budget import UsageTotal

if TYPE_CHECKING:
    from runner.core.manifest import BatchEntry, Manifest
    from runner.fan_in.outcome import FanIn
    from runner.plan.snapshot import Snapshot
    from runner.schedule.task_choice import TaskChoice


class MaskingObserver:
    """Passes events on to another observer, with `***` for every secret in them.

    `landed_tasks` are those of all commits reported so far.
    """

    def __init__(self, observer: RunObserver) -> None:
        self.landed_tasks: set[str] = set()
        # (batch, task) of attempts that wait to be merged
        self._ended_attempts: set[tuple[str, str]] = set()
        self._observer = observer
        self._secrets = NONE

    def add_secrets(self, secrets: Secrets) -> None:
        """Mask these too, in all events from now on."""
        if not secrets.names.items() <= self._secrets.names.items():
            self._secrets |= secrets

    def observe(self, event: RunEvent) -> None:
        if isinstance(event, CommitLanded):
            self.landed_tasks.update(event.tasks)
        elif isinstance(event, AttemptEnded):
            self._ended_attempts.add((event.batch, event.task))
        self._observer.observe(masked_document(event, self._secrets))

    def masked(self, text: str) -> str:
        """A text that is shown beside the events, masked as they are."""
        return self._secrets.masked_text(text)

    def note(self, message: str) -> None:
        """Report something that a person should know."""
        self.observe(Note(message=message))

    def inform(self, message: str) -> None:
        """The same where all is as it should be."""
        self.observe(Note(message=message, warning=False))

    def plan_read(
        self, run: str, snapshot: Snapshot, choice: TaskChoice, max_attempts: int
    ) -> None:
        """Report the tasks of the plan with their states at the start."""
        progress = snapshot.progress
        tasks = []
        for view in views(snapshot.plan, snapshot.graph, progress, max_attempts):
            task = view.task
            tasks.append(
                PlannedTask(
                    task=task.id,
                    title=task.title,
                    state=view.state,
                    depends_on=task.waits_for,
                    attempts=view.record.attempts,
                    chosen=task.id in choice,
                    expected_seconds=progress.expected_seconds(task),
                )
            )
        self.observe(PlanRead(run=run, base=snapshot.commit, tasks=tuple(tasks)))

    def batch_chosen(self, manifest: Manifest) -> None:
        """Report the tasks of a batch."""
        tasks = tuple(
            ChosenTask(
                task=entry.task.id,
                title=entry.task.title,
                attempt=entry.attempt,
                agent=entry.agent.name,
                depends_on=entry.task.waits_for,
                timeout=entry.timeout,
            )
            for entry in manifest.entries
        )
        self.observe(
            BatchChosen(
                batch=manifest.batch,
                round=manifest.round,
                base=manifest.base,
                tasks=tasks,
            )
        )

    def merge_started(self, manifest: Manifest) -> None:
        """Report that the results of a batch are about to be merged."""
        for entry in manifest.entries:
            attempt = (manifest.batch, entry.task.id)
            # A cancelled run merges batches of which it has not started every attempt.
            if attempt in self._ended_attempts:
                self.observe(
                    PhaseChanged(
                        batch=manifest.batch,
                        task=entry.task.id,
                        attempt=entry.attempt,
                        phase="merging",
                    )
                )

    def batch_merged(self, manifest: Manifest, fan_in: FanIn, branch: str) -> None:
        """Report what became of each result, and the commits that landed on `branch`."""
        for merged in merge_events.results_merged(manifest, fan_in):
            self.observe(merged)
        self.results_refused(manifest, fan_in, fan_in.failed)
        for commit in merge_events.commits_landed(manifest, fan_in, branch):
            self.observe(commit)
        for warning in fan_in.warnings:
            self.note(f"warning: {warning}")
        for task_id in fan_in.landed:
            if ref := fan_in.kept_refs.get(task_id):
                self.note(f"{task_id}: all that its attempt left is kept at {ref}")
        usage = UsageTotal().plus(fan_in.results).report
        self.observe(BatchMerged(batch=manifest.batch, usage=usage))

    def results_refused(
        self, manifest: Manifest, fan_in: FanIn, task_ids: Collection[str]
    ) -> None:
        """Report why these results of the batch were not merged."""
        refused = merge_events.results_refused(
            manifest, fan_in, task_ids, partial(log_path, manifest)
        )
        for event in refused:
            self.observe(event)


def log_path(manifest: Manifest, entry: BatchEntry) -> str:
    """The path of the agent's log of an attempt, in the folder of its run."""
    return f"{manifest.round}/{entry.folder}/{result_folder.LOG}"
