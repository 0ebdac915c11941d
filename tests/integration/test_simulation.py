"""A simulated run is the run: the same attempts, in the same order, at the same second.

`python -m benchmarks.simulation` compares 1,000 plans; here are a few of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.simulation import difference

# Even ones are batch by batch, odd ones rolling. Among them are plans where failures,
# retries, files that overlap, and a start before a merge decide the order.
SEEDS = (0, 4, 6, 20, 1, 5, 9, 27)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_real_run_starts_what_the_simulation_says_and_when(
    seed: int, tmp_path: Path
) -> None:
    assert difference(seed, tmp_path) is None
