"""A small result is captured and packed by one process of git, and as git would."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.attempt import (
    capture,
    capture_directory,
    captured_tree,
    plain_changes,
    workspace,
)
from runner.attempt.workspace import Workspace
from runner.repo.command import Git, isolated_git
from runner.repo.repository import Repository

AGAIN = "as it was once\n"


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    root = tmp_path / "repo"
    root.mkdir()
    git = isolated_git(root)
    git.run(["init", "-q", "-b", "main"])
    for text in (AGAIN, "now\n"):
        (root / "folder").mkdir(exist_ok=True)
        (root / "folder/file").write_text(text)
        (root / "gone").write_text(text)
        git.run(["add", "-A"])
        git.run(["commit", "-qm", "change"])
    return Repository(root, os.environ)


@pytest.fixture
def space(repo: Repository, tmp_path: Path) -> Workspace:
    base = repo.commit("HEAD")
    assert base is not None
    made = workspace.create(repo.origin, base, tmp_path / "space", "task")
    return made._replace(tree=repo.tree(base))


def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands of git from now on."""
    commands: list[str] = []
    run_unchecked = Git.run_unchecked

    def noted(git: Git, argv: list[str], **options: object) -> object:
        commands.append(argv[0])
        return run_unchecked(git, argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Git, "run_unchecked", noted)
    return commands


def added(space: Workspace) -> str:
    """The tree that `git add -A` makes of the checkout."""
    index = {"GIT_INDEX_FILE": str(space.folder / "other.index")}
    git = capture_directory.capture_git(space).with_env(index)
    git = git._replace(cwd=space.checkout)
    git.run(["read-tree", space.base])
    git.run(["add", "-A"])
    return git.text(["write-tree"]).strip()


def imported(repo: Repository, space: Workspace, pack: Path) -> list[tuple[str, int]]:
    captured = capture.capture(space, is_read=False)
    assert captured.tree is not None
    captured_tree.write_pack(space, captured.tree, pack, captured.new_objects)
    with repo.quarantine() as quarantine:
        quarantine.import_pack(pack, pack.stat().st_size + 1)
        changes = quarantine.changes(space.base, captured.tree)
    assert captured.tree == added(space)
    return [(change.path, change.size) for change in changes]


def test_a_small_result_is_captured_by_one_process(
    repo: Repository,
    space: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (space.checkout / "folder/file").write_text("changed\n")
    (space.checkout / "deep/er").mkdir(parents=True)
    (space.checkout / "deep/er/new").write_text("new\n")
    (space.checkout / "gone").unlink()
    commands = started(monkeypatch)
    pack = tmp_path / "pack"
    changes = imported(repo, space, pack)
    assert changes == [("deep/er/new", 4), ("folder/file", 8), ("gone", 0)]
    assert commands[0] == "ls-files"
    # the others are the test's
    assert commands[1:] == ["read-tree", "add", "write-tree"]


@pytest.mark.parametrize("attributes", ["", "gone ident\n"])
@pytest.mark.parametrize("is_read", [True, False])
def test_a_small_result_has_files_of_its_own_only_if_git_reads_it(
    space: Workspace, is_read: bool, attributes: str
) -> None:
    if attributes:
        (space.checkout / ".gitattributes").write_text(attributes)
    (space.checkout / "folder/file").write_text("changed\n")
    captured = capture.capture(space, is_read=is_read)
    assert captured.tree is not None
    argv = ["ls-tree", "-r", "--name-only", captured.tree]
    assert (space.git.status(argv) == 0) is is_read


def test_what_the_history_has_is_packed_by_one_process_too(
    repo: Repository,
    space: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (space.checkout / "folder/file").write_text(AGAIN)
    commands = started(monkeypatch)
    changes = imported(repo, space, tmp_path / "pack")
    assert changes == [("folder/file", len(AGAIN))]
    assert commands == ["ls-files", "read-tree", "add", "write-tree"]


@pytest.mark.parametrize("reason", ["large", "in the history with other line ends"])
def test_git_packs_what_is_large_or_not_as_its_file(
    reason: str,
    repo: Repository,
    space: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "large"
    if reason == "large":
        monkeypatch.setattr(capture, "_MAX_SMALL_PACK", 4)
        monkeypatch.setattr(plain_changes, "_MAX_BYTES", 4)
        (space.checkout / "folder/file").write_text(text)
    else:
        text = AGAIN
        (space.checkout / ".gitattributes").write_text("file text eol=crlf\n")
        (space.checkout / "folder/file").write_text(AGAIN.replace("\n", "\r\n"))
    commands = started(monkeypatch)
    changes = imported(repo, space, tmp_path / "pack")
    assert ("folder/file", len(text)) in changes
    assert commands[:4] == ["ls-files", "add", "write-tree", "pack-objects"]


def test_an_index_that_is_not_the_bases_is_left_to_git(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (space.checkout / "folder/file").write_text("changed\n")
    other = space._replace(tree="1" * 40)
    commands = started(monkeypatch)
    assert capture.capture(other).new_objects is None
    assert commands == ["add", "write-tree"]


@pytest.mark.parametrize(
    ("attributes", "commands"),
    [("gone ident\n", ["add"]), ("gone text eol=lf\n", ["ls-files"])],
)
def test_no_process_is_started_in_vain_where_attributes_change_files(
    repo: Repository,
    tmp_path: Path,
    attributes: str,
    commands: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    git = isolated_git(repo.root)
    (repo.root / ".gitattributes").write_text(attributes)
    git.run(["add", "-A"])
    git.run(["commit", "-qm", "attributes"])
    base = repo.commit("HEAD")
    assert base is not None
    made = workspace.create(repo.origin, base, tmp_path / "space", "task")
    space = made._replace(tree=repo.tree(base))
    (space.checkout / "folder/file").write_text("changed\n")
    started_now = started(monkeypatch)
    tree = capture.capture(space, is_read=False).tree
    assert started_now == commands
    assert tree == added(space)
