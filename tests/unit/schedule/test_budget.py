"""Cost is reserved before an attempt starts, and an unknown cost is never 0."""

from __future__ import annotations

import pytest

from runner.core.result import Failure, FailureKind, Result, Usage
from runner.schedule.budget import Budget, UsageTotal
from tests.support.builders import entry, manifest, result, task


def _batch(
    *costs: float | None, share: float, **fields: object
) -> tuple[object, list[Result]]:
    entries = [
        entry(task(f"T{n}"), index=n, reserved_usd=share) for n, _ in enumerate(costs)
    ]
    batch = manifest(*entries)
    return batch, [
        result(batch, planned, usage=Usage(cost_usd=cost), **fields)
        for planned, cost in zip(entries, costs, strict=True)
    ]


def test_without_a_limit_all_attempts_may_start() -> None:
    budget = Budget(None, spent_usd=1e6, highest_cost_usd=1e5)
    assert (
        budget.affordable(7),
        budget.share_per_attempt(7),
        budget.stop_reason(),
    ) == (7, None, None)


def test_before_any_cost_is_reported_the_remaining_budget_is_shared() -> None:
    budget = Budget(3.0)
    assert (budget.affordable(3), budget.share_per_attempt(3)) == (3, 1.0)


@pytest.mark.parametrize(
    ("spent", "slots"),
    [(0.0, 5), (7.0, 3), (8.0, 2), (9.0, 1), (9.5, 0), (10.0, 0), (12.0, 0)],
)
def test_no_more_attempts_start_than_could_all_cost_the_highest_cost_so_far(
    spent: float, slots: int
) -> None:
    budget = Budget(10.0, spent_usd=spent, highest_cost_usd=1.0)
    assert budget.affordable(5) == slots
    assert (budget.stop_reason() is None) is (slots > 0)


def test_rounding_does_not_lose_an_attempt() -> None:
    assert Budget(0.3, highest_cost_usd=0.1).affordable(5) == 3


def test_agents_at_once_cannot_exceed_the_budget_together() -> None:
    budget = Budget(1.0, spent_usd=0.0, highest_cost_usd=0.3)
    started = budget.affordable(10)
    assert started * 0.3 <= 1.0
    share = budget.share_per_attempt(started)
    assert share is not None
    assert share * started == pytest.approx(1.0)


def test_the_sum_and_the_highest_cost_are_recorded() -> None:
    batch, results = _batch(0.5, 0.2, share=1.0)
    after = Budget(3.0).after(batch, results)  # type: ignore[arg-type]
    assert after.spent_usd == pytest.approx(0.7)
    assert after.highest_cost_usd == 0.5


def test_an_unknown_cost_counts_as_the_whole_share() -> None:
    batch, results = _batch(None, 0.0, share=1.5)
    assert Budget(3.0).after(batch, results).spent_usd == 1.5  # type: ignore[arg-type]


def test_an_attempt_that_never_started_costs_nothing() -> None:
    failure = Failure(kind=FailureKind.NOT_READY, message="no key")
    batch, results = _batch(None, share=1.5, failure=failure)
    assert Budget(3.0).after(batch, results).spent_usd == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("costs", "text"),
    [
        ((), "cost: unknown"),
        ((None, None), "cost: unknown"),
        ((0.5, 0.25), "cost: $0.75"),
        ((0.5, None), "cost: at least $0.50 (1 of 2 attempts report none)"),
        ((0.0,), "cost: $0.00"),
    ],
)
def test_a_total_says_how_many_attempts_report_no_cost(
    costs: tuple[float | None, ...], text: str
) -> None:
    _, results = _batch(*costs, share=1.0)
    assert UsageTotal().plus(results).describe() == text
