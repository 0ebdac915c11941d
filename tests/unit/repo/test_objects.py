"""Trees rewritten along the changed paths: the result is that of git's index, and it takes
few reads, whatever the size of the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runner.core.errors import GitFailed
from runner.repo import objects
from runner.repo.objects import FOLDER, Tree, TreeCache, encode_tree, parse_tree
from tests.support.object_store import REGULAR, Store, git


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_trees_are_read_level_by_level_and_written_in_one_pack(
    store: Store,
) -> None:
    files = {
        f"one{i}/two{j}/f{k}": f"{i}{j}"
        for i in range(6)
        for j in range(6)
        for k in range(3)
    }
    base = store.tree(files)
    store.questions.clear()
    blob = store.blob("new")
    changes = dict.fromkeys(list(files)[::3], (REGULAR, blob))
    tree = store.objects.edited(base, changes)
    assert tree == store.tree(
        {path: "new" if path in changes else text for path, text in files.items()}
    )
    assert [len(asked) for asked in store.questions] == [1, 6, 36]
    assert store.packs == 1


def test_folders_that_did_not_change_are_never_read(store: Store) -> None:
    base = store.tree({f"folder{place}/file": f"{place}" for place in range(50)})
    store.questions.clear()
    store.objects.edited(base, {"folder7/file": (REGULAR, store.blob("new"))})
    assert [len(asked) for asked in store.questions] == [1, 1]


def test_a_new_file_replaces_a_folder_and_a_new_folder_a_file(
    store: Store,
) -> None:
    base, blob = (
        store.tree({"a": "x", "b/c": "x", "b/d": "x"}),
        (REGULAR, store.blob("new")),
    )
    assert store.objects.edited(base, {"a/below": blob}) == store.tree(
        {"a/below": "new", "b/c": "x", "b/d": "x"}
    )
    assert store.objects.edited(base, {"b": blob}) == store.tree({"a": "x", "b": "new"})


def test_removing_everything_leaves_the_empty_tree(store: Store) -> None:
    assert store.objects.edited(store.tree({"a/b": "x"}), {"a/b": None}) == store.tree(
        {}
    )


@pytest.mark.parametrize(
    "changes",
    [
        {".git/config": "x"},
        {"a/../b": "x"},
        {"a": "x", "a/b": "x"},
    ],
)
def test_paths_that_git_would_not_take_are_refused(
    store: Store, changes: dict[str, str]
) -> None:
    base = store.tree({"z": "x"})
    with pytest.raises(GitFailed):
        store.objects.edited(
            base, {path: (REGULAR, store.blob(text)) for path, text in changes.items()}
        )


def test_the_entry_at_a_path(store: Store) -> None:
    tree = store.tree({"a/b/c": "x"})
    assert store.objects.find(tree, "a/b/c") == (REGULAR, store.blob("x"))
    assert store.objects.find(tree, "a/b/c/d") is None
    assert store.objects.find(tree, "a/x") is None
    assert store.objects.content(store.blob("x")) == b"x"


def test_a_commit_for_merge_tree_is_always_the_same_and_git_accepts_it(
    store: Store,
) -> None:
    tree = store.tree({"a": "x"})
    root = store.objects.commit(tree)
    side = store.objects.commit(tree, root)
    assert root == store.objects.commit(tree)
    assert git(store.where, "rev-parse", f"{side}^") == root
    git(store.where, "fsck", "--strict", side)


@pytest.mark.parametrize("id_length", [20, 32])
def test_a_tree_that_is_cut_short_has_no_entries(id_length: int) -> None:
    object_id = "0a00" * (id_length // 2)
    entries = {b"a": ("100644", object_id), b" ": ("40000", object_id)}
    data = encode_tree(entries)
    assert dict(parse_tree(data, id_length)) == entries
    whole = encode_tree({b" ": entries[b" "]})
    for end in range(1, len(data)):
        if end == len(whole):
            continue
        with pytest.raises(ValueError, match="ends early"):
            parse_tree(data[:end], id_length)


def test_a_tree_is_written_in_the_order_of_git_whatever_is_edited(
    store: Store,
) -> None:
    blob = store.blob("x")
    file, folder = (REGULAR, blob), (FOLDER, store.tree({"f": "x"}))
    base = Tree.parse(encode_tree({b"a": file, b"a.c": file, b"b": folder}), 20)
    assert dict(base) == {b"a": file, b"a.c": file, b"b": folder}
    edits: list[dict[bytes, tuple[str, str] | None]] = [
        {b"a": folder},
        {b"a": ("100755", blob), b"b": None},
        {b"a.b": file, b"c": file},
        {b"a": None, b"x": None},
        {b"b": file, b"b.c": folder},
        {},
    ]
    for changes in edits:
        expected = {name: entry for name, entry in base.items() if name not in changes}
        expected |= {name: entry for name, entry in changes.items() if entry}
        after = base.edited(changes)
        assert after.data() == encode_tree(expected)
        assert after.different(base) == {
            name for name in changes if base.get(name) != changes[name]
        }
        assert after.same(base) == base.keys() - changes.keys()


@pytest.mark.parametrize("data", [b"7 " * 2**20, b"7" * 2**21, b" " * 2**21])
def test_what_is_no_tree_takes_no_longer_than_one(data: bytes) -> None:
    with pytest.raises(ValueError, match="ends early"):
        parse_tree(data, 20)


def test_trees_are_kept_up_to_a_number_of_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(objects, "_MAX_CACHED", 3)
    cache = TreeCache()
    for _ in range(2):
        cache["one"] = Tree({b"a": b"", b"b": b""})
        cache.trim()
        assert "one" in cache
        cache["two"] = cache["one"]
        cache.trim()
        assert "one" not in cache


def test_a_path_deeper_than_the_recursion_limit_is_written_and_removed(
    store: Store,
) -> None:
    base = store.tree({"a": "x"})
    path = "d/" * (2 * sys.getrecursionlimit()) + "f"
    deep = store.objects.edited(base, {path: (REGULAR, store.blob("x"))})
    assert store.objects.find(deep, path) == (REGULAR, store.blob("x"))
    assert store.objects.edited(deep, {path: None}) == base
    with pytest.raises(GitFailed, match="a file and a folder"):
        store.objects.edited(
            base,
            {
                "d": (REGULAR, store.blob("x")),
                path: (REGULAR, store.blob("x")),
            },
        )
