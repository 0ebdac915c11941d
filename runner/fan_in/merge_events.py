"""The events that say what becomes of a batch: of each verify, of each result, and on the
branch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from runner.core.events import (
    CommitLanded,
    ResultMerged,
    ResultRefused,
    RunEvent,
    VerifyEnded,
    VerifyEvent,
    VerifyStarted,
)
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import REFUSED
from runner.core.task import Standing

if TYPE_CHECKING:
    from runner.core.result import Failure
    from runner.fan_in.inputs import VerifyStep
    from runner.fan_in.outcome import FanIn


def verified(
    batch: str,
    step: VerifyStep,
    command: str,
    verify: Callable[[], Failure | None],
    send: Callable[[RunEvent], object],
) -> Failure | None:
    """What `verify` returns of a merged tree, run between its two events."""
    event = VerifyEvent(
        batch=batch,
        commit=step.commit,
        tasks=step.tasks,
        step=step.number,
        bisecting=step.bisecting,
        repeated=step.repeated,
    )
    same_tree = event.model_dump(exclude={"time", "event"})
    send(VerifyStarted(**same_tree, command=command))
    started_at = time.monotonic()
    failure = verify()
    seconds = time.monotonic() - started_at
    send(VerifyEnded(**same_tree, seconds=seconds, failure=failure))
    return failure


def results_merged(manifest: Manifest, fan_in: FanIn) -> list[ResultMerged]:
    """One event for each result whose work is in the merged tree."""
    return [
        ResultMerged(
            batch=manifest.batch,
            task=entry.task.id,
            attempt=entry.attempt,
            kept=fan_in.kept_refs.get(entry.task.id),
        )
        for entry in manifest.entries
        if entry.task.id in fan_in.landed
    ]


def results_refused(
    manifest: Manifest,
    fan_in: FanIn,
    task_ids: Collection[str],
    log_of: Callable[[BatchEntry], str],
) -> list[ResultRefused]:
    """One event for each of these tasks' results, which were not merged.

    `log_of`: an entry → where its log is, as the events say it.
    """
    return [
        ResultRefused(
            batch=manifest.batch,
            task=entry.task.id,
            attempt=entry.attempt,
            failure=fan_in.failed[entry.task.id],
            kept=fan_in.kept_refs.get(entry.task.id),
            acceptable=_is_acceptable(fan_in, entry.task.id),
            final=_is_final(manifest, fan_in, entry),
            log=log_of(entry),
        )
        for entry in manifest.entries
        if entry.task.id in task_ids
    ]


def commits_landed(
    manifest: Manifest, fan_in: FanIn, branch: str
) -> list[CommitLanded]:
    """One event for each commit of the fan-in on `branch`, oldest first."""
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


def _is_acceptable(fan_in: FanIn, task_id: str) -> bool:
    """Whether a person may let the task's kept work land, as far as the policy says."""
    if fan_in.failed[task_id].kind not in REFUSED:
        return True
    return fan_in.kept_refs.get(task_id) in fan_in.acceptable


def _is_final(manifest: Manifest, fan_in: FanIn, entry: BatchEntry) -> bool:
    """Whether the task has failed for good, by what the fan-in records."""
    snapshot = fan_in.snapshot
    if snapshot is None or entry.task.id not in snapshot.graph.tasks:
        return False
    task = snapshot.graph.tasks[entry.task.id]
    standing = snapshot.progress.standing(task, manifest.max_attempts)
    return standing is Standing.STUCK
