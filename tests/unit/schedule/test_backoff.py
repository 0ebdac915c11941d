"""Fewer at once when the model says so, longer pauses, and an end to it."""

from __future__ import annotations

import pytest

from runner.schedule.backoff import LONGEST_PAUSE, MOST_ROUNDS, Backoff


def test_a_limit_halves_and_a_quiet_round_adds_one() -> None:
    pace, seen = Backoff.full(8), []
    for limited in (True, True, True, True, False, False):
        pace = pace.after(limited=limited, progressed=False)
        seen.append(pace.agents)
    assert seen == [4, 2, 1, 1, 2, 3]


def test_never_more_than_the_settings_allow() -> None:
    assert Backoff.full(3).after(limited=False, progressed=True).agents == 3


def test_pauses_double_with_jitter_and_are_bounded() -> None:
    pace, pauses = Backoff.full(4), []
    for _ in range(12):
        pace = pace.after(limited=True, progressed=False)
        pauses.append(
            (pace.pause_seconds(lambda: 0.0), pace.pause_seconds(lambda: 1.0))
        )
    assert pauses[:3] == [(2.0, 4.0), (4.0, 8.0), (8.0, 16.0)]
    assert max(high for _, high in pauses) == LONGEST_PAUSE
    assert Backoff.full(4).pause_seconds(lambda: 1.0) == 0


@pytest.mark.parametrize("progressed", [True, False])
def test_it_gives_up_only_when_nothing_else_moves(progressed: bool) -> None:
    pace = Backoff.full(4)
    for _ in range(MOST_ROUNDS):
        assert pace.stop_reason() is None
        pace = pace.after(limited=True, progressed=progressed)
    assert (pace.stop_reason() is None) is progressed
