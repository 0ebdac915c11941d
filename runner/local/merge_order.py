"""The order in which a run merges tasks and chooses batches: the progress file of a
batch's base may lack what was merged before it was chosen.
"""

from __future__ import annotations


class MergeOrder:
    """What a run by the rolling schedule has merged so far, and chosen when."""

    def __init__(self) -> None:
        self._merges = 0
        self._merged: dict[str, int] = {}  # task id → its place
        self._chosen: dict[str, int] = {}  # batch → how many were merged before it

    def add_merged(self, task_id: str) -> None:
        self._merged[task_id] = self._merges
        self._merges += 1

    def add_chosen(self, batch: str) -> None:
        self._chosen[batch] = self._merges

    def is_in_base(self, batch: str, task_id: str) -> bool:
        """Whether the task was merged before the batch was chosen."""
        place = self._merged.get(task_id)
        return place is not None and place < self._chosen.get(batch, 0)
