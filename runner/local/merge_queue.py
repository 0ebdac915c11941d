"""Results that wait to be merged in a rolling run, and which of them are merged now.

Where a merge needs a run of `verify`, results that no task waits for are merged with
those that come before such a run would have ended: one run says as much of all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from runner.core.task import Status
from runner.local.joint_merge import verified_alike

if TYPE_CHECKING:
    from runner.core.manifest import Manifest
    from runner.core.result import Result
    from runner.local.context import RunContext
    from runner.plan.snapshot import Snapshot


class _Waiting(NamedTuple):
    """A batch of one task that has its result since a time. Without work, only the
    failure of the attempt is to be recorded.
    """

    manifest: Manifest
    since: datetime
    has_work: bool

    @property
    def task_id(self) -> str:
        return self.manifest.only_task.id


class MergeQueue:
    """The results in the order in which they came."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._waiting: list[_Waiting] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def first(self) -> Manifest:
        return self._waiting[0].manifest

    @property
    def batches(self) -> set[str]:
        return {each.manifest.batch for each in self._waiting}

    def add(self, manifest: Manifest, result: Result | None) -> None:
        """The batch's attempt has this result; None if it was broken off."""
        has_work = result is not None and result.succeeded
        now = self._context.clock.now()
        self._waiting.append(_Waiting(manifest, now, has_work))

    def remove(self, manifests: Sequence[Manifest]) -> None:
        taken = {manifest.batch for manifest in manifests}
        self._waiting = [
            each for each in self._waiting if each.manifest.batch not in taken
        ]

    def urgent(self, snapshot: Snapshot, accepted: int) -> list[Manifest]:
        """What to merge now without `verify`: the results that others wait for, if any,
        and no more than are landed together with those that are `accepted`.
        """
        most = max(1, self._context.settings.max_concurrent - accepted)
        graph = snapshot.graph
        awaited = [
            each
            for each in self._waiting
            # A person may have taken the task out of the plan while it ran.
            if each.task_id in graph.tasks and graph.dependents(each.task_id)
        ]
        return [each.manifest for each in (awaited or self._waiting)[:most]]

    def due(
        self, snapshot: Snapshot, verifying: Collection[str], *, more_come: bool
    ) -> list[Manifest]:
        """What to merge and verify now: all that one run of `verify` can be about, if it
        is time for that, or else what has no work.

        `verifying` are the ids of tasks whose work is being verified. `more_come`:
        agents are at work.
        """
        alike = [
            each for each in self._waiting if verified_alike(self.first, each.manifest)
        ]
        waits = (
            more_come
            and not self._context.draining.is_set()
            and len(alike) < self._context.settings.max_concurrent
            and self.seconds_left is not None
            and not self._would_free_a_task(alike, snapshot, verifying)
        )
        if waits:
            alike = [each for each in alike if not each.has_work]
        return [each.manifest for each in alike]

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the first result has waited for as long as `verify` takes; None
        if it has, or if that is not known.
        """
        seconds = self._context.lander.verify_seconds
        if seconds is None or not self._waiting:
            return None
        waited = self._context.clock.now() - self._waiting[0].since
        remaining = seconds - waited.total_seconds()
        # A clock that was set back makes nothing wait longer.
        return remaining if 0 < remaining <= seconds else None

    def _would_free_a_task(
        self,
        waiting: Sequence[_Waiting],
        snapshot: Snapshot,
        verifying: Collection[str],
    ) -> bool:
        """Whether a task would have all that it depends on, if this work was merged."""
        graph, progress = snapshot.graph, snapshot.progress
        merged = {each.task_id for each in waiting if each.has_work}
        ids = [task_id for task_id in merged if task_id in graph.tasks]
        merged |= set(verifying)

        def is_completed(task_id: str) -> bool:
            record = progress.record(graph.tasks[task_id])
            return record.status is Status.COMPLETED

        return any(
            not is_completed(dependent)
            and all(
                needed in merged or is_completed(needed)
                for needed in graph.dependencies(dependent)
            )
            for task_id in ids
            for dependent in graph.dependents(task_id)
        )
