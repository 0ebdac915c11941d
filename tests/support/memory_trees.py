"""Trees in memory, as `fan_in.union` asks them of git."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.core.result import FailureKind
from runner.fan_in.union import Blob, Candidate, parent_folders, unite
from runner.policy.change import REGULAR, Change
from tests.support.builders import entry, task

Files = dict[str, Blob]


@dataclass(frozen=True)
class Conflict:
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

    def merge_trees(self, base: str, ours: str, theirs: str) -> str | Conflict:
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
        return Conflict(tuple(conflicts)) if conflicts else self.add(merged)

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


def blob_of(text: str) -> Blob:
    return REGULAR, text


BASE = {"a": blob_of("1"), "b": blob_of("1"), "d/x": blob_of("1"), "d/y": blob_of("1")}


Changes = Mapping[str, Blob | None]


def unite_in_memory(
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
