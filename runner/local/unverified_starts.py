"""The attempts that started on merged work before `verify` had decided about it:
`start_after: merge`.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.core.manifest import Manifest
    from runner.plan.graph import TaskGraph


@dataclass
class _Start:
    """An attempt at a task, and what ends it. `refused` is a task that it needs and
    whose work, which was in its base, was sent back.
    """

    task_id: str
    cancel: threading.Event = field(default_factory=threading.Event)
    refused: str | None = None


class UnverifiedStarts:
    """Those of one run whose result is not merged yet."""

    def __init__(self) -> None:
        self._starts: dict[str, _Start] = {}  # by batch

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, manifest: Manifest) -> threading.Event:
        """The batch of one task is started; what ends its attempt once it is set."""
        start = _Start(manifest.entries[0].task.id)
        self._starts[manifest.batch] = start
        return start.cancel

    def discard(self, batch: str) -> None:
        """The batch is merged, or was never one of these."""
        self._starts.pop(batch, None)

    def stop_dependents(
        self, sent_back: Collection[str], graph: TaskGraph
    ) -> list[tuple[str, str]]:
        """End the attempts at tasks that need one of those `sent_back`, and let their
        results not count. Each of these tasks, with the one that it needs.

        Attempts at other tasks go on, although the work was in their base: only their
        own changes are merged, and verified with what is there then.
        """
        stopped = []
        for start in self._starts.values():
            # A person may have taken the task out of the plan while it ran.
            if start.refused is not None or start.task_id not in graph.tasks:
                continue
            for needed in graph.dependencies(start.task_id):
                if needed in sent_back:
                    start.refused = needed
                    start.cancel.set()
                    stopped.append((start.task_id, needed))
                    break
        return stopped

    def why_outdated(self, batch: str) -> str | None:
        """Why the result of the batch does not count, whatever it is, or None."""
        start = self._starts.get(batch)
        if start is None or start.refused is None:
            return None
        return f"it started from work on {start.refused} that was sent back"
