"""A repository is found without GitPython where that is sure, and by it elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.core.errors import UsageProblem
from runner.repo import discovery
from runner.repo.command import Git, isolated_git


@pytest.fixture
def git(tmp_path: Path) -> Git:
    root = tmp_path / "repo"
    root.mkdir()
    git = isolated_git(root)
    git.run(["init", "-q"])
    git.run(["commit", "-q", "--allow-empty", "-m", "first"])
    return git


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders about which GitPython is asked."""
    asked: list[Path] = []
    by_gitpython = discovery._by_gitpython

    def ask(path: Path) -> tuple[Path, Path, Path]:
        asked.append(path)
        return by_gitpython(path)

    monkeypatch.setattr(discovery, "_by_gitpython", ask)
    return asked


def test_a_plain_repository_is_found_from_any_of_its_folders(
    git: Git, asked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = git.cwd
    (root / "src" / "deep").mkdir(parents=True)
    places = (root, root / ".git", root / ".git")
    assert discovery.discover(root) == places
    assert discovery.discover(root / "src" / "deep") == places
    monkeypatch.chdir(root / "src")
    assert discovery.discover(Path()) == places
    assert asked == []
    assert discovery._by_gitpython(root) == places


def test_a_linked_work_tree_has_a_git_directory_of_its_own(
    git: Git, tmp_path: Path, asked: list[Path]
) -> None:
    linked = tmp_path / "linked"
    git.run(["worktree", "add", "-q", str(linked)])
    own = git.cwd / ".git" / "worktrees" / "linked"
    assert discovery.discover(linked) == (linked, git.cwd / ".git", own)
    assert asked == [linked]


@pytest.mark.parametrize("setting", ["core.worktree", "include.path"])
def test_a_configuration_that_may_name_another_work_tree_is_left_to_gitpython(
    git: Git, tmp_path: Path, asked: list[Path], setting: str
) -> None:
    git.run(["config", setting, str(tmp_path)])
    discovery.discover(git.cwd)
    assert asked == [git.cwd]


def test_a_bare_repository_and_a_folder_outside_of_any_are_refused(
    tmp_path: Path,
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    isolated_git(bare).run(["init", "-q", "--bare"])
    with pytest.raises(UsageProblem, match="is a bare repository"):
        discovery.discover(bare)
    with pytest.raises(UsageProblem, match="not in a git repository"):
        discovery.discover(tmp_path)
    with pytest.raises(UsageProblem, match="not in a git repository"):
        discovery.discover(tmp_path / "missing")


@pytest.mark.parametrize("variable", ["GIT_EXECUTABLE=/nowhere", "REFRESH=odd"])
def test_gitpythons_own_search_for_git_stops_nothing(variable: str) -> None:
    name, _, value = variable.partition("=")
    program = "from runner.repo import gitpython; gitpython.package().Repo"
    env = {**os.environ, f"GIT_PYTHON_{name}": value}
    subprocess.run([sys.executable, "-c", program], check=True, env=env)
