"""A small result is captured and packed by one process of git, and as git would."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from runner.attempt import capture, workspace
from runner.attempt.workspace import Workspace
from runner.core.errors import GitFailed
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
    return replace(made, tree=repo.tree(base))


def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands of git from now on."""
    commands: list[str] = []
    run_unchecked = Git.run_unchecked

    def noted(git: Git, argv: list[str], **options: object) -> object:
        commands.append(argv[0])
        return run_unchecked(git, argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Git, "run_unchecked", noted)
    return commands


def imported(repo: Repository, space: Workspace, pack: Path) -> list[tuple[str, int]]:
    captured = capture.capture(space)
    assert captured.tree is not None
    workspace.write_pack(space, captured.tree, pack, captured.new_objects)
    with repo.quarantine() as quarantine:
        quarantine.import_pack(pack, pack.stat().st_size + 1)
        changes = quarantine.changes(space.base, captured.tree)
    assert captured.tree == space.git.text(["write-tree"]).strip()
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
    # the last one is the test's
    assert commands == ["add", "write-tree"]


def test_git_reads_a_small_result_once_its_trees_are_stored(
    repo: Repository, space: Workspace
) -> None:
    (space.checkout / "folder/file").write_text("changed\n")
    captured = capture.capture(space)
    assert captured.tree is not None
    assert captured.new_objects is not None
    argv = ["diff", "--name-only", f"{space.base}^{{tree}}", captured.tree]
    with pytest.raises(GitFailed):
        space.git.run(argv)
    workspace.store_trees(space, captured.new_objects)
    assert space.git.text(argv) == "folder/file\n"


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
    assert commands == ["add", "write-tree"]


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
        (space.checkout / "folder/file").write_text(text)
    else:
        text = AGAIN
        (space.checkout / ".gitattributes").write_text("file text eol=crlf\n")
        (space.checkout / "folder/file").write_text(AGAIN.replace("\n", "\r\n"))
    commands = started(monkeypatch)
    changes = imported(repo, space, tmp_path / "pack")
    assert ("folder/file", len(text)) in changes
    assert commands[:3] == ["add", "write-tree", "pack-objects"]


def test_an_index_that_is_not_the_bases_is_left_to_git(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (space.checkout / "folder/file").write_text("changed\n")
    other = replace(space, tree="1" * 40)
    commands = started(monkeypatch)
    assert capture.capture(other).new_objects is None
    assert commands == ["add", "write-tree"]
