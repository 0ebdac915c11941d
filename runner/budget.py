"""Keeps `limits.max_cost_usd` across agents that work at once: what each may cost is reserved before it starts.

An attempt whose cost nobody told counts as what was reserved for it: unknown is never 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from runner.models import FailureKind, Manifest, Result

_CENT = 0.01


@dataclass(frozen=True)
class Budget:
    """What a run has spent. `dearest` is the costliest attempt so far, the estimate for the next ones."""

    limit: float | None = None
    spent: float = 0.0
    dearest: float = 0.0

    @property
    def left(self) -> float | None:
        return None if self.limit is None else max(0.0, self.limit - self.spent)

    def slots(self, wanted: int) -> int:
        """How many of the wanted attempts may start at once, so that together they stay within what is left."""
        if self.left is None or not wanted:
            return wanted
        if self.left < _CENT:
            return 0
        return min(wanted, int(self.left / self.dearest + 1e-9)) if self.dearest else wanted

    def share(self, attempts: int) -> float | None:
        """What each of so many attempts may cost."""
        return None if self.left is None or not attempts else self.left / attempts

    def exhausted(self) -> str | None:
        """Why no attempt may start any more, None if one may."""
        if self.slots(1):
            return None
        told = f"${self.spent:.2f} of limits.max_cost_usd = ${self.limit:.2f} are spent"
        return f"{told}, and an attempt has cost up to ${self.dearest:.2f}" if self.dearest else told

    def after(self, manifest: Manifest, results: Iterable[Result]) -> Budget:
        """The budget once the attempts of a batch have been paid."""
        reserved = {entry.task.id: entry.reserved_usd for entry in manifest.entries}
        spent, dearest = self.spent, self.dearest
        for result in results:
            cost = result.usage.cost_usd
            if cost is None and not _never_began(result):
                cost = reserved.get(result.task)
            spent += cost or 0.0
            dearest = max(dearest, result.usage.cost_usd or 0.0)
        return replace(self, spent=spent, dearest=dearest)


def _never_began(result: Result) -> bool:
    return result.failure is not None and result.failure.kind is FailureKind.NOT_READY
