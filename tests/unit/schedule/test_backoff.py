"""Fewer agents and longer pauses after rate limits, until the run gives up."""

from __future__ import annotations

import pytest

from runner.schedule.backoff import LONGEST_PAUSE, MOST_ROUNDS, Backoff


def test_a_limit_halves_the_agents_and_a_round_without_one_adds_one() -> None:
    backoff, agents = Backoff.full(8), []
    for limited in (True, True, True, True, False, False):
        backoff = backoff.after(limited=limited, progressed=False)
        agents.append(backoff.agents)
    assert agents == [4, 2, 1, 1, 2, 3]


def test_there_are_never_more_agents_than_the_settings_allow() -> None:
    assert Backoff.full(3).after(limited=False, progressed=True).agents == 3


def test_pauses_double_with_jitter_and_are_bounded() -> None:
    backoff, pauses = Backoff.full(4), []
    for _ in range(12):
        backoff = backoff.after(limited=True, progressed=False)
        pauses.append(
            (backoff.pause_seconds(lambda: 0.0), backoff.pause_seconds(lambda: 1.0))
        )
    assert pauses[:3] == [(2.0, 4.0), (4.0, 8.0), (8.0, 16.0)]
    assert max(high for _, high in pauses) == LONGEST_PAUSE
    assert Backoff(4, 1, 10_000).pause_seconds(lambda: 1.0) == LONGEST_PAUSE
    assert Backoff.full(4).pause_seconds(lambda: 1.0) == 0


@pytest.mark.parametrize("progressed", [True, False])
def test_it_gives_up_only_if_no_round_achieves_anything(progressed: bool) -> None:
    backoff = Backoff.full(4)
    for _ in range(MOST_ROUNDS):
        assert backoff.stop_reason() is None
        backoff = backoff.after(limited=True, progressed=progressed)
    assert (backoff.stop_reason() is None) is progressed
