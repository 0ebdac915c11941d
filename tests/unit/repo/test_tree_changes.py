"""Trees compared without a process: the changes are those that git shows."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

from runner.policy.change import Change
from runner.repo import batch_process, diff, tree_changes
from runner.repo.batch_process import ObjectInfo
from runner.repo.command import isolated_git
from runner.repo.objects import TreeCache
from runner.repo.repository import Repository
from runner.repo.tree_changes import Database

COMMIT = "1" * 40
PATHS = ("a", "a/b", "a/b/c", "a.c", "a0", "d/é", "d/\n", "e/f/g/h", "i")
MODES = ("100644", "100755", "120000", "160000")


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    isolated_git(tmp_path).run(["init", "-q", "-b", "main"])
    return Repository(tmp_path, os.environ)


def drawn_tree(repo: Repository, drawn: random.Random) -> str:
    empty = repo.objects().edited(repo.git.text(["mktree"], stdin=b"").strip(), {})
    entries: dict[str, tuple[str, str] | None] = {}
    for path in drawn.sample(PATHS, drawn.randint(0, len(PATHS))):
        if any(
            path.startswith(f"{other}/") or other.startswith(f"{path}/")
            for other in entries
        ):
            continue
        mode = drawn.choice(MODES)
        content = drawn.choice((b"one", b"two"))
        blob = COMMIT if mode == "160000" else repo.write_blob(content)[1]
        entries[path] = (mode, blob)
    return repo.write_tree(empty, entries)


def test_the_changes_between_two_trees_are_those_that_git_shows(
    repo: Repository,
) -> None:
    drawn = random.Random(5)
    trees = [drawn_tree(repo, drawn) for _ in range(8)]
    shown = repo.git.run(
        [*diff.RAW, "--stdin"],
        stdin="".join(f"{old} {new}\n" for old in trees for new in trees).encode(),
    )
    expected = diff.parse_raw_pairs(shown)
    database = Database(repo.infos, repo.contents, TreeCache())
    found: list[list[Change]] = []
    for old in trees:
        found += tree_changes.tree_changes(database, old, trees) or []
    assert found == expected
    assert len([changes for changes in found if changes]) > 40


def test_large_trees_and_those_with_modes_of_old_versions_are_left_to_git(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode, blob = repo.write_blob(b"text")
    entry = b"100664 a\0" + bytes.fromhex(blob)
    old_mode = repo.objects().write("tree", entry)
    empty = repo.objects().write("tree", b"")
    database = Database(repo.infos, repo.contents, TreeCache())
    assert tree_changes.tree_changes(database, empty, [old_mode]) is None
    [change] = repo.changes(empty, old_mode)
    assert change.new == (mode, blob)
    small = repo.write_tree(empty, {"a": (mode, blob)})
    assert tree_changes.tree_changes(database, empty, [small]) == [
        [Change("a", None, (mode, blob))]
    ]
    monkeypatch.setattr(tree_changes, "_MAX_BYTES", 10)
    database = Database(repo.infos, repo.contents, TreeCache())
    assert tree_changes.tree_changes(database, empty, [small]) is None


def test_only_of_many_trees_is_the_size_asked_before_they_are_read(
    repo: Repository,
) -> None:
    blob = repo.write_blob(b"text")
    empty = repo.objects().write("tree", b"")
    asked: list[int] = []

    def infos(names: Sequence[str]) -> Sequence[ObjectInfo | None]:
        asked.append(len(names))
        return repo.infos(names)

    for count in (4, 5):
        paths = [f"folder{place}/{place}" for place in range(count)]
        tree = repo.write_tree(empty, dict.fromkeys(paths, blob))
        database = Database(infos, repo.contents, TreeCache())
        assert tree_changes.tree_changes(database, empty, [tree]) is not None
    assert asked == [5]


def test_trees_that_are_compared_with_one_are_read_together(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = [repo.write_blob(text) for text in (b"one", b"two", b"three")]
    paths = ("a/b", "c/d", "e")
    base = repo.write_tree(
        repo.objects().write("tree", b""), dict.fromkeys(paths, blobs[0])
    )
    trees = [repo.write_tree(base, {path: blobs[1]}) for path in paths]
    commit = repo.commit_tree(repo.write_tree(base, {"e": blobs[2]}), [], "c")
    apart = [repo.changes(base, each) for each in (*trees, base, commit)]
    assert [len(changes) for changes in apart] == [1, 1, 1, 0, 1]
    asked: list[str] = []
    send = batch_process._BatchProcess.send

    def noted(process: batch_process._BatchProcess, text: str) -> IO[bytes]:
        asked.append(text)
        return send(process, text)

    monkeypatch.setattr(batch_process._BatchProcess, "send", noted)
    assert repo.changes_to_each(base, trees) == apart[:3]
    # the roots, then the folders, then the sizes of the files
    assert len(asked) == 3
    assert repo.changes_to_each(base, [*trees, base, commit]) == apart
