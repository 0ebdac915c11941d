"""How many workspaces are prepared while verify runs."""

from __future__ import annotations

import pytest

from runner.attempt import preparation
from runner.attempt.preparation import most_ahead

SLOW, FAST = preparation.SLOW_SETUP, 0.01


@pytest.mark.parametrize("others_work", [False, True])
def test_a_slow_set_up_is_done_ahead_for_each_free_slot(others_work: bool) -> None:
    assert most_ahead(3, SLOW, is_large=False, others_work=others_work) == 3


@pytest.mark.parametrize(("seconds", "is_large"), [(1.0, False), (FAST, True)])
def test_beside_verify_alone_one_workspace_is_prepared(
    seconds: float, is_large: bool
) -> None:
    assert most_ahead(3, seconds, is_large=is_large, others_work=False) == 1
    assert most_ahead(0, seconds, is_large=is_large, others_work=False) == 0


@pytest.mark.parametrize(("seconds", "is_large"), [(1.0, False), (FAST, True)])
def test_beside_other_work_no_workspace_is_prepared_that_takes_little(
    seconds: float, is_large: bool
) -> None:
    assert most_ahead(3, seconds, is_large=is_large, others_work=True) == 0


def test_a_small_checkout_with_a_fast_set_up_is_never_prepared_ahead() -> None:
    assert most_ahead(3, FAST, is_large=False, others_work=False) == 0
