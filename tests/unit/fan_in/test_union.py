"""Results become one tree: disjoint ones are united, overlapping ones merged, and no
side is ever picked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.result import FailureKind
from runner.fan_in.union import Blob, Candidate, parent_folders, unite
from runner.policy.change import REGULAR, Change
from tests.support.builders import entry, quick, task

Files = dict[str, Blob]


@dataclass(frozen=True)
class _Conflict:
    paths: tuple[str, ...]
    messages: tuple[str, ...] = ()
    hunks: str = "<<<<<<<\n>>>>>>>"


@dataclass
class Trees:
    """Git's part, in memory. A tree's name lists its files; a merge is three-way and
    takes whole files.
    """

    files_by_tree: dict[str, Files] = field(default_factory=dict)
    writes: int = 0
    merges: int = 0

    def add(self, files: Files) -> str:
        name = repr(sorted(files.items()))
        self.files_by_tree[name] = files
        return name

    def write_tree(self, base: str, changes: Mapping[str, Blob | None]) -> str:
        self.writes += 1
        files = {
            path: blob
            for path, blob in self.files_by_tree[base].items()
            if path not in changes
        }
        return self.add(
            files | {path: blob for path, blob in changes.items() if blob is not None}
        )

    def merge_trees(self, base: str, ours: str, theirs: str) -> str | _Conflict:
        self.merges += 1
        base_files, our_files, their_files = (
            self.files_by_tree[name] for name in (base, ours, theirs)
        )
        merged, conflicts = Files(), []
        for path in sorted({*base_files, *our_files, *their_files}):
            base_blob = base_files.get(path)
            our_blob = our_files.get(path)
            their_blob = their_files.get(path)
            if their_blob in {our_blob, base_blob}:
                chosen = our_blob
            elif base_blob == our_blob:
                chosen = their_blob
            else:
                conflicts.append(path)
                continue
            if chosen is not None:
                merged[path] = chosen
        conflicts += [
            path
            for path in merged
            for folder in parent_folders(path)
            if folder in merged
        ]
        return _Conflict(tuple(conflicts)) if conflicts else self.add(merged)

    def changes(self, old: str, new: str) -> list[Change]:
        old_files, new_files = self.files_by_tree[old], self.files_by_tree[new]
        return [
            Change(path, old_files.get(path), new_files.get(path))
            for path in sorted({*old_files, *new_files})
            if old_files.get(path) != new_files.get(path)
        ]

    def candidate(
        self, index: int, base: str, changes: Mapping[str, Blob | None]
    ) -> Candidate:
        tree = self.write_tree(base, changes)
        return Candidate(
            entry(task(f"T{index}"), index=index), tree, self.changes(base, tree)
        )


def _blob(text: str) -> Blob:
    return REGULAR, text


def _files(**texts: str) -> Files:
    return {path.replace("_", "/"): _blob(text) for path, text in texts.items()}


BASE = {"a": _blob("1"), "b": _blob("1"), "d/x": _blob("1"), "d/y": _blob("1")}
Changes = Mapping[str, Blob | None]


def _unite(
    *changes: Changes,
    branch_changes: Changes | None = None,
    tree_per_task: bool = False,
) -> tuple[Trees, list[Files | None], list[str]]:
    """The files after each candidate (None: it conflicts), and the messages."""
    trees = Trees()
    base = trees.add(BASE)
    head = trees.write_tree(base, branch_changes) if branch_changes else base
    candidates = [
        trees.candidate(index, base, change) for index, change in enumerate(changes, 1)
    ]
    trees.writes = 0
    outcomes = unite(base, head, candidates, trees, tree_per_task=tree_per_task)
    assert [outcome.entry.task.id for outcome in outcomes] == [
        candidate.entry.task.id for candidate in candidates
    ]
    assert all(
        (outcome.tree is None) is (outcome.failure is not None) for outcome in outcomes
    )
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    assert {failure.kind for failure in failures} <= {FailureKind.CONFLICT}
    return (
        trees,
        [
            trees.files_by_tree[outcome.tree] if outcome.tree else None
            for outcome in outcomes
        ],
        [failure.message for failure in failures],
    )


def test_disjoint_results_are_united_in_one_write_without_a_merge() -> None:
    trees, files_after, _ = _unite(_files(a="2"), {"d/x": None}, _files(new_file="3"))
    after = {
        "a": _blob("2"),
        "b": _blob("1"),
        "d/y": _blob("1"),
        "new/file": _blob("3"),
    }
    assert files_after == [after] * 3
    assert (trees.writes, trees.merges) == (1, 0)


def test_individual_commits_get_a_tree_after_every_task() -> None:
    _, files_after, _ = _unite(_files(a="2"), _files(b="2"), tree_per_task=True)
    assert files_after == [BASE | _files(a="2"), BASE | _files(a="2", b="2")]


def test_a_result_without_changes_is_merged() -> None:
    assert _unite({})[1] == [BASE]
    assert (
        _unite(_files(a="2"), {}, tree_per_task=True)[1] == [BASE | _files(a="2")] * 2
    )


def test_no_results_have_no_outcome() -> None:
    assert _unite()[1] == []


@pytest.mark.parametrize("tree_per_task", [False, True])
def test_a_conflict_fails_the_later_task_and_picks_no_side(tree_per_task: bool) -> None:
    _, files_after, messages = _unite(
        _files(a="2", b="2"),
        _files(a="3", d_x="3"),
        _files(d_y="4"),
        tree_per_task=tree_per_task,
    )
    assert files_after[1] is None
    assert files_after[-1] == BASE | _files(a="2", b="2", d_y="4")
    assert messages == ["T2 conflicts with T1: in a"]


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
    trees, files_after, _ = _unite(_files(a="2"), _files(a="2", b="2"))
    assert files_after == [BASE | _files(a="2"), BASE | _files(a="2", b="2")]
    assert trees.merges == 1


def test_a_conflict_names_every_task_with_overlapping_paths() -> None:
    _, _, messages = _unite(_files(a="2"), _files(b="2"), {**_files(a="3", b="3")})
    assert messages == ["T3 conflicts with T1, T2: in a, b"]


def test_a_task_with_a_conflict_does_not_affect_later_tasks() -> None:
    trees, files_after, _ = _unite(
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
    trees, files_after, _ = _unite(*changes)
    assert trees.merges == 1
    assert files_after[1] is None


def test_later_changes_of_the_branch_stay() -> None:
    trees, files_after, _ = _unite(_files(a="2"), branch_changes=_files(b="9"))
    assert files_after == [BASE | _files(a="2", b="9")]
    assert trees.merges == 0


def test_a_conflict_with_the_branch_names_the_branch() -> None:
    _, files_after, messages = _unite(
        _files(a="2"), _files(b="2"), branch_changes=_files(a="9")
    )
    assert files_after == [None, BASE | _files(a="9", b="2")]
    assert messages == ["T1 conflicts with the branch: in a"]


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
            shares[owner][path] = _blob(f"{text} of {owner}") if text else None
    trees, files_after, _ = _unite(
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
        {path: _blob(text) for path, text in task_texts.items()} for task_texts in texts
    ]
    (_, batch, messages), (_, single, single_messages) = (
        _unite(*changes, tree_per_task=tree_per_task) for tree_per_task in (False, True)
    )
    assert messages == single_messages
    assert [tree is None for tree in batch] == [tree is None for tree in single]
    assert [t for t in batch if t is not None][-1:] == [
        t for t in single if t is not None
    ][-1:]
