"""Properties of fan in.culprits, over generated inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

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
