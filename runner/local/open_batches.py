"""The batches of a rolling run between start and merge, and how far each of them is."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import TYPE_CHECKING

from runner.local.merge_queue import MergeQueue

if TYPE_CHECKING:
    from runner.core.manifest import Manifest
    from runner.core.result import Result
    from runner.core.task import Task
    from runner.local.context import RunContext
    from runner.local.joint_merge import VerifiedMerge
    from runner.local.landing_queue import LandingQueue
    from runner.plan.snapshot import Snapshot


class OpenBatches:
    """Batches of one task. Such a batch is `at_work` until it has a result, which then
    waits in `unmerged`. Where the merge takes a run of `verify`, it is `in_verify` until
    that has decided. It uses a slot until its agent has exited.

    `verifying` is the merge of those in verify.
    """

    def __init__(self, context: RunContext, landing_queue: LandingQueue) -> None:
        self._settings, self._landing_queue = context.settings, landing_queue
        self._started: dict[str, Manifest] = {}  # by batch
        self._exited: set[str] = set()
        self.unmerged = MergeQueue(context)
        self.verifying: VerifiedMerge | None = None

    def __len__(self) -> int:
        return len(self._started)

    @property
    def is_empty(self) -> bool:
        """Whether there is none, and nothing is verified any more."""
        return not self._started and self.verifying is None

    # -- what happens to them --

    def start(self, manifest: Manifest) -> None:
        self._started[manifest.batch] = manifest

    def leave_slot(self, manifest: Manifest) -> None:
        """Its agent has exited, and the slot is free for another task."""
        self._exited.add(manifest.batch)

    def add_result(self, manifest: Manifest, result: Result | None) -> None:
        """As `MergeQueue.add`."""
        self.unmerged.add(manifest, result)
        # With one slot the next task starts from what this one made.
        has_work = result is not None and result.succeeded
        if has_work and self._settings.slots > 1:
            self.leave_slot(manifest)

    def close(self, manifest: Manifest) -> None:
        """It is merged, or sent back."""
        del self._started[manifest.batch]
        self._exited.discard(manifest.batch)

    # -- how far they are --

    @property
    def manifests(self) -> list[Manifest]:
        """In the order in which they started."""
        return list(self._started.values())

    @property
    def task_ids(self) -> list[str]:
        """The ids of their tasks, in the order in which they started."""
        return [each.only_task.id for each in self.manifests]

    @property
    def at_work(self) -> set[str]:
        """Those that have no result yet."""
        return self._started.keys() - self.unmerged.batches - self.in_verify

    @property
    def in_verify(self) -> set[str]:
        """Those whose work is being verified, or waits for that."""
        return set() if self.verifying is None else self.verifying.batches

    @property
    def used_slots(self) -> int:
        # An agent that has exited uses none, although its result is not merged yet.
        return len(self._started) - len(self._exited)

    @property
    def used_slots_if_green(self) -> int:
        """How many slots are used once all in verify are merged."""
        return len(self._started.keys() - self._exited - self.in_verify)

    def tasks(self, batches: Iterable[str]) -> list[Task]:
        """The tasks of these batches, in the order in which they started."""
        chosen = set(batches)
        return [
            self._started[each].only_task for each in self._started if each in chosen
        ]

    def tasks_without(self, merged: Set[str]) -> list[Task]:
        """The tasks whose work is not in a head that has these batches."""
        return self.tasks(self._started.keys() - merged)

    def exited_without(self, merged: Set[str]) -> list[str]:
        """The ids of those of them that use no slot."""
        return [task.id for task in self.tasks(self._exited - merged)]

    # -- which are merged now --

    def to_merge(self, snapshot: Snapshot) -> list[Manifest]:
        """The batches whose results to merge now on the head `snapshot`."""
        if not self.has_room:
            return []
        if self.unmerged.first.verify is None:
            return self.unmerged.urgent(snapshot, len(self._landing_queue.accepted))
        in_verify = [task.id for task in self.tasks(self.in_verify)]
        return self.unmerged.due(snapshot, in_verify, more_come=bool(self.at_work))

    @property
    def has_room(self) -> bool:
        """Whether there are results which may be merged beside what is verified now."""
        if not self.unmerged or self.verifying is None:
            return bool(self.unmerged)
        # Where a landing is due, nothing more is put before it.
        has_room = self.verifying.has_room_for(self.unmerged.first)
        return has_room and not self._landing_queue.is_due

    @property
    def merges_lag_behind(self) -> bool:
        """Whether so many results wait that a free slot has to.

        Where agents end faster than the next ones start, there is always a free slot:
        results would pile up until the last task has started.
        """
        return len(self.unmerged) >= 2 * self._settings.slots
