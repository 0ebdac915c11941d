"""The trees of an index are those that git writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.repo import index_trees
from runner.repo.command import Git, isolated_git

COMMIT = "1" * 40


@pytest.fixture(params=["sha1", "sha256"])
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def git(tmp_path: Path, algorithm: str) -> Git:
    git = isolated_git(tmp_path)
    git.run(["init", "-q", f"--object-format={algorithm}"])
    return git


def add(git: Git, lines: dict[str, str]) -> bytes:
    """The index with these paths, each with a mode."""
    blob = git.text(["hash-object", "-w", "--stdin"], stdin=b"text").strip()
    commit = "1" * len(blob)
    text = ""
    for path, mode in lines.items():
        text += f"{mode} {commit if mode == '160000' else blob}\t{path}\0"
    git.run(["update-index", "-z", "--index-info"], stdin=text.encode())
    return (git.cwd / ".git/index").read_bytes()


def test_the_trees_of_an_index_are_those_that_git_writes(
    git: Git, algorithm: str
) -> None:
    paths = ["a/b/c/d", "a/b.c", "a/b0", "a.c", "é/x", "z", "with space/a\nb"]
    modes = ["100644", "100755", "120000", "160000"]
    index = add(git, {path: modes[number % 4] for number, path in enumerate(paths)})
    files = index_trees.read_index(index, algorithm)
    assert files is not None
    root, trees = index_trees.make_trees(files, algorithm)
    assert root == git.text(["write-tree"]).strip()
    shown = git.text(["ls-tree", "-r", "-t", "-z", root]).split("\0")[:-1]
    folders = {line.split()[2] for line in shown if line.startswith("040000")}
    assert trees.keys() == {root, *folders}
    for object_id, data in trees.items():
        assert git.run(["cat-file", "tree", object_id]) == data


def test_an_empty_index_is_the_empty_tree(git: Git, algorithm: str) -> None:
    git.run(["read-tree", "--empty"])
    index = (git.cwd / ".git/index").read_bytes()
    files = index_trees.read_index(index, algorithm)
    assert files == {}
    root, _ = index_trees.make_trees(files, algorithm)
    assert root == git.text(["write-tree"]).strip()


def test_what_is_not_an_ordinary_small_index_is_left_to_git(
    git: Git, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = add(git, {"a": "100644"})
    assert index_trees.read_index(plain[:40], algorithm) is None
    assert index_trees.read_index(b"", algorithm) is None
    monkeypatch.setattr(index_trees, "MAX_INDEX", len(plain) - 1)
    assert index_trees.read_index(plain, algorithm) is None
    monkeypatch.undo()
    (git.cwd / "new").write_text("text")
    git.run(["add", "-N", "new"])
    intent = (git.cwd / ".git/index").read_bytes()
    assert index_trees.read_index(intent, algorithm) is None
    git.run(["rm", "-q", "--cached", "new"])
    git.run(["update-index", "--index-version", "4"])
    compressed = (git.cwd / ".git/index").read_bytes()
    assert index_trees.read_index(compressed, algorithm) is None
    git.run(["update-index", "--index-version", "2"])
    blob = git.text(["rev-parse", ":a"]).strip()
    unmerged = f"0 {'0' * len(blob)}\ta\n100644 {blob} 2\ta\n"
    git.run(["update-index", "--index-info"], stdin=unmerged.encode())
    index = (git.cwd / ".git/index").read_bytes()
    assert index_trees.read_index(index, algorithm) is None


def test_a_long_path_is_left_to_git(git: Git, algorithm: str) -> None:
    index = add(git, {"/".join(["d" * 200] * 25): "100644"})
    assert index_trees.read_index(index, algorithm) is None


@pytest.fixture(params=["small", "large"])
def index_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "large":
        monkeypatch.setattr(index_trees, "MAX_INDEX", 0)
    return str(request.param)


def test_entries_are_found_in_an_index_of_any_size(
    git: Git, algorithm: str, index_size: str
) -> None:
    modes = ("100644", "100755", "120000", "160000")
    lines = {
        f"{name}{number}": mode for number, mode in enumerate(modes) for name in "ab"
    }
    data = add(git, {**lines, "a/a0": "100644", "a.b": "100644"})
    entries = index_trees.read_index(data, algorithm) or {}
    if index_size == "large":
        assert not entries
        listed = git.text(["ls-files", "-s"]).splitlines()
        fields = [line.split() for line in listed]
        entries = {path.encode(): (mode, blob) for mode, blob, _, path in fields}
    assert len(entries) == 10
    everything = {**entries, b"c": None, b"new": None}
    assert index_trees.has_entries(data, algorithm, everything)
    for path, (mode, object_id) in entries.items():
        assert index_trees.has_entries(data, algorithm, {path: (mode, object_id)})
        others = [None, ("100600", object_id), (mode, "2" * len(object_id))]
        for other in others:
            wrong = {**everything, path: other}
            assert not index_trees.has_entries(data, algorithm, wrong)
    missing = {**everything, b"c": entries[b"a0"]}
    assert not index_trees.has_entries(data, algorithm, missing)


@pytest.mark.parametrize(
    "argv",
    [
        ["update-index", "--skip-worktree", "a"],
        ["update-index", "--index-version", "4"],
        ["rm", "-q", "--cached", "a"],
        ["mv", "a", "c"],
    ],
)
def test_an_entry_that_git_handles_in_another_way_is_left_to_it(
    git: Git, algorithm: str, index_size: str, argv: list[str]
) -> None:
    data = add(git, {"a": "100644", "folder/b": "100644"})
    blob = git.text(["rev-parse", ":a"]).strip()
    expected = {b"a": ("100644", blob)}
    assert index_trees.has_entries(data, algorithm, expected)
    git.run(["checkout-index", "-a"])
    git.run(argv)
    data = (git.cwd / ".git/index").read_bytes()
    assert not index_trees.has_entries(data, algorithm, expected)


def test_a_path_in_a_conflict_is_neither_there_nor_new(
    git: Git, algorithm: str, index_size: str
) -> None:
    add(git, {"a": "100644"})
    blob = git.text(["rev-parse", ":a"]).strip()
    line = f"100644 {blob} 2\tb\n"
    git.run(["update-index", "--index-info"], stdin=line.encode())
    data = (git.cwd / ".git/index").read_bytes()
    for entry in (None, ("100644", blob)):
        assert not index_trees.has_entries(data, algorithm, {b"b": entry})


def test_many_new_paths_are_left_to_git_in_a_large_index(
    git: Git, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = add(git, {"a": "100644"})
    monkeypatch.setattr(index_trees, "MAX_INDEX", 0)
    monkeypatch.setattr(index_trees, "_MAX_SEARCHED", 2 * len(data))
    assert index_trees.has_entries(data, algorithm, {b"b": None, b"c": None})
    three = {b"b": None, b"c": None, b"d": None}
    assert not index_trees.has_entries(data, algorithm, three)


@pytest.mark.parametrize("kind", ["split", "sparse"])
def test_new_paths_are_left_to_git_where_an_index_has_not_all_entries(
    git: Git, algorithm: str, index_size: str, kind: str
) -> None:
    data = add(git, {"a": "100644", "folder/b": "100644"})
    git.run(["commit", "-qm", "base"])
    new = {b"new": None}
    assert index_trees.has_entries(data, algorithm, new)
    if kind == "split":
        git.run(["update-index", "--split-index"])
    else:
        git.run(["sparse-checkout", "init", "--cone", "--sparse-index"])
    data = (git.cwd / ".git/index").read_bytes()
    assert b"folder/b" not in data
    assert kind == "split" or index_size == "large" or b"sdir" in data
    found = index_trees.has_entries(data, algorithm, new)
    # a small split index says that it has no entry, and what is new is not in it
    assert not found or (index_size, kind) == ("small", "split")


def test_bytes_in_a_name_are_no_entry(
    git: Git, algorithm: str, index_size: str
) -> None:
    blob = "61" * (20 if algorithm == "sha1" else 32)
    path = b"x" * 257
    begin = bytes.fromhex(blob) + b"\x01\x01" + path
    for padding in range(8):
        line = b"100644 %s\t%s\n" % (b"1" * len(blob), b"p" * padding + begin)
        git.run(["read-tree", "--empty"])
        git.run(["update-index", "--add", "--index-info"], stdin=line)
        data = (git.cwd / ".git/index").read_bytes()
        assert begin in data
        expected = {path: ("100644", blob)}
        assert not index_trees.has_entries(data, algorithm, expected)


def test_an_index_says_which_tree_it_has_until_a_file_changes(
    git: Git, algorithm: str
) -> None:
    index = git.cwd / ".git/index"
    data = add(git, {"a": "100644", "TREE": "100644", "TREES/TREE": "100755"})
    assert index_trees.recorded_tree(data, algorithm) is None
    tree = git.text(["write-tree"]).strip()
    assert index_trees.recorded_tree(index.read_bytes(), algorithm) == tree
    data = add(git, {"TREES/other": "100644"})
    assert index_trees.recorded_tree(data, algorithm) is None
    git.run(["read-tree", tree])
    data = index.read_bytes()
    assert index_trees.recorded_tree(data, algorithm) == tree
    # another number of files, something behind the extensions, another version
    assert index_trees.recorded_tree(data[:11] + b"\x09" + data[12:], algorithm) is None
    assert index_trees.recorded_tree(data + bytes(12), algorithm) is None
    assert index_trees.recorded_tree(b"DIRC\0\0\0\4" + data[8:], algorithm) is None


def test_a_split_or_sparse_index_does_not_say_which_tree_it_has(
    git: Git, algorithm: str
) -> None:
    index = git.cwd / ".git/index"
    add(git, {"a": "100644", "folder/b": "100644"})
    tree = git.text(["write-tree"]).strip()
    git.run(["commit", "-qm", "base"])
    git.run(["update-index", "--split-index"])
    data = index.read_bytes()
    assert b"link" in data
    assert index_trees.recorded_tree(data, algorithm) in {None, tree}
    git.run(["update-index", "--no-split-index"])
    git.run(["sparse-checkout", "init", "--cone", "--sparse-index"])
    data = index.read_bytes()
    assert b"sdir" in data
    assert index_trees.recorded_tree(data, algorithm) in {None, tree}
