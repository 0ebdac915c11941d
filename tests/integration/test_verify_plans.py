"""A sample of `python -m benchmarks.verify_plans`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.verify_plans import run_plan


@pytest.mark.parametrize("seed", range(1, 5))
def test_no_red_tree_lands_and_results_that_wait_share_a_run_of_verify(
    seed: int, tmp_path: Path
) -> None:
    assert run_plan(seed, tmp_path).wrong == ()
