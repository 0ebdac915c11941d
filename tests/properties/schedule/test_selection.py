"""Properties of schedule.selection, over generated inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.schedule import selection
from tests.support.builders import quick, task

_FILES = st.none() | st.lists(
    st.sampled_from(["a/x", "a/**", "b", "b/y", "*/x", "c"]), max_size=2
).map(tuple)


@quick
@given(st.lists(_FILES, max_size=6), st.integers(1, 4), st.data())
def test_a_batch_is_within_its_limit_without_overlaps_and_as_large_as_possible(
    files: list[tuple[str, ...] | None], slots: int, data: st.DataObject
) -> None:
    tasks = [task(str(n), files=globs) for n, globs in enumerate(files)]
    heights = {candidate.id: data.draw(st.floats(0, 9)) for candidate in tasks}
    chosen = selection.choose(tasks, slots, heights)
    assert len(chosen) <= slots
    numbers = [int(candidate.id) for candidate in chosen]
    assert numbers == sorted(set(numbers))
    assert not any(
        selection.overlap(a, b) for a in chosen for b in chosen if a is not b
    )
    if len(chosen) < slots:
        for rejected in (task for task in tasks if task not in chosen):
            assert any(selection.overlap(rejected, taken) for taken in chosen)
