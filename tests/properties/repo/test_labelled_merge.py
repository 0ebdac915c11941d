"""A merge of earlier work drops nothing of either side.

`python -m benchmarks.merged_triples` does the same with ten thousand triples.
"""

from __future__ import annotations

import random
from pathlib import Path

from runner.repo.labelled_merge import LabelledMerge
from tests.support.merged_sides import dropped, open_merger, triple

COUNT = 200


def test_no_side_of_a_random_triple_is_dropped(tmp_path: Path) -> None:
    merger = open_merger(tmp_path)
    marked = named = 0
    for seed in range(COUNT):
        sides = triple(random.Random(seed))
        merged = merger.merge(*sides)
        assert dropped(merger, *sides, merged) == [], f"triple {seed}"
        marked += bool(merged.marked)
        named += bool(merged.unmarked)
    # or there would be nothing to drop
    assert min(marked, named) > COUNT / 10
    # What takes one side for the merge is seen.
    base, ours, theirs = triple(random.Random(1))
    assert dropped(merger, base, ours, theirs, LabelledMerge(merger.tree(ours)))
    assert dropped(merger, base, ours, theirs, LabelledMerge(merger.tree(theirs)))
