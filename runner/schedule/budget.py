"""Enforces `limits.max_cost_usd` for agents that run at the same time.

What each attempt may cost is reserved before it starts. An attempt that reports no cost
counts as its whole reservation, never as 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from runner.core.events import UsageReport
from runner.core.manifest import Manifest
from runner.core.result import FailureKind, Result

_CENT = 0.01


class Budget(NamedTuple):
    """The cost limit of a run and what it has spent, in US dollars; `limit` is None
    without a limit.

    `highest_cost_usd` is the cost of the most expensive attempt so far, which is the
    estimate for further ones.
    """

    limit: float | None = None
    spent_usd: float = 0.0
    highest_cost_usd: float = 0.0

    @property
    def remaining_usd(self) -> float | None:
        """The rest of the limit in US dollars; None without a limit."""
        if self.limit is None:
            return None
        return max(0.0, self.limit - self.spent_usd)

    def affordable(self, requested: int) -> int:
        """Return how many of the requested attempts may start within the budget."""
        if self.remaining_usd is None or requested == 0:
            return requested
        if self.remaining_usd < _CENT:
            return 0
        if self.highest_cost_usd == 0:
            return requested
        # The addend keeps 0.3 / 0.1 = 2.9999999999999996 from losing an attempt.
        attempts = int(self.remaining_usd / self.highest_cost_usd + 1e-9)
        return min(requested, attempts)

    def share_per_attempt(self, attempts: int) -> float | None:
        """Divide the remaining budget among the attempts, in US dollars each; None without
        a limit.
        """
        if self.remaining_usd is None or attempts == 0:
            return None
        return self.remaining_usd / attempts

    def stop_reason(self) -> str | None:
        """Return why no further attempt may start; None if one may."""
        if self.affordable(1):
            return None
        reason = (
            f"limits.max_cost_usd: ${self.spent_usd:.2f} of ${self.limit:.2f} spent"
        )
        if self.highest_cost_usd:
            reason += f", and an attempt has cost up to ${self.highest_cost_usd:.2f}"
        return reason

    def after(self, manifest: Manifest, results: Iterable[Result]) -> Budget:
        """The budget once the attempts of a batch are paid for."""
        reserved = {entry.task.id: entry.reserved_usd for entry in manifest.entries}
        spent = self.spent_usd
        highest = self.highest_cost_usd
        for result in results:
            cost = result.usage.cost_usd
            if cost is not None:
                spent += cost
                highest = max(highest, cost)
            elif _was_started(result):
                spent += reserved.get(result.task) or 0.0
        return self._replace(spent_usd=spent, highest_cost_usd=highest)


class UsageTotal(NamedTuple):
    """The reported usage of the attempts of a batch or a run.

    `cost_usd` is in US dollars; `without_cost` counts the attempts that report none.
    """

    attempts: int = 0
    cost_usd: float = 0.0
    tokens: int = 0
    without_cost: int = 0

    def plus(self, results: Iterable[Result]) -> UsageTotal:
        """The total with these results added. Attempts that never started do not count."""
        attempts, cost_usd = self.attempts, self.cost_usd
        tokens, without_cost = self.tokens, self.without_cost
        for result in results:
            if not _was_started(result):
                continue
            attempts += 1
            cost_usd += result.usage.cost_usd or 0.0
            tokens += result.usage.tokens or 0
            without_cost += result.usage.cost_usd is None
        return UsageTotal(attempts, cost_usd, tokens, without_cost)

    @property
    def report(self) -> UsageReport:
        """It as events report it."""
        return UsageReport(
            attempts=self.attempts,
            cost_usd=self.cost_usd,
            tokens=self.tokens,
            without_cost=self.without_cost,
        )

    def describe(self) -> str:
        """One short line, e.g. `cost: $0.75, 1,200 tokens`. An unknown cost is not $0."""
        if self.without_cost == self.attempts:
            text = "cost: unknown"
        else:
            digits = 4 if 0 < self.cost_usd < 0.1 else 2
            cost = f"${self.cost_usd:.{digits}f}"
            text = f"cost: {cost}"
            if self.without_cost:
                text = (
                    f"cost: at least {cost} "
                    f"({self.without_cost} of {self.attempts} attempts report none)"
                )
        if self.tokens:
            text += f", {self.tokens:,} tokens"
        return text


def _was_started(result: Result) -> bool:
    return result.failure is None or result.failure.kind is not FailureKind.NOT_READY
