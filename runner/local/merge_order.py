"""The order in which a run merges tasks and chooses batches: the progress file of a
batch's base may lack what was merged before it was chosen.
"""

from __future__ import annotations

from collections.abc import Collection


class MergeOrder:
    """What a run by the rolling schedule has merged so far, and chosen when."""

    def __init__(self) -> None:
        self._merges = 0
        self._merged: dict[str, int] = {}  # task id → its place
        self._chosen: dict[str, int] = {}  # batch → how many were merged before it
        # batch → the tasks whose work its base has, although they were merged later
        self._unverified: dict[str, set[str]] = {}

    def add_merged(self, task_id: str) -> None:
        self._merged[task_id] = self._merges
        self._merges += 1

    def add_chosen(self, batch: str, unverified: Collection[str] = ()) -> None:
        """`unverified` are the tasks whose work was in the batch's base, and is merged
        when verify has ended.
        """
        self._chosen[batch] = self._merges
        if unverified:
            self._unverified[batch] = set(unverified)

    def add_sent_back(self, task_id: str) -> None:
        """What the bases have of the task is not merged after all."""
        for task_ids in self._unverified.values():
            task_ids.discard(task_id)

    def is_in_base(self, batch: str, task_id: str) -> bool:
        """Whether the batch's base has what was merged of the task."""
        if task_id in self._unverified.get(batch, ()):
            return True
        place = self._merged.get(task_id)
        return place is not None and place < self._chosen.get(batch, 0)
