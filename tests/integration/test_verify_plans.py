"""A sample of `python -m benchmarks.verify_plans`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.verify_plans import run_independent, run_plan


@pytest.mark.parametrize("seed", range(1, 5))
def test_no_red_tree_lands_and_results_that_wait_share_a_run_of_verify(
    seed: int, tmp_path: Path
) -> None:
    assert run_plan(seed, tmp_path).wrong == ()


def test_eight_independent_tasks_are_verified_once(tmp_path: Path) -> None:
    outcome = run_independent(tmp_path)
    assert outcome.wrong == ()
    assert (outcome.results, outcome.runs) == (8, 1)
