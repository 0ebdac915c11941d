"""Reports a run: masks secrets in events, and shows the last line of agents' output."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from runner.core import result_folder
from runner.core.documents import Document
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
    ResultMerged,
    ResultRefused,
    RunEvent,
    RunObserver,
    UsageReport,
)
from runner.core.manifest import BatchEntry, Manifest
from runner.core.task import Standing
from runner.fan_in.batch_merge import FanIn
from runner.plan.snapshot import Snapshot
from runner.plan.view import views
from runner.policy.redaction import NONE, Secrets
from runner.schedule.budget import UsageTotal
from runner.schedule.task_choice import TaskChoice

OUTPUT_INTERVAL = 0.25  # seconds between two events with the output of one attempt
_TAIL_BYTES = 4096  # of the output; longer lines lose their beginning
_LINE_LENGTH = 200  # characters
_ESCAPE_SEQUENCE = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]")
# Fanin itself fills in these fields, so a match with a secret is a coincidence.
_NEVER_MASKED = {"event", "time"}

D = TypeVar("D", bound=Document)


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
        self._observer.observe(masked(event, self._secrets))

    def note(self, message: str) -> None:
        """Report something that a person should know."""
        self.observe(Note(message=message))

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
        batch = manifest.batch
        for entry in manifest.entries:
            task_id = entry.task.id
            if task_id in fan_in.landed:
                self.observe(
                    ResultMerged(
                        batch=batch,
                        task=task_id,
                        attempt=entry.attempt,
                        kept=fan_in.kept_refs.get(task_id),
                    )
                )
        self.results_refused(manifest, fan_in, fan_in.failed)
        for commit in _landed_commits(manifest, fan_in, branch):
            self.observe(commit)
        for warning in fan_in.warnings:
            self.note(f"warning: {warning}")
        for task_id in fan_in.landed:
            if ref := fan_in.kept_refs.get(task_id):
                self.note(f"{task_id}: all that its attempt left is kept at {ref}")
        usage = usage_report(UsageTotal().plus(fan_in.results))
        self.observe(BatchMerged(batch=batch, usage=usage))

    def results_refused(
        self, manifest: Manifest, fan_in: FanIn, task_ids: Collection[str]
    ) -> None:
        """Report why these results of the batch were not merged."""
        for entry in manifest.entries:
            task_id = entry.task.id
            if task_id not in task_ids:
                continue
            self.observe(
                ResultRefused(
                    batch=manifest.batch,
                    task=task_id,
                    attempt=entry.attempt,
                    failure=fan_in.failed[task_id],
                    kept=fan_in.kept_refs.get(task_id),
                    final=_is_final(manifest, fan_in, entry),
                    log=log_path(manifest, entry),
                )
            )


def log_path(manifest: Manifest, entry: BatchEntry) -> str:
    """The path of the agent's log of an attempt, in the folder of its run."""
    return f"{manifest.round}/results/{entry.folder}/{result_folder.LOG}"


def _is_final(manifest: Manifest, fan_in: FanIn, entry: BatchEntry) -> bool:
    """Whether the task has failed for good, by what the fan-in records."""
    snapshot = fan_in.snapshot
    if snapshot is None or entry.task.id not in snapshot.graph.tasks:
        return False
    task = snapshot.graph.tasks[entry.task.id]
    standing = snapshot.progress.standing(task, manifest.max_attempts)
    return standing is Standing.STUCK


def _landed_commits(
    manifest: Manifest, fan_in: FanIn, branch: str
) -> list[CommitLanded]:
    """One event for each commit of the fan-in, oldest first."""
    counted = [task for task in fan_in.earlier_failures if task not in fan_in.landed]
    for task, failure in fan_in.failed.items():
        if failure.counted and task not in counted:
            counted.append(task)
    commits = []
    for index, commit in enumerate(fan_in.commits):
        tasks = fan_in.landed
        if manifest.commit_strategy == "individual":
            # One commit a task; the one after them only records failed attempts.
            tasks = fan_in.landed[index : index + 1]
        is_last = index == len(fan_in.commits) - 1
        failed = tuple(counted) if is_last else ()
        commits.append(
            CommitLanded(branch=branch, commit=commit, tasks=tasks, failed_tasks=failed)
        )
    return commits


def usage_report(total: UsageTotal) -> UsageReport:
    """The usage as events report it."""
    return UsageReport(
        attempts=total.attempts,
        cost_usd=total.cost_usd,
        tokens=total.tokens,
        without_cost=total.without_cost,
    )


class LastLine:
    """Reports the last line of a stream of bytes, at most once in OUTPUT_INTERVAL.

    What comes sooner is reported with what follows it, or by `finish`.
    """

    def __init__(
        self,
        report: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report, self._clock = report, clock
        self._tail = b""
        self._reported_line = ""
        self._reported_at: float | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes, which hold no secret."""
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        now = self._clock()
        if self._reported_at is None or now - self._reported_at >= OUTPUT_INTERVAL:
            self._reported_at = now
            self.finish()

    def report_again(self) -> None:
        """Report the last line once more, because something else has changed."""
        self._reported_line = ""

    def finish(self) -> None:
        """Report the last line, unless it was reported already."""
        line = _last_line(self._tail)
        if line and line != self._reported_line:
            self._reported_line = line
            self._report(line)


def _last_line(data: bytes) -> str:
    """The last non-blank line without escape sequences; "" if all lines are blank."""
    # The tail may begin or end in the middle of a character.
    text = _ESCAPE_SEQUENCE.sub(b"", data).decode("utf-8", "ignore")
    for line in reversed(text.splitlines()):
        if line.strip():
            return line.strip()[:_LINE_LENGTH]
    return ""


def masked(document: D, secrets: Secrets) -> D:
    """The document with `***` for every secret in its texts, at any depth."""
    if not secrets.names:
        return document
    changes: dict[str, object] = {}
    for name, value in document:
        if name in _NEVER_MASKED:
            continue
        without_secrets = _masked_value(value, secrets)
        if without_secrets is not value:
            changes[name] = without_secrets
    return document.model_copy(update=changes) if changes else document


def _masked_value(value: object, secrets: Secrets) -> object:
    """The value itself if it holds no secret."""
    if isinstance(value, Document):
        return masked(value, secrets)
    if isinstance(value, tuple):
        items = tuple(_masked_value(item, secrets) for item in value)
        return value if items == value else items
    # A member of an enumeration is fanin's own word and no text.
    if type(value) is str and secrets.find_in_text(value):
        return secrets.masked_text(value)
    return value
