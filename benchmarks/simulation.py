"""`python -m benchmarks.simulation [PLANS]`: whether `fanin simulate` tells what a run
does.

Random plans, 1,000 by default, are run by the local executor itself, with real git and
real merges, where only the agent is replaced by one that sleeps by a virtual clock.
Each run must start the same attempts in the same order and at the same second as the
simulation. Nothing is timed. A test does the same with a few plans.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.support.virtual_run import random_case, real, simulated


def difference(seed: int, folder: Path) -> str | None:
    """How run and simulation of this plan differ; None if they are equal."""
    case = random_case(seed)
    root = folder / str(seed)
    ran, told = real(case, root), simulated(case)
    shutil.rmtree(root)
    for place in range(max(len(ran), len(told))):
        if ran[place : place + 1] != told[place : place + 1]:
            return (
                f"plan {seed} ({case.schedule}, {case.slots} at a time): "
                f"ran {ran[place:][:1]}, simulated {told[place:][:1]}"
            )
    return None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulation", description=__doc__
    )
    parser.add_argument("plans", nargs="?", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first plan")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args(argv)
    seeds = range(options.first, options.first + options.plans)
    differences = 0
    with (
        tempfile.TemporaryDirectory(prefix="fanin-simulation-") as folder,
        ProcessPoolExecutor(options.jobs) as pool,
    ):
        folders = [Path(folder)] * len(seeds)
        for found in pool.map(difference, seeds, folders, chunksize=5):
            if found is not None:
                differences += 1
                print(found, flush=True)
    print(f"{len(seeds)} plans, {differences} differ")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
