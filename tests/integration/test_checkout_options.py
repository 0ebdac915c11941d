"""A checkout has the submodules and the files of Git LFS that its repository has, and
neither is the agent's work.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.attempt import capture
from runner.attempt.recorded_attempt import FreshWorkspaces
from runner.attempt.workspace import Workspace
from runner.attempt.workspace_pool import WorkspacePool
from runner.repo import origin
from runner.repo.repository import Repository
from tests.support.project import Project

Acquire = Callable[[Project, Path], Workspace]
ALLOW_FILES = ("-c", "protocol.file.allow=always")


def acquire(project: Project, folder: Path) -> Workspace:
    """A checkout as a job of GitHub Actions makes it."""
    workspaces = FreshWorkspaces(origin.origin_of(project.root))
    return workspaces.acquire(project.git("rev-parse", "HEAD"), folder, "fanin/task")


def acquire_locally(project: Project, folder: Path) -> Workspace:
    """A checkout as a run on one machine makes it."""
    repo = Repository(project.root, {})
    folder.parent.mkdir(exist_ok=True)
    with WorkspacePool(repo.origin, folder.parent, repo.tree) as workspaces:
        head = project.git("rev-parse", "HEAD")
        return workspaces.acquire(head, folder, "fanin/task")


on_both = pytest.mark.parametrize("acquire", [acquire, acquire_locally])


@pytest.fixture
def with_submodules(project: Project, tmp_path: Path) -> Project:
    """A repository with a submodule that has one itself."""
    for name, inner in (("inner", None), ("outer", "inner")):
        root = tmp_path / name
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        (root / f"{name}.txt").write_text(name)
        if inner is not None:
            source = str(tmp_path / inner)
            argv = ["submodule", "--quiet", "add", source, inner]
            subprocess.run(["git", "-C", str(root), *ALLOW_FILES, *argv], check=True)
        subprocess.run(["git", "-C", str(root), "add", "-A"], check=True)
        subprocess.run(["git", "-C", str(root), "commit", "-qm", name], check=True)
    project.git(*ALLOW_FILES, "submodule", "--quiet", "add", str(root), "lib/outer")
    project.git(*ALLOW_FILES, "submodule", "--quiet", "update", "--init", "--recursive")
    project.commit("submodules")
    return project


@on_both
def test_submodules_of_the_repository_are_in_the_checkout(
    with_submodules: Project, tmp_path: Path, acquire: Acquire
) -> None:
    made = acquire(with_submodules, tmp_path / "space")
    outer = made.checkout / "lib" / "outer"
    assert (outer / "outer.txt").read_text() == "outer"
    assert (outer / "inner" / "inner.txt").read_text() == "inner"
    assert capture.capture(made) == capture.Capture(None)


def test_a_submodule_that_the_repository_does_not_have_stays_empty(
    with_submodules: Project, tmp_path: Path
) -> None:
    with_submodules.git("submodule", "deinit", "-q", "-f", "--all")
    (with_submodules.root / ".git" / "modules").rename(tmp_path / "gone")
    made = acquire(with_submodules, tmp_path / "space")
    assert list((made.checkout / "lib" / "outer").iterdir()) == []
    assert capture.capture(made) == capture.Capture(None)


def test_a_submodule_is_found_wherever_git_keeps_its_repository(
    with_submodules: Project, tmp_path: Path
) -> None:
    """Below a linked work tree's own git directory, or in the submodule's folder."""
    root = with_submodules.root
    linked = Project(tmp_path / "linked", with_submodules.log)
    with_submodules.git("worktree", "add", "-q", str(linked.root))
    linked.git(*ALLOW_FILES, "submodule", "--quiet", "update", "--init")
    embedded = root / "lib" / "outer" / ".git"
    embedded.unlink()
    (root / ".git" / "modules" / "lib" / "outer").rename(embedded)
    for number, project in enumerate((with_submodules, linked)):
        made = acquire_locally(project, tmp_path / f"scratch{number}" / "space")
        assert (made.checkout / "lib" / "outer" / "outer.txt").is_file()
        assert capture.capture(made) == capture.Capture(None)


@pytest.mark.parametrize("path", ["lib/outer", "lib/outer/inner"])
def test_files_that_change_below_a_submodule_are_named(
    with_submodules: Project, tmp_path: Path, path: str
) -> None:
    made = acquire(with_submodules, tmp_path / "space")
    (made.checkout / path / "set-up").write_text("made before the agent\n")
    made = capture.record_preparation(made)
    assert capture.capture(made) == capture.Capture(None)
    (made.checkout / path / "new").write_text("new\n")
    left_out = [str(each) for each in capture.capture(made).left_out]
    assert left_out == [f"{path} is a submodule with changed files"]


def add_lfs_file(project: Project, path: str, content: bytes) -> str:
    """Commit a file's pointer, and store its content; the pointer's text."""
    object_id = hashlib.sha256(content).hexdigest()
    pointer = (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{object_id}\nsize {len(content)}\n"
    )
    project.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    project.write(path, pointer)
    project.commit("pointer")
    store = project.root / ".git" / "lfs" / "objects" / object_id[:2] / object_id[2:4]
    store.mkdir(parents=True)
    (store / object_id).write_bytes(content)
    return pointer


@on_both
def test_files_of_git_lfs_are_in_the_checkout_and_are_no_change(
    project: Project, tmp_path: Path, acquire: Acquire
) -> None:
    content = b"large\0file"
    pointer = add_lfs_file(project, "a b.bin", content)
    object_id = hashlib.sha256(content).hexdigest()
    absent = pointer.replace(object_id, "0" * 64)
    project.write("absent.bin", absent)
    project.commit("a pointer without its content")

    made = acquire(project, tmp_path / "space")
    assert (made.checkout / "a b.bin").read_bytes() == content
    assert (made.checkout / "absent.bin").read_text() == absent
    assert capture.capture(made) == capture.Capture(None)

    (made.checkout / "new").write_text("new")
    tree = capture.capture(made).tree
    changed = made.git.text(["diff-tree", "-r", "--name-only", made.base, str(tree)])
    assert changed.split() == ["new"]


def test_a_run_takes_no_file_of_git_lfs_for_a_change_but_one_that_changed(
    project: Project,
) -> None:
    add_lfs_file(project, "a.bin", b"large")
    tasks = [
        {"id": "A", "command": "grep -q large a.bin && echo a > a"},
        {"id": "B", "command": "echo more >> a.bin"},
    ]
    project.plan(
        [
            {"id": task["id"], "agent": {"command": ["sh", "-c", task["command"]]}}
            for task in tasks
        ],
        max_attempts=1,
        verify="grep -q large a.bin",
    )
    project.run()
    assert project.states() == {"A": "completed", "B": "failed"}
    message = project.records()["B"]["error"]["message"]
    assert "a.bin is stored through a filter, which fanin does not run" in message
    assert project.git("diff", "--name-only", "HEAD^", "HEAD", "--", "*.bin") == ""
