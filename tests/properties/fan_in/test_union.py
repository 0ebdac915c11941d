"""Properties of fan in.union, over generated inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.fan_in.union import Blob
from tests.support.builders import quick
from tests.support.memory_trees import (
    BASE,
    Files,
    blob_of,
    unite_in_memory,
)

_PATHS = ["a", "b", "d/x", "d/y", "n1", "n2", "m/1", "m/2"]


@quick
@given(
    st.lists(
        st.tuples(
            st.sampled_from(_PATHS), st.integers(0, 4), st.none() | st.just("new")
        ),
        unique_by=lambda c: c[0],
    ),
    st.booleans(),
)
def test_uniting_disjoint_results_equals_applying_them_one_by_one(
    changes: list[tuple[str, int, str | None]], tree_per_task: bool
) -> None:
    """Every path belongs to one of five: the branch (0) or one of four tasks."""
    shares: list[dict[str, Blob | None]] = [{}, {}, {}, {}, {}]
    for path, owner, text in changes:
        if text or path in BASE:
            shares[owner][path] = blob_of(f"{text} of {owner}") if text else None
    trees, files_after, _ = unite_in_memory(
        *shares[1:], branch_changes=shares[0], tree_per_task=tree_per_task
    )
    step: Files = dict(BASE)
    steps = []
    for share in shares:
        step = {path: blob for path, blob in step.items() if path not in share}
        step |= {path: blob for path, blob in share.items() if blob}
        steps.append(step)
    assert files_after == (steps[1:] if tree_per_task else [step] * 4)
    assert trees.merges == 0


@quick
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b", "d/x", "n"]),
            st.sampled_from(["2", "3"]),
            max_size=3,
        ),
        max_size=5,
    )
)
def test_both_commit_strategies_make_the_same_tree_and_fail_the_same_tasks(
    texts: list[dict[str, str]],
) -> None:
    changes = [
        {path: blob_of(text) for path, text in task_texts.items()}
        for task_texts in texts
    ]
    (_, batch, messages), (_, single, single_messages) = (
        unite_in_memory(*changes, tree_per_task=tree_per_task)
        for tree_per_task in (False, True)
    )
    assert messages == single_messages
    assert [tree is None for tree in batch] == [tree is None for tree in single]
    assert [t for t in batch if t is not None][-1:] == [
        t for t in single if t is not None
    ][-1:]
