"""Accounts for what a run has spent and achieved, and decides whether it goes on."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

from runner.config.settings import Settings
from runner.core.events import Waiting
from runner.core.manifest import Manifest
from runner.core.result import FailureKind
from runner.fan_in.batch_merge import FanIn
from runner.local.observer import MaskingObserver
from runner.plan.snapshot import Snapshot
from runner.schedule.backoff import Backoff
from runner.schedule.budget import Budget, UsageTotal
from runner.schedule.task_choice import TaskChoice


class RunAccount:
    """The budget, the usage and the rate limits of one run, batch after batch."""

    def __init__(
        self, settings: Settings, observer: MaskingObserver, cancel: threading.Event
    ) -> None:
        self.usage = UsageTotal()
        # those whose last attempt was interrupted, or chosen and never started
        self.interrupted_tasks: set[str] = set()
        self._settings, self._observer, self._cancel = settings, observer, cancel
        self._budget = Budget(settings.limits.max_cost_usd)
        self._backoff = Backoff.full(settings.slots)

    @property
    def budget(self) -> Budget:
        return self._budget

    @property
    def slots(self) -> int:
        """The number of agents that may run at once now."""
        return self._backoff.agents

    def account_for_batch(
        self, manifest: Manifest, fan_in: FanIn, *, moved: bool
    ) -> str | None:
        """Count what a batch cost and achieved.

        Returns why no more tasks should start, or None. Continuing makes sense if work
        was merged, if a failed attempt counted, or if the branch `moved`, so that the
        next batch has a different base. If only a rate limit prevents progress, the run
        tries again for a while.
        """
        self._budget = self._budget.after(manifest, fan_in.results)
        self.usage = self.usage.plus(fan_in.results)
        self._note_interrupted(manifest, fan_in)
        failures = fan_in.failed.values()
        counted = any(failure.counted for failure in failures)
        limits = {FailureKind.RATE_LIMIT, FailureKind.USAGE_LIMIT}
        limited = any(failure.kind in limits for failure in failures)
        progressed = bool(fan_in.landed) or counted or moved
        self._backoff = self._backoff.after(limited=limited, progressed=progressed)
        if progressed:
            return None
        if limited:
            return self._backoff.stop_reason()
        return "no task in this batch made progress"

    def _note_interrupted(self, manifest: Manifest, fan_in: FanIn) -> None:
        for entry in manifest.entries:
            task_id = entry.task.id
            self.interrupted_tasks.discard(task_id)
            if task_id in fan_in.landed:
                continue
            failure = fan_in.failed.get(task_id)
            if failure is None or failure.kind is FailureKind.INTERRUPTED:
                self.interrupted_tasks.add(task_id)

    def cost_limit_reached(self, snapshot: Snapshot, choice: TaskChoice) -> str | None:
        """The message that the cost limit stops all ready tasks, or None."""
        reason = self._budget.stop_reason()
        if reason is None:
            return None
        standings = choice.standings(snapshot, self._settings.max_attempts)
        return reason if snapshot.graph.ready(standings) else None

    def reserve(self, manifests: list[Manifest]) -> Budget:
        """The budget without the shares of these running batches of one task."""
        reserved_usd = 0.0
        for manifest in manifests:
            reserved_usd += manifest.entries[0].reserved_usd or 0.0
        spent_usd = self._budget.spent_usd + reserved_usd
        return replace(self._budget, spent_usd=spent_usd)

    def wait_for_rate_limit(self) -> None:
        """Pause after a rate limit; the run's end ends the pause."""
        seconds = self._backoff.pause_seconds(random.random)  # no secret: jitter
        if seconds:
            reason = (
                f"rate limit or overload: waiting {seconds:.0f} s, "
                f"then {self.slots} at a time"
            )
            self._observer.observe(Waiting(seconds=seconds, reason=reason))
            self._cancel.wait(seconds)
