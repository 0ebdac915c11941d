"""How many agents run at once, and how long a run waits, while a model's provider says
"too many" or "overloaded".

Fewer at once after every round that met a limit, one more after every round that met
none (as TCP does), and a pause that doubles, with jitter so that runs that were refused
together do not come back together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MOST_ROUNDS = 7  # in a row that met a limit and achieved nothing
FIRST_PAUSE, LONGEST_PAUSE = 4.0, 300.0  # seconds


@dataclass(frozen=True)
class Backoff:
    """`most` agents may run at once, `now` do; `limited` rounds in a row met a limit."""

    max_agents: int
    agents: int
    limited_rounds: int = 0

    @classmethod
    def full(cls, max_agents: int) -> Backoff:
        return cls(max_agents, max_agents)

    def after(self, *, limited: bool, progressed: bool) -> Backoff:
        """The pace after a round that met a limit or not, and that achieved something
        or not.
        """
        if not limited:
            return Backoff(self.max_agents, min(self.max_agents, self.agents + 1))
        return Backoff(
            self.max_agents,
            max(1, self.agents // 2),
            1 if progressed else self.limited_rounds + 1,
        )

    def stop_reason(self) -> str | None:
        """Why to stop, None while it makes sense to wait and try again."""
        if self.limited_rounds < MOST_ROUNDS:
            return None
        return (
            f"the model refused {self.limited_rounds} rounds in a row "
            "(rate limit or overload); no attempt was counted"
        )

    def pause_seconds(self, random: Callable[[], float]) -> float:
        """Seconds to wait before the next round; `random` gives 0 to 1."""
        if not self.limited_rounds:
            return 0.0
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (self.limited_rounds - 1))
        return float(longest * (0.5 + random() / 2))
