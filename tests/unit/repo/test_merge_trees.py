"""Merges of trees: git's result, or the conflicts alone, with their hunks."""

from __future__ import annotations

import os
import shutil
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


OURS = LINES.replace("line 2\n", "ours\n")
THEIRS = LINES.replace("line 19\n", "theirs\n")
BOTH = OURS.replace("line 19\n", "theirs\n")


@pytest.mark.parametrize(
    ("theirs", "is_merged"),
    [(THEIRS, True), (LINES.replace("line 2\n", "theirs\n"), False)],
    ids=["other lines", "the same line"],
)
@pytest.mark.parametrize(
    "driver",
    [
        "true",
        "cp %B %A",
        "git merge-file --ours %A %O %B",
        "git merge-file --theirs %A %O %B",
    ],
)
def test_a_driver_that_drops_a_side_is_not_followed(
    repo: Repository, driver: str, theirs: str, *, is_merged: bool
) -> None:
    (repo.root / ".gitattributes").write_text("a merge=mine\n")
    repo.git.run(["config", "merge.mine.driver", driver])
    base, ours = tree(repo, {"a": LINES}), tree(repo, {"a": OURS})
    merged = repo.merge_trees(base, ours, tree(repo, {"a": theirs}))
    if is_merged:
        assert merged == tree(repo, {"a": BOTH})
    else:
        assert isinstance(merged, Conflict)
        assert merged.paths == ("a",)
        assert "ours\n=======\ntheirs\n" in merged.hunks


@pytest.mark.parametrize(
    "driver", ["true", "false"], ids=["picks a side", "always fails"]
)
def test_a_driver_for_a_binary_file_ends_in_a_conflict(
    repo: Repository, driver: str
) -> None:
    (repo.root / ".gitattributes").write_text("a merge=mine\n")
    repo.git.run(["config", "merge.mine.driver", driver])
    trees = [tree(repo, {"a": f"{name}\0"}) for name in ("base", "ours", "theirs")]
    assert isinstance(repo.merge_trees(*trees), Conflict)


def test_a_driver_that_keeps_both_sides_is_followed(repo: Repository) -> None:
    (repo.root / ".gitattributes").write_text("a merge=mine\n")
    driver = "git merge-file --union %A %O %B"
    repo.git.run(["config", "merge.mine.driver", driver])
    texts = [LINES.replace("line 2\n", f"{name}\n") for name in ("ours", "theirs")]
    both = LINES.replace("line 2\n", "ours\ntheirs\n")
    sides = [tree(repo, {"a": text}) for text in texts]
    merged = repo.merge_trees(tree(repo, {"a": LINES}), *sides)
    assert merged == tree(repo, {"a": both})


def test_git_keeps_the_memory_of_one_object_for_the_next(tmp_path: Path) -> None:
    seen, program = tmp_path / "seen", tmp_path / "programs" / "git"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\ncase $* in *merge-tree*) env >'{seen}';; esac\n"
        f"exec '{shutil.which('git')}' \"$@\"\n"
    )
    program.chmod(0o755)
    isolated_git(tmp_path).run(["init", "-q"])
    path = f"{program.parent}:{os.environ['PATH']}"
    repo = Repository(tmp_path, {**os.environ, "PATH": path})
    base, ours, theirs = (tree(repo, {"a": text}) for text in (LINES, OURS, THEIRS))
    assert repo.merge_trees(base, ours, theirs) == tree(repo, {"a": BOTH})
    assert "MALLOC_TRIM_THRESHOLD_=16777216" in seen.read_text().splitlines()
