"""Of the names in a tree, only those that a new path may clash with are read."""

from __future__ import annotations

import os
from pathlib import Path

from runner.fan_in.spelled_alike import spelled_alike
from runner.repo.command import isolated_git
from runner.repo.repository import Repository
from tests.support.object_store import Store


def test_names_on_the_way_to_a_path_are_found_in_any_spelling(tmp_path: Path) -> None:
    isolated_git(tmp_path).run(["init", "-q", "-b", "main"])
    repo = Repository(tmp_path, os.environ)
    blob = repo.write_blob(b"text")
    empty = repo.objects().write("tree", b"")
    names = [
        "README",
        "Src/a",
        "src/A",
        "src/b",
        "caf\u00e9/x",
        "caf\u00e9/y",
        "lib/src/a",
    ]
    tree = repo.write_tree(empty, dict.fromkeys(names, blob))
    asked = ["SRC/A", "readme", "cafe\u0301/X", "lib/new", "other/a"]
    found = spelled_alike(repo.objects(), tree, asked)
    assert found == [
        *("README", "Src", "Src/a", "caf\u00e9", "caf\u00e9/x", "lib", "src", "src/A")
    ]
    assert spelled_alike(repo.objects(), tree, []) == []


def test_nothing_is_read_where_no_path_is_new(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tree = store.tree({"a/b": "x"})
    store.questions.clear()
    assert spelled_alike(store.objects, tree, []) == []
    assert store.questions == []
