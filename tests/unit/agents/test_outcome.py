"""Numbers that a program reports are within bounds, so that their sums can be written."""

from __future__ import annotations

import json
import math

import pytest

from runner.agents.outcome import dollars, sum_reported, token_count
from runner.core.result import MAX_COST_USD, MAX_TOKENS


@pytest.mark.parametrize(
    "value",
    [-1, MAX_TOKENS + 1, int("9" * 4_300), True, 1.5, "1"],
    ids=["negative", "one more", "4300 digits", "truth", "fraction", "text"],
)
def test_what_is_no_number_of_tokens_is_unknown(value: object) -> None:
    assert token_count(value) is None


@pytest.mark.parametrize(
    "value",
    [-0.1, 1.7e308, math.inf, math.nan, 10**400, True, "1"],
    ids=["negative", "large", "infinity", "nan", "large whole", "truth", "text"],
)
def test_what_is_no_amount_is_unknown(value: object) -> None:
    assert dollars(value) is None


def test_the_largest_numbers_can_be_summed_and_written() -> None:
    assert sum_reported(token_count(MAX_TOKENS), MAX_TOKENS, None) == MAX_TOKENS
    assert sum_reported(None, None) is None
    total = sum(dollars(MAX_COST_USD) or 0 for _ in range(1_000))
    assert json.loads(json.dumps([total], allow_nan=False)) == [1e12]
