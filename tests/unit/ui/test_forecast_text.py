"""What `fanin simulate` prints fits in 80 columns and says what it goes by."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.forecast import (
    Chain,
    DurationSources,
    Forecast,
    ForecastRow,
    ForecastRun,
    Knee,
)
from runner.ui.forecast_text import forecast_text

SOURCES = DurationSources(recorded=1, guessed=2, guess=60.0, guess_from="median")


def text_of(**fields: Any) -> list[str]:
    row = ForecastRow(
        max_concurrent=3,
        batch=ForecastRun(seconds=2520, idle_seconds=0, idle=0.5, batches=4),
        rolling=ForecastRun(seconds=1140, idle_seconds=0, idle=0.25),
    )
    given = {
        "plan": "p",
        "tasks": 2,
        "seconds": 60.0,
        "schedule": "batch",
        "max_concurrent": 3,
        "durations": SOURCES,
        "longest_chain": Chain(seconds=60.0, tasks=("A", "B")),
        "rows": (row,),
        **fields,
    }
    return forecast_text(Forecast(**given)).splitlines()


def knee(best: int, now: int, *seconds: float) -> Knee:
    return Knee(
        schedule="batch",
        max_concurrent=best,
        now=now,
        seconds=seconds[1],
        seconds_now=seconds[0],
    )


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (knee(6, 3, 2520, 1140), "batch: 6 instead of 3: 42 → 19 min"),
        (knee(2, 3, 2520, 2640), "batch: 2 are enough instead of 3: 42 → 44 min"),
        (knee(1, 3, 2520, 2520), "batch: 1 is enough instead of 3: 42 min"),
        (
            knee(3, 3, 2520, 2520),
            "batch: 3 at once, as it is, is where more gains little",
        ),
    ],
)
def test_the_knee_is_one_line(found: Knee, line: str) -> None:
    assert line in text_of(knees=(found,))


def test_what_rolling_gains_is_said_unless_it_is_chosen() -> None:
    line = "--schedule rolling at 3: 42 → 19 min"
    assert line in text_of()
    assert line not in text_of(schedule="rolling")


def test_a_long_chain_ends_within_the_line_and_ids_are_cleaned() -> None:
    chain = Chain(seconds=60.0, tasks=tuple(f"task-{n}\x1b" for n in range(30)))
    shown = text_of(longest_chain=chain)
    assert max(map(len, shown)) <= 80
    line = next(line for line in shown if line.startswith("longest chain"))
    assert line.endswith(" more")
    assert "\x1b" not in line


def test_where_the_guess_comes_from_is_said() -> None:
    assert "durations: 1 recorded, 2 guessed at 60 s each" in text_of()
    assert any("median of what is recorded" in line for line in text_of())


def test_a_cost_above_the_limit_is_said() -> None:
    shown = text_of(cost_usd=12.0, max_cost_usd=5.0)
    cost = "cost: about $12.00 with any number of agents"
    assert f"{cost}; limits.max_cost_usd stops at $5.00" in shown
    assert cost in text_of(cost_usd=12.0, max_cost_usd=50.0)
