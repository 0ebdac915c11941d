"""What is said to be clean without git, git calls clean as well."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.policy.change import Change
from runner.repo import clean_files, index_trees, work_tree
from runner.repo.command import Git, isolated_git
from runner.repo.repository import Repository

FILES = {"a": "old\n", "run": "old\n", "sub/b": "old\n"}


class Tree:
    """A work tree, and changes of all of its files."""

    def __init__(self, root: Path, object_format: str = "sha1") -> None:
        self.root, self.git = root, isolated_git(root)
        self.git.run(["init", "-q", "-b", "main", f"--object-format={object_format}"])
        (root / "sub").mkdir()
        for name, text in FILES.items():
            (root / name).write_text(text)
        (root / "run").chmod(0o755)
        self.git.run(["add", "-A"])
        self.git.run(["commit", "-q", "-m", "base"])
        self.repo = Repository(root, os.environ)
        empty = self.repo.objects().write("tree", b"")
        base = self.repo.tree("HEAD")
        self.changes = [
            Change(each.path, each.new, None) for each in self.repo.changes(empty, base)
        ]
        self.changes.append(Change("new", None, self.changes[0].old))

    def is_clean(self) -> bool:
        return clean_files.are_clean(
            self.root,
            self.root / ".git/index",
            self.changes,
            self.repo.configuration.object_format,
        )

    @property
    def dirty(self) -> list[str]:
        paths = [change.path for change in self.changes]
        return work_tree.dirty_paths(self.repo, self.root, paths)


@pytest.fixture(autouse=True, params=["small", "large"])
def index_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The index is read as a small one and as a large one."""
    if request.param == "large":
        monkeypatch.setattr(index_trees, "MAX_INDEX", 0)
    return str(request.param)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_files_that_nobody_has_changed_are_clean(
    tmp_path: Path, object_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(tmp_path, object_format)
    assert len(tree.changes) == 4
    (tree.root / "other").write_text("untracked\n")
    # another time is no change
    (tree.root / "a").write_text("old\n")
    os.utime(tree.root / "a", (1, 1))
    assert tree.repo.configuration.object_format == object_format
    monkeypatch.setattr(Git, "_start", None)
    assert tree.is_clean()


def _edit(root: Path) -> None:
    (root / "a").write_text("mine\n")


def _edit_with_the_same_time_and_size(root: Path) -> None:
    status = (root / "a").stat()
    (root / "a").write_text("OLD\n")
    os.utime(root / "a", ns=(status.st_atime_ns, status.st_mtime_ns))


def _remove(root: Path) -> None:
    (root / "a").unlink()


def _set_mode(root: Path) -> None:
    (root / "a").chmod(0o755)


def _clear_mode(root: Path) -> None:
    (root / "run").chmod(0o644)


def _stage(root: Path) -> None:
    (root / "a").write_text("mine\n")
    isolated_git(root).run(["add", "a"])
    (root / "a").write_text("old\n")


def _stage_a_new_file(root: Path) -> None:
    (root / "new").write_text("mine\n")
    isolated_git(root).run(["add", "new"])


def _unstage(root: Path) -> None:
    isolated_git(root).run(["rm", "-q", "--cached", "a"])


def _intend_to_add(root: Path) -> None:
    (root / "new").write_text("mine\n")
    isolated_git(root).run(["add", "-N", "new"])


def _link(root: Path) -> None:
    (root / "a").rename(root / "moved")
    (root / "a").symlink_to("moved")


def _link_the_folder(root: Path) -> None:
    (root / "sub").rename(root / "moved")
    (root / "sub").symlink_to("moved")


def _replace_by_pipe(root: Path) -> None:
    (root / "a").unlink()
    os.mkfifo(root / "a")


@pytest.mark.parametrize(
    "change",
    [
        *(_edit, _edit_with_the_same_time_and_size, _remove, _set_mode, _clear_mode),
        *(_stage, _stage_a_new_file, _unstage, _intend_to_add, _link),
        *(_link_the_folder, _replace_by_pipe),
    ],
)
def test_whatever_a_person_did_to_a_file_is_left_to_git(
    tree: Tree, change: Callable[[Path], None]
) -> None:
    assert tree.is_clean()
    change(tree.root)
    assert not tree.is_clean()
    if change is not _edit_with_the_same_time_and_size:  # that git may not see
        assert tree.dirty


def test_git_is_asked_about_what_is_large_and_about_an_index_that_it_alone_reads(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean_files, "_MAX_BYTES", 11)
    assert not tree.is_clean()
    monkeypatch.setattr(clean_files, "_MAX_BYTES", 12)
    assert tree.is_clean()
    tree.git.run(["update-index", "--index-version", "4"])
    assert not tree.is_clean()
    assert tree.dirty == []
    (tree.root / ".git/index").unlink()
    os.mkfifo(tree.root / ".git/index")
    assert not tree.is_clean()


def test_an_edit_that_git_was_told_to_overlook_is_left_to_git(tree: Tree) -> None:
    tree.git.run(["update-index", "--assume-unchanged", "a"])
    _edit(tree.root)
    assert not tree.is_clean()
