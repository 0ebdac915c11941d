"""`union.unite` agrees with git's own merge if the order does not matter, and does not
guess as git does.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runner.fan_in.union import Blob, Candidate, ConflictLike, MergeOutcome, unite
from runner.policy.change import EXECUTABLE, REGULAR, SYMLINK, Change
from runner.repo.repository import Repository
from tests.support.builders import entry, task

Files = dict[str, tuple[str, bytes]]
PATHS = [
    "a",
    "b.txt",
    "d",
    "d/x",
    "d/y",
    "d/x/deep",
    "e/f/g",
    "E",
    "bin",
    "empty",
    "crlf.txt",
    "new",
    "d2/x",
]
TEXT = b"".join(
    b"line %d of a text that is long enough\n" % number for number in range(12)
)
BASE: Files = {
    ".gitattributes": (REGULAR, b"*.txt text\ncrlf.txt eol=crlf\n"),
    "a": (REGULAR, TEXT),
    "b.txt": (REGULAR, TEXT.replace(b"line", b"row")),
    "d/x": (REGULAR, TEXT.replace(b"text", b"tale")),
    "d/y": (EXECUTABLE, b"#!/bin/sh\n" + TEXT.upper()),
    "e/f/g": (SYMLINK, b"../../a"),
    "bin": (REGULAR, bytes(range(256)) * 4),
    "empty": (REGULAR, b""),
    "crlf.txt": (REGULAR, TEXT.replace(b"\n", b"\r\n")),
}


class Git:
    """Trees of one throw-away repository; implements `union.Trees`."""

    def __init__(self, root: Path) -> None:
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        self.repo = Repository(root, os.environ)
        self.empty = self.repo.git.text(["mktree"], stdin=b"").strip()
        self.blobs: dict[bytes, str] = {}

    def tree(self, files: Files) -> str:
        return self.write_tree(
            self.empty,
            {path: (mode, self.blob(data)) for path, (mode, data) in files.items()},
        )

    def blob(self, data: bytes) -> str:
        if data not in self.blobs:
            self.blobs[data] = self.repo.write_blob(data)[1]
        return self.blobs[data]

    def write_tree(self, base: str, changes: Mapping[str, Blob | None]) -> str:
        return self.repo.write_tree(base, changes)

    def merge_trees(self, base: str, ours: str, theirs: str) -> str | ConflictLike:
        return self.repo.merge_trees(base, ours, theirs)

    def changes(self, old: str, new: str) -> list[Change]:
        return self.repo.changes(old, new)

    def candidates(self, base: str, trees: Sequence[str]) -> list[Candidate]:
        named = enumerate(zip("ABCDE", trees, strict=False))
        return [
            Candidate(entry(task(id=name), index=i), tree, self.changes(base, tree))
            for i, (name, tree) in named
        ]

    def united(
        self, base: str, trees: Sequence[str], *, tree_per_task: bool = False
    ) -> list[MergeOutcome]:
        return unite(
            base, base, self.candidates(base, trees), self, tree_per_task=tree_per_task
        )

    def chain(self, base: str, trees: Sequence[str]) -> tuple[str, frozenset[str]]:
        """What git's merges one after the other make, and the trees that conflicted."""
        tree, conflicts = base, set()
        for other in trees:
            outcome = self.merge_trees(base, tree, other)
            if isinstance(outcome, str):
                tree = outcome
            else:
                conflicts.add(other)
        return tree, frozenset(conflicts)


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    return Git(tmp_path_factory.mktemp("merge") / "repo")


def put(files: Files, path: str, what: tuple[str, bytes]) -> None:
    """Set a path; what cannot be beside it, as a file where it needs a folder, goes."""
    for other in list(files):
        if other.startswith(f"{path}/") or path.startswith(f"{other}/"):
            del files[other]
    files[path] = what


def changed(data: bytes, line: int, text: bytes) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    index = line % len(lines)
    end = b"\r\n" if lines[index].endswith(b"\r\n") else b"\n"
    return b"".join([*lines[:index], text + end, *lines[index + 1 :]])


@st.composite
def edited(draw: st.DrawFn) -> Files:
    """The base after one task: a few edits, renames, deletions, mode changes, new
    files.
    """
    files = dict(BASE)
    for _ in range(draw(st.integers(1, 3))):
        present = sorted(set(files) - {".gitattributes"})
        path = draw(st.sampled_from(present))
        mode, data = files[path]
        match draw(
            st.sampled_from(
                ["edit", "edit", "delete", "rename", "add", "mode", "binary", "empty"]
            )
        ):
            case "edit":
                files[path] = (
                    mode,
                    changed(
                        data,
                        draw(st.integers(0, 11)),
                        draw(st.sampled_from([b"one", b"two"])),
                    ),
                )
            case "delete" if len(present) > 2:
                del files[path]
            case "rename":
                del files[path]
                put(files, draw(st.sampled_from(PATHS)), (mode, data))
            case "add":
                put(
                    files,
                    draw(st.sampled_from(PATHS)),
                    (REGULAR, draw(st.sampled_from([b"", b"new\n", TEXT]))),
                )
            case "mode" if mode != SYMLINK:
                files[path] = (EXECUTABLE if mode == REGULAR else REGULAR), data
            case "binary":
                files[path] = REGULAR, b"\0" + data[::-1]
            case "empty":
                files[path] = REGULAR, b""
    return files


@settings(max_examples=25, derandomize=True, deadline=None, database=None)
@given(st.lists(edited(), min_size=3, max_size=3), st.booleans())
def test_three_tasks_that_merge_alike_in_every_order_make_that_tree(
    git: Git, sides: list[Files], tree_per_task: bool
) -> None:
    base, trees = git.tree(BASE), [git.tree(side) for side in sides]
    assume(base not in trees)
    ends = {git.chain(base, order) for order in itertools.permutations(trees)}
    outcomes = git.united(base, trees, tree_per_task=tree_per_task)
    if len(ends) == 1 and not next(iter(ends))[1]:
        assert all(outcome.tree for outcome in outcomes), outcomes
        assert outcomes[-1].tree == next(iter(ends))[0]
    else:  # someone has to wait: the first never does, and what is in is what was told
        assert outcomes[0].tree


@settings(max_examples=40, derandomize=True, deadline=None, database=None)
@given(edited(), edited())
def test_two_tasks_conflict_or_merge_as_in_git(
    git: Git, one: Files, other: Files
) -> None:
    base, trees = git.tree(BASE), [git.tree(one), git.tree(other)]
    assume(base not in trees)
    there, back = git.chain(base, trees), git.chain(base, trees[::-1])
    outcomes = git.united(base, trees)
    if there == back:
        assert [outcome.tree for outcome in outcomes if outcome.tree][-1] == there[0]
        assert [outcome for outcome in outcomes if outcome.failure] == []
    elif there[1] and back[1]:
        assert outcomes[0].tree == trees[0]
        assert outcomes[1].failure is not None


def story(**contents: bytes) -> Files:
    return {name.replace("__", "/"): (REGULAR, data) for name, data in contents.items()}


def test_an_edit_never_moves_to_a_file_that_another_task_created(git: Git) -> None:
    """A removes x, C makes a similar z, D edits x: git's merge moves D's edit to z;
    here D conflicts.
    """
    edit = changed(TEXT, 5, b"D was here")
    base = git.tree(story(x=TEXT, keep=b"k\n"))
    removed, made = (
        git.tree(story(keep=b"k\n")),
        git.tree(story(x=TEXT, keep=b"k\n", z=TEXT + b"one more line\n")),
    )
    edited_ = git.tree(story(x=edit, keep=b"k\n"))
    moved, conflicts = git.chain(base, [removed, made, edited_])
    # what git does by itself: the edit is in z, and nobody wrote it there
    assert not conflicts
    assert b"D was here" in git.repo.blob(
        next(c.new[1] for c in git.changes(base, moved) if c.path == "z" and c.new)
    )
    for order in ([removed, made, edited_], [made, removed, edited_]):
        outcomes = git.united(base, order)
        assert [outcome.entry.task.id for outcome in outcomes if outcome.failure] == [
            "C"
        ]
        assert outcomes[-1].failure is None or "x" in outcomes[-1].failure.message
        last = [outcome.tree for outcome in outcomes if outcome.tree][-1]
        made_blob = next(c.new for c in git.changes(base, last) if c.path == "z")
        assert made_blob is not None
        assert b"D was here" not in git.repo.blob(made_blob[1])


def test_an_edit_follows_a_file_that_one_task_moved(git: Git) -> None:
    base = git.tree(story(x=TEXT, keep=b"k\n"))
    moved = git.tree(story(y=TEXT, keep=b"k\n"))
    stranger = git.tree(story(x=TEXT, keep=b"k\n", z=TEXT + b"more\n"))
    edit = git.tree(story(x=changed(TEXT, 5, b"D was here"), keep=b"k\n"))
    outcomes = git.united(base, [stranger, moved, edit])
    assert all(outcome.tree for outcome in outcomes), outcomes
    last = outcomes[-1].tree
    assert last is not None
    found = {c.path: c.new for c in git.changes(base, last)}
    assert found["y"] is not None
    assert found["z"] is not None
    assert b"D was here" in git.repo.blob(found["y"][1])
    assert git.repo.blob(found["z"][1]) == TEXT + b"more\n"


def test_a_link_that_leaves_the_tree_only_after_the_merge_is_refused(git: Git) -> None:
    """One task moves a link up, another changes its target: each stays inside the tree,
    both together leave it.
    """
    deep: Files = {"d/e/link": (SYMLINK, b"x"), "keep": (REGULAR, b"k\n")}
    base = git.tree(deep)
    up = git.tree({"d/link": (SYMLINK, b"x"), "keep": (REGULAR, b"k\n")})
    retargeted = git.tree(
        {"d/e/link": (SYMLINK, b"../../keep"), "keep": (REGULAR, b"k\n")}
    )
    outcomes = git.united(base, [up, retargeted])
    assert outcomes[0].tree == up
    # by git's own conflict, or by the policy where git follows the move
    assert outcomes[1].failure is not None
