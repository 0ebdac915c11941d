"""Paces a run while a model's provider reports a rate limit or an overload: the number
of agents at once, and the pause before a retry.

The number of agents halves after a round that met a limit and grows by one after a
round that met none, as in TCP. The pause doubles, with jitter, so that runs that were
limited together do not retry together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

MOST_ROUNDS = 7  # consecutive rounds that only met limits, before the run gives up
FIRST_PAUSE, LONGEST_PAUSE = 4.0, 300.0  # seconds


class Backoff(NamedTuple):
    """`agents` may run at once, at most `max_agents`.

    `limited_rounds` counts the rounds in a row that met a limit and achieved nothing.
    """

    max_agents: int
    agents: int
    limited_rounds: int = 0

    @classmethod
    def full(cls, max_agents: int) -> Backoff:
        """The state before a limit is met: all agents may run."""
        return cls(max_agents, max_agents)

    def after(self, *, limited: bool, progressed: bool) -> Backoff:
        """The state after a round; `progressed`: it achieved something all the same."""
        if not limited:
            return Backoff(self.max_agents, min(self.max_agents, self.agents + 1))
        limited_rounds = 1 if progressed else self.limited_rounds + 1
        return Backoff(self.max_agents, max(1, self.agents // 2), limited_rounds)

    def stop_reason(self) -> str | None:
        """Return why the run gives up; None while another round makes sense."""
        if self.limited_rounds < MOST_ROUNDS:
            return None
        return (
            f"the model's provider refused {self.limited_rounds} rounds in a row "
            "(rate limit or overload); no attempt was counted"
        )

    def pause_seconds(self, random: Callable[[], float]) -> float:
        """Seconds to wait before the next round. `random` returns 0 to 1."""
        if not self.limited_rounds:
            return 0.0
        # The number may come from outside, and a huge power overflows.
        doubled = FIRST_PAUSE * 2.0 ** min(self.limited_rounds - 1, MOST_ROUNDS)
        longest = min(LONGEST_PAUSE, doubled)
        return float(longest * (0.5 + random() / 2))
