"""A checkout has the submodules and the files of Git LFS that its repository has, and
neither is the agent's work.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from runner.attempt import workspace
from runner.attempt.workspace import Workspace
from runner.pipeline import FreshWorkspaces
from runner.repo import origin
from tests.support.project import Project

ALLOW_FILES = ("-c", "protocol.file.allow=always")


def acquire(project: Project, folder: Path) -> Workspace:
    workspaces = FreshWorkspaces(origin.origin_of(project.root))
    return workspaces.acquire(project.git("rev-parse", "HEAD"), folder, "fanin/task")


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


def test_submodules_of_the_repository_are_in_the_checkout(
    with_submodules: Project, tmp_path: Path
) -> None:
    made = acquire(with_submodules, tmp_path / "space")
    outer = made.checkout / "lib" / "outer"
    assert (outer / "outer.txt").read_text() == "outer"
    assert (outer / "inner" / "inner.txt").read_text() == "inner"
    assert workspace.capture(made) == workspace.Capture(None)


def test_a_submodule_that_the_repository_does_not_have_stays_empty(
    with_submodules: Project, tmp_path: Path
) -> None:
    with_submodules.git("submodule", "deinit", "-q", "-f", "--all")
    (with_submodules.root / ".git" / "modules").rename(tmp_path / "gone")
    made = acquire(with_submodules, tmp_path / "space")
    assert list((made.checkout / "lib" / "outer").iterdir()) == []
    assert workspace.capture(made) == workspace.Capture(None)


@pytest.mark.parametrize("path", ["lib/outer", "lib/outer/inner"])
def test_files_that_change_below_a_submodule_are_named(
    with_submodules: Project, tmp_path: Path, path: str
) -> None:
    made = acquire(with_submodules, tmp_path / "space")
    (made.checkout / path / "set-up").write_text("made before the agent\n")
    made = workspace.record_preparation(made)
    assert workspace.capture(made) == workspace.Capture(None)
    (made.checkout / path / "new").write_text("new\n")
    left_out = [str(each) for each in workspace.capture(made).left_out]
    assert left_out == [f"{path} is a submodule with changed files"]


def test_files_of_git_lfs_are_in_the_checkout_and_are_no_change(
    project: Project, tmp_path: Path
) -> None:
    content = b"large\0file"
    object_id = hashlib.sha256(content).hexdigest()
    pointer = (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{object_id}\nsize {len(content)}\n"
    )
    absent = pointer.replace(object_id, "0" * 64)
    project.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    project.write("a b.bin", pointer)
    project.write("absent.bin", absent)
    project.commit("pointers")
    store = project.root / ".git" / "lfs" / "objects" / object_id[:2] / object_id[2:4]
    store.mkdir(parents=True)
    (store / object_id).write_bytes(content)

    made = acquire(project, tmp_path / "space")
    assert (made.checkout / "a b.bin").read_bytes() == content
    assert (made.checkout / "absent.bin").read_text() == absent
    assert workspace.capture(made) == workspace.Capture(None)

    (made.checkout / "new").write_text("new")
    tree = workspace.capture(made).tree
    changed = made.git.text(["diff-tree", "-r", "--name-only", made.base, str(tree)])
    assert changed.split() == ["new"]
