"""A checkout that has been used is as a new one for the next attempt, or is not used."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runner.attempt import capture, recycling, workspace, workspace_pool
from runner.attempt.emptied_folders import EmptiedFolders
from runner.attempt.git_directory import Seed
from runner.attempt.workspace import Workspace
from runner.attempt.workspace_pool import WorkspacePool
from runner.core.errors import GitFailed
from runner.repo import index_times
from runner.repo.origin import Origin, origin_of
from tests.integration.test_pooled_workspaces import (
    BRANCH,
    State,
    Work,
    always_green,
    change_git,
    change_tracked,
    hide_change_in_same_size,
    keep_time,
    leave_beside,
    link_git,
    link_top,
    link_tracked_folder,
    link_workspace,
    pipes,
    replace_git,
    restrict,
    set_up,
    state,
    swap_kinds,
    usual_work,
)
from tests.support.project import Project


@pytest.fixture(params=["index in memory", "index in a file"])
def pool(
    request: pytest.FixtureRequest,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[WorkspacePool]:
    """A pool to which every checkout is large and that wants a spare."""
    project.write(".gitignore", "node_modules/\n*.log\n")
    for name in ("lock", "old", "src/a.py", "src/deep/b.py"):
        project.write(name, f"{name}\n")
    project.commit()
    if request.param == "index in a file":
        monkeypatch.setattr(workspace, "_MAX_INDEX_IN_MEMORY", 0)
    monkeypatch.setattr(workspace_pool, "_MIN_CHECKOUT_TIME", -1.0)
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", 0)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def tree_of(commit: str) -> str:
        return project.git("rev-parse", f"{commit}^{{tree}}")

    with WorkspacePool(origin_of(project.root), scratch, tree_of, most=1) as pool:
        yield pool


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders of the workspaces that have been created."""
    folders: list[Path] = []
    create = workspace.create

    def noted(
        origin: Origin,
        base: str,
        folder: Path,
        branch: str,
        seed: Seed | None = None,
        emptied: EmptiedFolders | None = None,
    ) -> Workspace:
        folders.append(folder)
        return create(origin, base, folder, branch, seed, emptied)

    monkeypatch.setattr(workspace, "create", noted)
    return folders


def attempt(
    pool: WorkspacePool,
    base: str,
    work: Work = lambda _: None,
    setup: Work = lambda _: None,
) -> State:
    """One attempt on `base`: what it found in its checkout."""
    folder = pool._scratch / "attempt"
    space = pool.acquire(base, folder, BRANCH)
    pool.prewarm(1, base, 1)
    found = state(space)
    setup(space.checkout)
    space = capture.record_preparation(space)
    work(space.checkout)
    capture_of(space)
    pool.release(folder)
    pool._begin(int).result()  # after it
    return found


def capture_of(space: Workspace) -> None:
    """As at the end of an attempt, as far as that is possible."""
    with suppress(GitFailed):
        capture.capture(space)


USES: tuple[Work, ...] = (
    *(usual_work, change_git, replace_git, link_git, link_tracked_folder, pipes),
    *(swap_kinds, restrict, hide_change_in_same_size, leave_beside),
    lambda top: os.link(top / "src/a.py", top.parent / "linked"),
    lambda top: (top / "src/a.py").chmod(0o777),
    lambda top: shutil.rmtree(top / "src"),
    lambda top: keep_time(top / "README.md", always_green),
    lambda top: os.mkfifo(top / "src/.gitattributes"),
)


@pytest.mark.parametrize("setup", [set_up, change_tracked])
def test_a_used_checkout_is_as_new(
    pool: WorkspacePool, project: Project, setup: Work
) -> None:
    base = project.git("rev-parse", "HEAD")
    as_new = attempt(pool, base)
    for work in USES:
        if work is usual_work and setup is change_tracked:
            continue  # both remove the same file
        attempt(pool, base, work, setup)
        assert attempt(pool, base) == as_new, work


@pytest.mark.parametrize(
    "work",
    [
        lambda file: file.chmod(0o600),
        lambda file: os.setxattr(file, "user.note", b"x"),
        lambda file: os.link(file, file.parents[3] / "linked"),
        lambda file: keep_time(file, lambda path: path.write_text("SRC/A.PY\n")),
    ],
)
def test_what_git_does_not_see_in_the_second_of_the_checkout_is_undone(
    pool: WorkspacePool, project: Project, work: Work
) -> None:
    base = project.git("rev-parse", "HEAD")
    attempt(pool, base)
    attempt(pool, base, lambda top: work(top / "src/a.py"))
    [spare] = pool._spares
    file = spare.checkout / "src/a.py"
    assert file.lstat().st_mode & 0o777 == 0o644
    assert os.listxattr(file) == []
    assert file.lstat().st_nlink == 1
    assert file.read_text() == "src/a.py\n"


def test_a_file_behind_a_link_is_not_removed(
    pool: WorkspacePool, project: Project, tmp_path: Path
) -> None:
    space = pool.acquire(project.git("rev-parse", "HEAD"), tmp_path / "A", BRANCH)
    data = workspace.index_data(space)
    assert data is not None
    files = index_times.read_files(data, "sha1", 0)
    assert files is not None
    elsewhere = tmp_path / "elsewhere"
    (space.checkout / "src").rename(elsewhere)
    (elsewhere / "a.py").chmod(0o600)
    (space.checkout / "src").symlink_to(elsewhere)
    (space.checkout / "lock").chmod(0o600)
    folders, _ = workspace.folders_of(space.checkout)
    recycling._remove_changed(space.checkout, files.recent, frozenset(folders))
    assert (elsewhere / "a.py").exists()
    assert not (space.checkout / "lock").exists()


def test_a_used_checkout_is_used_again(
    pool: WorkspacePool, project: Project, created: list[Path]
) -> None:
    base = project.git("rev-parse", "HEAD")
    clock = project.root.with_name("clock")
    for work in (usual_work, usual_work, Path.exists):
        clock.touch()
        attempt(pool, base, work, set_up)
    [spare] = pool._spares
    # git need not read the files again that are older
    assert spare.index_record.time >= clock.stat().st_mtime_ns
    project.write("src/a.py", "moved on\n")
    found = attempt(pool, project.commit())
    assert found["checkout/src/a.py"][1] == "moved on\n"
    assert len(created) == 1


@pytest.mark.parametrize(
    "work",
    [
        link_top,
        link_workspace,
        shutil.rmtree,
        lambda top: (top / "src").chmod(0o777),
        lambda top: top.chmod(0o777),
        lambda top: os.setxattr(top / "src", "user.note", b"x"),
    ],
)
def test_a_checkout_whose_folders_were_changed_is_not_used_again(
    pool: WorkspacePool, project: Project, work: Work, created: list[Path]
) -> None:
    base = project.git("rev-parse", "HEAD")
    as_new = attempt(pool, base, work)
    assert attempt(pool, base) == as_new
    assert len(created) == 2


def test_what_is_written_into_a_used_checkout_later_is_not_used(
    pool: WorkspacePool, project: Project, created: list[Path]
) -> None:
    base = project.git("rev-parse", "HEAD")
    as_new = attempt(pool, base)
    [spare] = pool._spares
    keep_time(spare.checkout / "README.md", lambda path: path.write_text("HELLO\n"))
    assert attempt(pool, base) == as_new
    assert len(created) == 2


def test_a_checkout_with_a_submodule_is_not_used_again(
    pool: WorkspacePool, project: Project, tmp_path: Path, created: list[Path]
) -> None:
    other = tmp_path / "other"
    git = ["git", "-C", str(other)]
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    (other / "file").write_text("x\n")
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    argv = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add"]
    project.git(*argv, str(other), "sub")
    base = project.commit()
    assert "checkout/sub/file" in attempt(pool, base)
    assert [spare.folder for spare in pool._spares] == created[1:]
    assert "checkout/sub/file" in attempt(pool, base)


def test_no_checkout_is_made_beside_those_that_will_be_used_again(
    pool: WorkspacePool, project: Project, created: list[Path]
) -> None:
    base = project.git("rev-parse", "HEAD")
    attempt(pool, base)
    pool.prewarm(2, base, 2)
    pool._begin(int).result()
    assert len(created) == 1
    assert len(pool._spares) == 1


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_many_files_are_not_written_for_each_attempt_however_fast_that_is(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    created: list[Path],
    schedule: str,
) -> None:
    monkeypatch.setattr(workspace_pool, "_MIN_CHECKOUT_TIME", float("inf"))
    monkeypatch.setattr(workspace_pool, "_MANY_FILES", 20)
    for number in range(20):
        project.write(f"files/{number}", f"{number}\n")
    tasks = [
        {"id": f"T{n}", "do": [f"write {n}: x", "sleep 0.3"]}
        | ({"depends_on": [f"T{n - 1}"]} if n else {})
        for n in range(6)
    ]
    project.plan(tasks, schedule=schedule, max_concurrent=2)
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert len(created) < 6
    others = {"README.md", ".gitignore", "fanin.yml", "tasks.yml"}
    others.add(".fanin/progress.json")
    files = project.git("ls-tree", "-r", "--name-only", "main").split()
    made = {str(n) for n in range(6)} | {f"files/{n}" for n in range(20)}
    assert set(files) - others == made


def test_a_checkout_that_is_kept_for_the_next_batch_is_not_made_for_it(
    pool: WorkspacePool, project: Project, created: list[Path]
) -> None:
    base = project.git("rev-parse", "HEAD")
    pool.acquire(base, pool._scratch / "first", BRANCH)
    pool.keep(2)
    pool.release(pool._scratch / "first")
    pool._begin(int).result()
    assert len(pool._spares) == len(created) == 1
    pool.acquire(base, pool._scratch / "second", BRANCH)
    pool.keep(0)
    pool.release(pool._scratch / "second")
    pool._begin(int).result()
    assert not pool._spares
    assert len(created) == 1


def test_a_checkout_is_kept_if_it_was_wanted_before_any_was_known_to_be_large(
    pool: WorkspacePool, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", 1)
    pool.keep(1)
    was_large = pool.is_large
    pool.acquire(project.git("rev-parse", "HEAD"), pool._scratch / "first", BRANCH)
    assert (was_large, pool.is_large) == (False, True)
    pool.release(pool._scratch / "first")
    pool._begin(int).result()
    assert len(pool._spares) == 1


def test_a_small_checkout_is_not_kept(
    pool: WorkspacePool, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", 1_000)
    pool.keep(1)
    pool.acquire(project.git("rev-parse", "HEAD"), pool._scratch / "first", BRANCH)
    pool.release(pool._scratch / "first")
    pool._begin(int).result()
    assert not pool._spares


def test_a_used_checkout_is_removed_if_no_spare_is_wanted(
    pool: WorkspacePool, project: Project
) -> None:
    base = project.git("rev-parse", "HEAD")
    folder = pool._scratch / "attempt"
    pool.acquire(base, folder, BRANCH)
    pool.release(folder)
    pool._begin(int).result()
    assert not pool._spares
    assert not folder.exists()
