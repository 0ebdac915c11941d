"""Keeps `limits.max_cost_usd` across agents that work at once: what each may cost is
reserved before it starts.

An attempt whose cost nobody told counts as what was reserved for it: unknown is never
0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from runner.core.manifest import Manifest
from runner.core.result import FailureKind, Result

_CENT = 0.01


@dataclass(frozen=True)
class Budget:
    """What a run has spent. `highest_cost_usd` is the costliest attempt so far, the estimate for
    the next ones.
    """

    limit: float | None = None
    spent_usd: float = 0.0
    highest_cost_usd: float = 0.0

    @property
    def remaining_usd(self) -> float | None:
        return None if self.limit is None else max(0.0, self.limit - self.spent_usd)

    def affordable(self, wanted: int) -> int:
        """How many of the wanted attempts may start at once, so that together they stay
        within what remains.
        """
        if self.remaining_usd is None or not wanted:
            return wanted
        if self.remaining_usd < _CENT:
            return 0
        return (
            min(wanted, int(self.remaining_usd / self.highest_cost_usd + 1e-9))
            if self.highest_cost_usd
            else wanted
        )

    def share_per_attempt(self, attempts: int) -> float | None:
        """What each of so many attempts may cost."""
        return (
            None
            if self.remaining_usd is None or not attempts
            else self.remaining_usd / attempts
        )

    def stop_reason(self) -> str | None:
        """Why no attempt may start any more, None if one may."""
        if self.affordable(1):
            return None
        told = f"${self.spent_usd:.2f} of limits.max_cost_usd = ${self.limit:.2f} are spent"
        return (
            f"{told}, and an attempt has cost up to ${self.highest_cost_usd:.2f}"
            if self.highest_cost_usd
            else told
        )

    def after(self, manifest: Manifest, results: Iterable[Result]) -> Budget:
        """The budget once the attempts of a batch have been paid."""
        reserved = {entry.task.id: entry.reserved_usd for entry in manifest.entries}
        spent, highest_cost_usd = self.spent_usd, self.highest_cost_usd
        for result in results:
            cost = result.usage.cost_usd
            if cost is None and not _never_began(result):
                cost = reserved.get(result.task)
            spent += cost or 0.0
            highest_cost_usd = max(highest_cost_usd, result.usage.cost_usd or 0.0)
        return replace(self, spent_usd=spent, highest_cost_usd=highest_cost_usd)


@dataclass(frozen=True)
class UsageTotal:
    """What attempts reported to have used, in a batch or a run; `without_cost` of them did
    not say what they cost.
    """

    attempts: int = 0
    usd: float = 0.0
    tokens: int = 0
    without_cost: int = 0

    def plus(self, results: Iterable[Result]) -> UsageTotal:
        used = [result.usage for result in results if not _never_began(result)]
        return UsageTotal(
            self.attempts + len(used),
            self.usd + sum(one.cost_usd or 0.0 for one in used),
            self.tokens + sum(one.tokens or 0 for one in used),
            self.without_cost + sum(one.cost_usd is None for one in used),
        )

    def describe(self) -> str:
        """A short line; the cost is unknown, and never 0, where nobody told one."""
        if self.without_cost == self.attempts:
            cost = "cost unknown"
        else:
            cost = (
                f"${self.usd:.4f}" if 0 < self.usd < 0.1 else f"${self.usd:.2f}"
            ) + (
                f" and what {self.without_cost} of {self.attempts} did not say"
                if self.without_cost
                else ""
            )
        return f"{cost}, {self.tokens:,} tokens" if self.tokens else cost


def _never_began(result: Result) -> bool:
    return result.failure is not None and result.failure.kind is FailureKind.NOT_READY
