"""An agent's work is captured whatever it did to the files beside its checkout."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.attempt import capture, workspace
from runner.attempt.workspace import Workspace
from runner.repo.command import isolated_git
from runner.repo.origin import origin_of
from tests.support.capture_ways import capture_way

__all__ = ["capture_way"]  # a fixture


@pytest.fixture
def large_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every index is as one that does not stay in memory."""
    monkeypatch.setattr(workspace, "_MAX_INDEX_IN_MEMORY", 0)


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    repository = isolated_git(tmp_path)
    repository.run(["init", "-q", str(tmp_path / "repository")])
    repository = isolated_git(tmp_path / "repository")
    for name in ("file", "other"):
        (tmp_path / "repository" / name).write_text("base\n")
    repository.run(["add", "-A"])
    repository.run(["commit", "-q", "-m", "base"])
    base = repository.text(["rev-parse", "HEAD"]).strip()
    origin = origin_of(tmp_path / "repository")
    return workspace.create(origin, base, tmp_path / "space", "fanin/task")


def changed(space: Workspace) -> list[str]:
    tree = capture.capture(space).tree
    if tree is None:
        return []
    argv = ["diff-tree", "-r", "--name-only", space.base, tree]
    return space.git.text(argv).split()


def _replace_by_pipe(index: Path) -> None:
    index.unlink()
    os.mkfifo(index)


def _replace_by_link(index: Path) -> None:
    index.rename(index.with_name("elsewhere"))
    index.symlink_to("elsewhere")


def _hide_a_change(index: Path) -> None:
    argv = ["update-index", "--skip-worktree", "file"]
    git = isolated_git(index.parent / "checkout", {"GIT_INDEX_FILE": str(index)})
    git.run(argv)


@pytest.mark.parametrize(
    "meddle",
    [Path.unlink, _replace_by_pipe, _replace_by_link, _hide_a_change],
    ids=["removed", "pipe", "link", "skip-worktree"],
)
def test_the_index_that_an_agent_can_reach_is_used_only_if_it_is_unchanged(
    large_index: None, space: Workspace, meddle: Callable[[Path], None]
) -> None:
    (space.checkout / "file").write_text("changed\n")
    meddle(space.index_copy)
    assert changed(space) == ["file"]


def test_nothing_to_capture_with_is_on_the_disk_before_the_agent_has_ended(
    space: Workspace,
) -> None:
    assert [path.name for path in space.folder.iterdir()] == ["checkout"]
    assert not changed(space)
    assert space.capture.is_dir()


def test_a_large_index_is_copied_and_used(large_index: None, space: Workspace) -> None:
    assert space.index_copy.is_file()
    assert space.number_of_files == 2
    (space.checkout / "file").write_text("set-up\n")
    space = capture.record_preparation(space)
    (space.checkout / "other").write_text("agent\n")
    assert changed(space) == ["other"]


def test_what_differs_before_each_of_two_set_ups_is_not_the_agents_work(
    space: Workspace,
) -> None:
    for name in ("file", "new"):
        (space.checkout / name).write_text("set-up\n")
        space = capture.record_preparation(space)
    assert not changed(space)
    (space.checkout / "file").write_text("agent\n")
    (space.checkout / "other").unlink()
    assert changed(space) == ["file", "other"]


def test_a_file_that_set_up_made_is_left_out_whatever_becomes_of_it(
    space: Workspace,
) -> None:
    (space.checkout / "built").write_text("set-up\n")
    space = capture.record_preparation(space)
    (space.checkout / "built").write_text("anew\n")
    (space.checkout / "file").write_text("agent\n")
    captured = capture.capture(space)
    assert captured.tree is not None
    assert changed(space) == ["file"]
    [left_out] = captured.left_out
    assert left_out.path == "built"
    assert left_out.harmless


@pytest.mark.parametrize("name", ["plain", 'a:b "c" \\d \u00e9', "two\nlines"])
def test_a_capture_finds_the_objects_of_a_repository_at_any_path(
    tmp_path: Path, name: str
) -> None:
    root = tmp_path / name
    git = isolated_git(tmp_path)
    git.run(["init", "-q", str(root)])
    git = isolated_git(root)
    (root / "file").write_text("base\n")
    git.run(["add", "-A"])
    git.run(["commit", "-q", "-m", "base"])
    base = git.text(["rev-parse", "HEAD"]).strip()
    made = workspace.create(origin_of(root), base, tmp_path / "space", "fanin/task")
    (made.checkout / "file").write_text("changed\n")
    assert changed(made) == ["file"]


def test_only_ignore_files_with_patterns_are_taken_over(
    tmp_path: Path, space: Workspace
) -> None:
    for text, is_ignored in (("# git writes comments\n\n", False), ("new\n", True)):
        origin = origin_of(tmp_path / "repository")
        excludes = origin.git_dir / "info/exclude"
        excludes.parent.mkdir(exist_ok=True)
        excludes.write_text(text)
        folder = tmp_path / f"space {is_ignored}"
        made = workspace.create(origin, space.base, folder, "fanin/task")
        (made.checkout / "new").touch()
        assert changed(made) == ([] if is_ignored else ["new"])
        shown = isolated_git(made.checkout).text(["status", "--porcelain"])
        assert shown == ("" if is_ignored else "?? new\n")
        assert (made.capture / "info").exists() == is_ignored
