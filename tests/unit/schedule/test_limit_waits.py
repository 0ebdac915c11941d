"""When an agent that has met a usage limit may start again, and how many of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runner.schedule.limit_waits import ASK_AGAIN, MARGIN, LimitWaits

NOW = datetime(2026, 7, 19, 18, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
NONE = LimitWaits()


def until(waits: LimitWaits) -> datetime:
    return waits.limits["claude"].until


def test_an_agent_waits_until_shortly_after_the_reset_and_then_all_of_it_start() -> (
    None
):
    waits = NONE.met("claude", NOW + HOUR, NOW)
    assert until(waits) == NOW + HOUR + MARGIN
    assert MARGIN.total_seconds() < 60
    assert waits.is_waiting("claude", NOW + HOUR)
    assert not waits.is_waiting("claude", until(waits))
    assert not waits.asks_alone("claude")
    assert not waits.is_waiting("codex", NOW)


@pytest.mark.parametrize("resets", [None, NOW + timedelta(days=9)])
def test_without_a_reset_that_counts_one_agent_asks_after_a_quarter_of_an_hour(
    resets: datetime | None,
) -> None:
    waits = NONE.met("claude", resets, NOW)
    assert until(waits) == NOW + ASK_AGAIN
    assert waits.asks_alone("claude")


def test_agents_that_meet_the_same_limit_beside_each_other_do_not_repeat_it() -> None:
    first = NONE.met("claude", NOW + HOUR, NOW)
    assert first.met("claude", None, NOW) == first
    later = first.met("claude", NOW + 2 * HOUR, NOW)
    assert until(later) == NOW + 2 * HOUR + MARGIN
    assert until(later.met("claude", NOW + HOUR, NOW)) == until(later)
    assert not later.asks_alone("claude")
    # one of them says when
    known = NONE.met("claude", None, NOW).met("claude", NOW + timedelta(minutes=1), NOW)
    assert until(known) == NOW + timedelta(minutes=1) + MARGIN
    assert not known.asks_alone("claude")


def test_a_limit_that_is_met_again_is_asked_by_one_agent_and_less_and_less_often() -> (
    None
):
    waits, now, minutes = NONE, NOW, []
    for _ in range(7):
        waits = waits.met("claude", now + timedelta(seconds=1), now)
        minutes.append((until(waits) - now).total_seconds() / 60)
        now = until(waits)
    assert minutes == [16 / 60, 1, 2, 4, 8, 15, 15]
    assert waits.asks_alone("claude")
    assert waits.limits["claude"].since == NOW


def test_a_time_without_a_date_that_has_just_passed_is_not_taken_for_tomorrows() -> (
    None
):
    waits = NONE.met("claude", NOW + HOUR, NOW)
    again = waits.met("claude", NOW + HOUR + timedelta(days=1), until(waits))
    assert until(again) == until(waits) + ASK_AGAIN


def test_an_answer_ends_the_limit_unless_it_began_before() -> None:
    waits = NONE.met("claude", NOW + HOUR, NOW)
    assert waits.answered("claude", NOW) == waits
    assert waits.answered("claude", until(waits)) == NONE
    assert waits.answered("codex", until(waits)) == waits


def test_a_reset_that_is_past_when_a_dead_runs_result_is_read_stops_nothing() -> None:
    waits = NONE.met("claude", NOW - HOUR, NOW)
    assert not waits.is_waiting("claude", NOW)


def test_a_new_run_takes_over_what_still_counts_and_waits_for_its_own_time() -> None:
    waits = NONE.met("claude", NOW + HOUR, NOW).met("codex", None, NOW)
    later = NOW + timedelta(minutes=30)
    taken = waits.in_a_new_run(later)
    assert until(taken) == until(waits)
    assert taken.limits["claude"].since == later
    assert taken.asks_alone("codex")
    # whether an unknown limit has reset is still to be asked
    assert set(waits.in_a_new_run(NOW + 2 * HOUR).limits) == {"codex"}


def test_any_reset_can_be_noted() -> None:
    far = datetime.max.replace(tzinfo=UTC)
    assert until(NONE.met("claude", far, NOW)) == NOW + ASK_AGAIN
    long_ago = datetime.min.replace(tzinfo=UTC)
    assert not NONE.met("claude", long_ago, NOW).is_waiting("claude", NOW)
