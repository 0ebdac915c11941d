"""Properties of fan in.culprits, over generated inputs."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from runner.fan_in.culprits import CulpritSearch
from tests.support.builders import quick
from tests.support.culprit_search import culprits_of


@quick
@given(st.data(), st.integers(1, 80))
def test_exactly_the_culprits_are_sent_back_in_k_log_n_checks(
    data: st.DataObject, count: int
) -> None:
    guilty = data.draw(st.sets(st.integers(0, count - 1), max_size=min(count, 6)))
    sent_back, calls = culprits_of(lambda subset: not guilty & set(subset), count)
    assert sent_back == sorted(guilty)
    assert calls <= len(guilty) * (1 + math.ceil(math.log2(count))) + 1


@quick
@given(st.data(), st.integers(1, 80), st.integers(1, 8))
def test_a_split_in_more_parts_takes_fewer_rounds(
    data: st.DataObject, count: int, at_once: int
) -> None:
    guilty = data.draw(st.sets(st.integers(0, count - 1), max_size=min(count, 6)))
    sent_back, calls = culprits_of(
        lambda subset: not guilty & set(subset), count, at_once
    )
    assert sent_back == sorted(guilty)
    rounds = math.ceil(math.log(count, at_once + 1)) + 1
    assert calls <= len(guilty) * (1 + at_once * rounds) + 1


class Running:
    """Sets that are verified beside each other, and end in any order."""

    def __init__(self, search: CulpritSearch[int], guilty: set[int]) -> None:
        self.search, self.guilty = search, guilty
        self.sets: list[list[int]] = []

    def start(self, at_once: int) -> None:
        self.sets += self.search.next_sets(at_once - len(self.sets), self.sets)

    def end(self, index: int) -> None:
        items = self.sets.pop(index)
        self.search.record(items, is_green=not self.guilty & set(items))


@quick
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 4))
def test_items_that_come_meanwhile_are_verified_on_top_of_those_before_them(
    seed: int, count: int, at_once: int
) -> None:
    drawn = random.Random(seed)
    guilty = set(drawn.sample(range(count), min(count, drawn.randint(0, 4))))
    search: CulpritSearch[int] = CulpritSearch()
    running, added = Running(search, guilty), 0
    while added < count or not search.is_over or running.sets:
        if added < count and drawn.random() < 0.5:
            search.add([added])
            added += 1
        running.start(at_once)
        assert len(running.sets) <= at_once
        # something always goes on until all is decided
        assert running.sets or search.is_over
        if running.sets and drawn.random() < 0.5:
            running.end(drawn.randrange(len(running.sets)))
    assert search.guilty == sorted(guilty)
    assert search.accepted == [each for each in range(count) if each not in guilty]


@quick
@given(st.data(), st.integers(1, 20))
def test_of_items_that_are_red_only_together_the_last_is_sent_back(
    data: st.DataObject, count: int
) -> None:
    red_groups = data.draw(
        st.lists(
            st.frozensets(st.integers(0, count - 1), min_size=1, max_size=3), max_size=4
        )
    )

    def is_green(subset: Sequence[int]) -> bool:
        return not any(group <= set(subset) for group in red_groups)

    guilty, _ = culprits_of(is_green, count)
    rest = [item for item in range(count) if item not in guilty]
    assert is_green(rest)
    for item in guilty:  # none of them could have stayed
        earlier = [index for index in rest if index < item]
        assert not is_green([*earlier, item])
        assert item in {max(group) for group in red_groups}
