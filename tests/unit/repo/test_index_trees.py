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
