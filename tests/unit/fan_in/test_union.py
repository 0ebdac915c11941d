"""Results become one tree: disjoint ones are united, overlapping ones merged, and no
side is ever picked.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from runner.fan_in.union import unite
from tests.support.memory_trees import (
    BASE,
    Changes,
    Files,
    Trees,
    blob_of,
    unite_in_memory,
)


def _files(**texts: str) -> Files:
    return {path.replace("_", "/"): blob_of(text) for path, text in texts.items()}


def test_disjoint_results_are_united_in_one_write_without_a_merge() -> None:
    trees, files_after, _ = unite_in_memory(
        _files(a="2"), {"d/x": None}, _files(new_file="3")
    )
    after = {
        "a": blob_of("2"),
        "b": blob_of("1"),
        "d/y": blob_of("1"),
        "new/file": blob_of("3"),
    }
    assert files_after == [after] * 3
    assert (trees.writes, trees.merges) == (1, 0)


def test_individual_commits_get_a_tree_after_every_task() -> None:
    _, files_after, _ = unite_in_memory(
        _files(a="2"), _files(b="2"), tree_per_task=True
    )
    assert files_after == [BASE | _files(a="2"), BASE | _files(a="2", b="2")]


def test_a_result_without_changes_is_merged() -> None:
    assert unite_in_memory({})[1] == [BASE]
    assert (
        unite_in_memory(_files(a="2"), {}, tree_per_task=True)[1]
        == [BASE | _files(a="2")] * 2
    )


def test_no_results_have_no_outcome() -> None:
    assert unite_in_memory()[1] == []


@pytest.mark.parametrize("tree_per_task", [False, True])
def test_a_conflict_fails_the_later_task_and_picks_no_side(tree_per_task: bool) -> None:
    _, files_after, messages = unite_in_memory(
        _files(a="2", b="2"),
        _files(a="3", d_x="3"),
        _files(d_y="4"),
        tree_per_task=tree_per_task,
    )
    assert files_after[1] is None
    assert files_after[-1] == BASE | _files(a="2", b="2", d_y="4")
    assert messages == ["conflict with T1 in a"]


def test_a_conflict_has_its_hunks_for_the_retry() -> None:
    trees = Trees()
    base = trees.add(BASE)
    outcomes = unite(
        base,
        base,
        [trees.candidate(n, base, _files(a=str(n + 1))) for n in (1, 2)],
        trees,
        tree_per_task=False,
    )
    assert outcomes[1].failure is not None
    assert outcomes[1].failure.log_tail == "<<<<<<<\n>>>>>>>"
    assert outcomes[1].failure.retryable


def test_the_same_change_in_two_tasks_is_not_a_conflict() -> None:
    trees, files_after, _ = unite_in_memory(_files(a="2"), _files(a="2", b="2"))
    assert files_after == [BASE | _files(a="2"), BASE | _files(a="2", b="2")]
    assert trees.merges == 1


def test_a_conflict_names_every_task_with_overlapping_paths() -> None:
    _, _, messages = unite_in_memory(
        _files(a="2"), _files(b="2"), {**_files(a="3", b="3")}
    )
    assert messages == ["conflict with T1, T2 in a, b"]


def test_a_task_with_a_conflict_does_not_affect_later_tasks() -> None:
    trees, files_after, _ = unite_in_memory(
        _files(a="2"), _files(a="3", new="3"), _files(new="4")
    )
    assert files_after == [BASE | _files(a="2"), None, BASE | _files(a="2", new="4")]
    assert trees.merges == 1


@pytest.mark.parametrize(
    "changes",
    [
        (_files(new="file"), _files(new_x="file in a folder")),
        (_files(new_x="file in a folder"), _files(new="file")),
        (_files(new_x_y="deep"), _files(new="file")),
        (_files(new="file"), _files(new_x_y="deep")),
    ],
)
def test_a_file_and_a_folder_of_the_same_name_need_a_real_merge(
    changes: Sequence[Changes],
) -> None:
    trees, files_after, _ = unite_in_memory(*changes)
    assert trees.merges == 1
    assert files_after[1] is None


def test_later_changes_of_the_branch_stay() -> None:
    trees, files_after, _ = unite_in_memory(_files(a="2"), branch_changes=_files(b="9"))
    assert files_after == [BASE | _files(a="2", b="9")]
    assert trees.merges == 0


def test_a_conflict_with_the_branch_names_the_branch() -> None:
    _, files_after, messages = unite_in_memory(
        _files(a="2"), _files(b="2"), branch_changes=_files(a="9")
    )
    assert files_after == [None, BASE | _files(a="9", b="2")]
    assert messages == ["conflict with the branch in a"]
