"""Which work of a rolling run is in the bases of its batches: the progress file there may
lack what was merged before, and with `start_after: merge` a base also has work that
`verify` has not decided about.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.core.manifest import Manifest
    from runner.plan.graph import TaskGraph


@dataclass
class _Base:
    """The base of a batch of one task, chosen when so many had been `merged_before`.

    `unverified` are the tasks whose work it has although that is merged later, if at
    all; `cancel` ends an attempt at work on it. `refused` is a task that the batch needs
    and whose work, which was in the base, was sent back.
    """

    task_id: str
    merged_before: int
    unverified: set[str]
    cancel: threading.Event | None
    refused: str | None = None


class BatchBases:
    """Those of the batches that may still be merged, if only once more on a branch that
    has moved.
    """

    def __init__(self) -> None:
        self._bases: dict[str, _Base] = {}  # by batch
        self._merges = 0
        self._merged: dict[str, int] = {}  # task id → its place

    def __len__(self) -> int:
        return len(self._bases)

    def add(
        self, manifest: Manifest, unverified: Collection[str] = ()
    ) -> threading.Event | None:
        """The batch is chosen, with the `unverified` work of these tasks in its base.

        Returns what ends its attempt once it is set; None if all of the base is merged.
        """
        cancel = threading.Event() if unverified else None
        self._bases[manifest.batch] = _Base(
            manifest.only_task.id, self._merges, set(unverified), cancel
        )
        return cancel

    def decide(self, manifest: Manifest, *, merged: bool) -> None:
        """The work of the batch is `merged`, or sent back: its attempt is over."""
        base = self._bases.get(manifest.batch)
        if base is not None:
            base.cancel = None
        if merged:
            self._merged[manifest.only_task.id] = self._merges
            self._merges += 1

    def discard(self, batch: str) -> None:
        """The batch is not merged again."""
        self._bases.pop(batch, None)

    @property
    def has_unverified_starts(self) -> bool:
        """Whether an attempt that started on unverified work is not decided."""
        return any(base.cancel is not None for base in self._bases.values())

    def send_back(
        self, task_ids: Collection[str], graph: TaskGraph
    ) -> list[tuple[str, str]]:
        """The work of these tasks is not merged: end the attempts at tasks that need it,
        and let their results not count. Each of those, with the task that it needs.

        Attempts at other tasks go on, although the work was in their base: only their
        own changes are merged, and verified with what is there then.
        """
        stopped = []
        for base in self._bases.values():
            base.unverified.difference_update(task_ids)
            if base.cancel is None or base.refused is not None:
                continue
            # A person may have taken the task out of the plan while it ran.
            if base.task_id not in graph.tasks:
                continue
            for needed in graph.dependencies(base.task_id):
                if needed in task_ids:
                    base.refused = needed
                    base.cancel.set()
                    stopped.append((base.task_id, needed))
                    break
        return stopped

    def has_work_of(self, task_id: str, batch: str) -> bool:
        """Whether the batch's base has what was merged of the task."""
        base = self._bases.get(batch)
        if base is None:
            return False
        if task_id in base.unverified:
            return True
        place = self._merged.get(task_id)
        return place is not None and place < base.merged_before

    def why_outdated(self, batch: str) -> str | None:
        """Why the result of the batch does not count, whatever it is, or None."""
        base = self._bases.get(batch)
        if base is None or base.refused is None:
            return None
        return f"it started from work on {base.refused} that was sent back"
