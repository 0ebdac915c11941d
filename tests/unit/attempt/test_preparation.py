"""How many workspaces are prepared while verify runs."""

from __future__ import annotations

import pytest

from runner.attempt import preparation
from runner.attempt.preparation import most_ahead

SLOW, FAST = preparation.SLOW_SETUP, 0.01


@pytest.mark.parametrize("at_work", [0, 2])
def test_a_slow_set_up_is_done_ahead_for_each_free_slot(at_work: int) -> None:
    assert most_ahead(3, SLOW, is_large=False, at_work=at_work, cores=2) == 3


def test_beside_verify_alone_one_small_workspace_is_prepared() -> None:
    assert most_ahead(3, 1.0, is_large=False, at_work=0, cores=8) == 1
    assert most_ahead(0, 1.0, is_large=False, at_work=0, cores=8) == 0


def test_beside_other_work_no_workspace_is_prepared_that_takes_little() -> None:
    assert most_ahead(3, 1.0, is_large=False, at_work=1, cores=8) == 0


@pytest.mark.parametrize("seconds", [1.0, FAST])
@pytest.mark.parametrize(
    ("free", "at_work", "cores", "most"),
    [(3, 0, 2, 2), (1, 0, 2, 1), (3, 1, 2, 1), (3, 4, 2, 0), (3, 4, 8, 3)],
)
def test_large_workspaces_are_prepared_for_the_cores_that_no_attempt_takes(
    seconds: float, free: int, at_work: int, cores: int, most: int
) -> None:
    found = most_ahead(free, seconds, is_large=True, at_work=at_work, cores=cores)
    assert found == most


def test_a_small_checkout_with_a_fast_set_up_is_never_prepared_ahead() -> None:
    assert most_ahead(3, FAST, is_large=False, at_work=0, cores=8) == 0
