"""Merges of trees: git's result, or the conflicts alone, with their hunks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.repo.command import isolated_git
from runner.repo.merge_trees import Conflict
from runner.repo.repository import Repository

LINES = "".join(f"line {number}\n" for number in range(1, 21))


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    isolated_git(tmp_path).run(["init", "-q"])
    return Repository(tmp_path, os.environ)


def tree(repo: Repository, files: dict[str, str]) -> str:
    empty = repo.git.text(["mktree"], stdin=b"").strip()
    blobs = {path: repo.write_blob(text.encode()) for path, text in files.items()}
    return repo.write_tree(empty, blobs)


def test_changes_to_other_lines_of_one_file_are_merged(repo: Repository) -> None:
    base = tree(repo, {"a": LINES})
    ours = tree(repo, {"a": LINES.replace("line 2\n", "ours\n")})
    theirs = tree(repo, {"a": LINES.replace("line 19\n", "theirs\n")})
    both = LINES.replace("line 2\n", "ours\n").replace("line 19\n", "theirs\n")
    assert repo.merge_trees(base, ours, theirs) == tree(repo, {"a": both})


def test_a_conflict_names_its_path_and_hunk_and_nothing_that_was_merged(
    repo: Repository,
) -> None:
    base = tree(repo, {"a": LINES, "b": "x\n", "c": LINES})
    ours = tree(
        repo,
        {"a": LINES.replace("line 2\n", "ours\n"), "b": "ours\n", "c": LINES},
    )
    theirs = tree(
        repo,
        {"a": LINES.replace("line 19\n", "theirs\n"), "b": "theirs\n", "c": LINES},
    )
    conflict = repo.merge_trees(base, ours, theirs)
    assert isinstance(conflict, Conflict)
    assert conflict.paths == ("b",)
    # git also says that it merged a, which is no conflict
    assert conflict.messages == ("CONFLICT (content): Merge conflict in b",)
    assert conflict.hunks.startswith("b:\n<<<<<<< ")
    assert "\nours\n=======\ntheirs\n>>>>>>> " in conflict.hunks
