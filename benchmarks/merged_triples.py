"""`python -m benchmarks.merged_triples [COUNT [SEED]]`: merge COUNT random triples of
trees (10,000) as a retry merges earlier work, and exit with 1 if one of them drops
anything of a side.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from tests.support.merged_sides import dropped, open_merger, triple


def main(count: int = 10_000, seed: int = 0) -> int:
    conflicts = marked = unmarked = 0
    with tempfile.TemporaryDirectory() as folder:
        merger = open_merger(Path(folder))
        for number in range(seed, seed + count):
            sides = triple(random.Random(number))
            merged = merger.merge(*sides)
            conflicts += bool(merged.marked or merged.unmarked)
            marked += bool(merged.marked)
            unmarked += bool(merged.unmarked)
            problems = dropped(merger, *sides, merged)
            if problems:
                print(f"triple {number}:", *problems, sep="\n  ")
                return 1
    print(
        f"{count:,} triples: {conflicts:,} conflicts, {marked:,} with markers, "
        f"{unmarked:,} with versions that are named; nothing is dropped"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
