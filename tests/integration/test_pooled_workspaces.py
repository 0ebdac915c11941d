"""A checkout that is used again is as a new one, whatever the agent before did to it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from runner.attempt import capture, checkout_reset, preparation, workspace_pool
from runner.attempt.checkout_reset import ReadyCheckout
from runner.attempt.pooled_workspaces import PooledWorkspaces
from runner.attempt.workspace import Workspace
from runner.attempt.workspace_pool import WorkspacePool
from runner.repo.origin import origin_of
from tests.support.project import Project

BRANCH = "fanin/task-000"
Work = Callable[[Path], object]
State = dict[str, tuple[str, str]]


@pytest.fixture
def project(project: Project) -> Project:
    project.write(".gitignore", "node_modules/\n*.log\n")
    for name in ("lock", "old", "src/a.py", "src/deep/b.py"):
        project.write(name, f"{name}\n")
    project.commit()
    return project


@pytest.fixture
def pool(project: Project, tmp_path: Path) -> Iterator[PooledWorkspaces]:
    origin = origin_of(project.root)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with (
        WorkspacePool(
            origin,
            scratch,
            lambda commit: project.git("rev-parse", f"{commit}^{{tree}}"),
        ) as new,
        PooledWorkspaces(new, scratch, "sh tools/prepare.sh") as pooled,
    ):
        yield pooled


def set_up(checkout: Path) -> None:
    """What set-up brings: files that git ignores."""
    programs = checkout / "node_modules" / ".bin"
    programs.mkdir(parents=True)
    (programs / "pytest").write_text("#!/bin/sh\nexit 1\n")
    (programs / "pytest").chmod(0o755)
    (programs / "link").symlink_to("pytest")
    (checkout / "node_modules" / "empty").mkdir()
    (checkout / "node_modules" / "package").mkdir()
    (checkout / "node_modules" / "package" / "index").write_text("index\n")
    (checkout / "src" / "cache.log").write_text("cache\n")


def change_tracked(checkout: Path) -> None:
    """What set-up may do besides: changes that git sees."""
    set_up(checkout)
    (checkout / "lock").write_text("set-up\n")
    (checkout / "old").unlink()
    (checkout / "built").mkdir()
    (checkout / "built" / "new").write_text("new\n")


def attempt(
    pool: PooledWorkspaces,
    base: str,
    work: Work = lambda _: None,
    setup: Work = set_up,
    slot: int = 0,
) -> tuple[Path, State]:
    """One attempt on `base`: its checkout, and what it found there."""
    name = Path("attempt")
    space = pool.acquire(base, name, BRANCH, slot)
    if not space.is_ready:
        setup(space.checkout)
        space = capture.record_preparation(space)
    pool.ready(name, space)
    found = state(space)
    work(space.checkout)
    pool.release(name)
    return space.checkout, found


def state(space: Workspace) -> State:
    """Path → mode and content of everything that the agent finds, its `.git` included
    but for the times in its index; and what git says of it.
    """
    found = {}
    for path in space.folder.rglob("*"):
        name = str(path.relative_to(space.folder))
        if name in {"checkout.index", "new.index", "checkout/.git/index"}:
            continue
        status = path.lstat()
        content = ""
        if stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            content = path.read_text(errors="replace")
        found[name] = (oct(status.st_mode), content)
    found["git status"] = ("", git(space.checkout, "status", "--porcelain"))
    return found


def git(checkout: Path, *argv: str) -> str:
    return subprocess.run(
        ["git", *argv], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()


def assert_next_is_as_new(
    pool: PooledWorkspaces, base: str, setup: Work = set_up
) -> Path:
    """The next attempt finds what one of a slot that had none finds; its checkout."""
    _, as_new = attempt(pool, base, setup=setup, slot=1)
    checkout, found = attempt(pool, base, setup=setup)
    assert found == as_new
    return checkout


def keep_time(path: Path, change: Work) -> None:
    """Change a file and give it its times back, as far as a program can."""
    before = path.lstat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)
    assert path.lstat().st_mtime_ns == before.st_mtime_ns


def usual_work(checkout: Path) -> None:
    (checkout / "src" / "a.py").write_text("changed\n")
    (checkout / "src" / "new.py").write_text("new\n")
    (checkout / "old").unlink()
    (checkout / "src" / "__pycache__").mkdir()
    (checkout / "src" / "__pycache__" / "a.log").write_text("ignored\n")
    (checkout / "node_modules" / ".cache").mkdir()
    (checkout / "node_modules" / ".cache" / "x").write_text("ignored\n")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "work")


def change_git(checkout: Path) -> None:
    hook = checkout / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch sprung\n")
    hook.chmod(0o755)
    (checkout / ".git" / "info" / "exclude").write_text("*\n")
    (checkout / ".git" / "info" / "attributes").write_text("* filter=trap\n")
    with (checkout / ".git" / "config").open("a") as config:
        config.write("[core]\n\texcludesFile = ../every\n\tfsmonitor = touch sprung\n")
        config.write('[filter "trap"]\n\tsmudge = touch sprung; cat\n')
    git(checkout, "update-index", "--skip-worktree", "src/a.py")
    (checkout / "src" / "a.py").write_text("hidden\n")


def replace_git(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    (checkout / ".git").write_text("gitdir: /nowhere\n")


def link_git(checkout: Path) -> None:
    (checkout / ".git").rename(checkout.parent / "moved")
    (checkout / ".git").symlink_to(checkout.parent / "moved")


def link_tracked_folder(checkout: Path) -> None:
    (checkout / "src" / "deep").rename(checkout.parent / "elsewhere")
    (checkout / "src" / "deep").symlink_to(checkout.parent / "elsewhere")


def pipes(checkout: Path) -> None:
    os.mkfifo(checkout / "pipe.log")
    os.mkfifo(checkout / "src" / "pipe")
    (checkout / "src" / "a.py").unlink()
    os.mkfifo(checkout / "src" / "a.py")


def swap_kinds(checkout: Path) -> None:
    (checkout / "src" / "a.py").unlink()
    (checkout / "src" / "a.py" / "folder").mkdir(parents=True)
    shutil.rmtree(checkout / "src" / "deep")
    (checkout / "src" / "deep").write_text("a file\n")


def restrict(checkout: Path) -> None:
    (checkout / "src" / "a.py").chmod(0o600)
    (checkout / "src" / "deep").chmod(0o500)
    (checkout / "made").mkdir()
    (checkout / "made" / "x.log").write_text("x")
    (checkout / "made").chmod(0)


def hide_change_in_same_size(checkout: Path) -> None:
    keep_time(checkout / "src" / "a.py", lambda path: path.write_text("SRC/A.PY\n"))


def leave_beside(checkout: Path) -> None:
    (checkout.parent / "home").mkdir()
    (checkout.parent / "home" / ".profile").write_text("export PATH=/evil\n")
    (checkout.parent / "prompt").write_text("x")


def test_a_checkout_is_reset_for_the_next_attempt(
    pool: PooledWorkspaces, project: Project
) -> None:
    base = project.git("rev-parse", "HEAD")
    first, as_new = attempt(pool, base)
    for work in (
        *(usual_work, change_git, replace_git, link_git, link_tracked_folder, pipes),
        *(swap_kinds, restrict, hide_change_in_same_size, leave_beside, usual_work),
    ):
        attempt(pool, base, work)
        checkout, found = attempt(pool, base)
        assert (checkout, found) == (first, as_new), work


def always_green(path: Path) -> None:
    path.write_text("#!/bin/sh\nexit 0\n")


def replace_program(checkout: Path) -> None:
    program = checkout / "node_modules" / ".bin" / "pytest"
    before = program.stat()
    other = program.with_name("other")
    shutil.copy2(program, other)
    always_green(other)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(program)
    assert program.stat().st_mtime_ns == before.st_mtime_ns


def link_brought_folder(checkout: Path) -> None:
    folder = checkout / "node_modules" / "package"
    folder.rename(checkout.parent / "elsewhere")
    folder.symlink_to(checkout.parent / "elsewhere")


def copy_brought_folder(checkout: Path) -> None:
    folder = checkout / "node_modules" / "package"
    folder.rename(checkout.parent / "elsewhere")
    shutil.copytree(checkout.parent / "elsewhere", folder)


def link_top(checkout: Path) -> None:
    checkout.rename(checkout.parent / "elsewhere")
    checkout.symlink_to(checkout.parent / "elsewhere")


def link_workspace(checkout: Path) -> None:
    folder = checkout.parent
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))


def overwrite_program(checkout: Path) -> None:
    keep_time(checkout / "node_modules" / ".bin" / "pytest", always_green)


def overwrite_in_same_size(checkout: Path) -> None:
    keep_time(checkout / "src" / "cache.log", lambda path: path.write_text("CACHE\n"))


def test_a_checkout_is_made_anew_if_what_set_up_brought_is_touched(
    pool: PooledWorkspaces, project: Project
) -> None:
    base = project.git("rev-parse", "HEAD")
    _, as_new = attempt(pool, base, slot=1)
    package = Path("node_modules/package")
    for work in (
        *(overwrite_program, overwrite_in_same_size, replace_program),
        lambda top: (top / "node_modules/.bin/pytest").chmod(0o777),
        lambda top: (top / package).chmod(0o777),
        lambda top: (top / package / "index").unlink(),
        lambda top: (top / "node_modules/empty").rmdir(),
        lambda top: shutil.rmtree(top / "node_modules"),
        lambda top: os.link(top / package / "index", top.parent / "linked"),
        lambda top: shutil.rmtree(top / "src"),
        *(link_brought_folder, copy_brought_folder, link_top, link_workspace),
        shutil.rmtree,
    ):
        before, _ = attempt(pool, base, work)
        checkout, found = attempt(pool, base)
        assert checkout != before, work
        assert found == as_new, work


@pytest.mark.parametrize("path", ["README.md", "node_modules/package/index", "planted"])
def test_what_another_agent_wrote_into_an_idle_checkout_is_not_used(
    pool: PooledWorkspaces, project: Project, path: str
) -> None:
    base = project.git("rev-parse", "HEAD")
    first, _ = attempt(pool, base)
    # the agent of another slot, while nobody works in the first checkout
    assert pool._idle[0].cleaned.result() is not None
    pool.acquire(base, Path("B"), BRANCH, 1)
    (first / path).write_text("planted\n")
    assert assert_next_is_as_new(pool, base) != first


def test_what_set_up_changed_that_git_sees_is_there_again(
    pool: PooledWorkspaces, project: Project
) -> None:
    base = project.git("rev-parse", "HEAD")
    first, _ = attempt(pool, base, usual_work_without_old, change_tracked)
    project.write("src/a.py", "moved on\n")
    later = project.commit()
    for _ in range(2):
        assert assert_next_is_as_new(pool, later, change_tracked) == first
    project.write("lock", "moved on\n")
    assert assert_next_is_as_new(pool, project.commit(), change_tracked) != first


def usual_work_without_old(checkout: Path) -> None:
    (checkout / "old").write_text("")  # so that there is one to delete
    usual_work(checkout)
    os.unlink(checkout / "README.md")  # noqa: PTH108


@pytest.mark.parametrize("path", ["lock", "built/new", "old"])
def test_a_checkout_is_made_anew_if_a_change_of_set_up_is_touched(
    pool: PooledWorkspaces, project: Project, path: str
) -> None:
    base = project.git("rev-parse", "HEAD")
    first, _ = attempt(
        pool, base, lambda top: (top / path).write_text("agent\n"), change_tracked
    )
    assert assert_next_is_as_new(pool, base, change_tracked) != first


@pytest.mark.parametrize(
    ("path", "is_reset"),
    [
        ("src/a.py", True),
        ("src/added/c.py", True),
        ("src/deep/package-lock.json", False),  # a package manager reads it
        ("tools/prepare.sh", False),  # set-up names it
        ("src/.gitignore", False),
        ("node_modules/package/index", False),  # set-up brought it
        ("node_modules/empty/x", False),
        ("node_modules/package/index/x", False),
    ],
)
def test_the_next_base_decides_whether_a_checkout_can_be_reset(
    pool: PooledWorkspaces, project: Project, path: str, is_reset: bool
) -> None:
    first, _ = attempt(pool, project.git("rev-parse", "HEAD"), usual_work)
    project.write(path, "next base\n")
    project.git("add", "-f", path)
    project.git("commit", "-qm", "next base")
    space = pool.acquire(project.git("rev-parse", "HEAD"), Path("A"), BRANCH, 0)
    assert (space.checkout == first) == is_reset == space.is_ready
    assert (space.checkout / path).read_text() == "next base\n"


def test_folders_that_the_next_base_lacks_are_gone(
    pool: PooledWorkspaces, project: Project
) -> None:
    first, _ = attempt(pool, project.git("rev-parse", "HEAD"))
    project.git("rm", "-rq", "src/deep")
    base = project.commit()
    assert assert_next_is_as_new(pool, base) == first
    # of src, only what set-up brought would be left
    project.git("rm", "-rq", "src")
    space = pool.acquire(project.commit(), Path("A"), BRANCH, 0)
    assert not (space.checkout / "src").exists()


def test_each_slot_has_its_own_checkout_and_at_most_one(
    pool: PooledWorkspaces, project: Project, tmp_path: Path
) -> None:
    base = project.git("rev-parse", "HEAD")
    spaces: list[Workspace] = []
    for name, slot in (("A", 0), ("B", 0), ("C", 1)):
        space = pool.acquire(base, Path(name), BRANCH, slot)
        pool.ready(Path(name), space)
        spaces.append(space)
    assert len({space.folder for space in spaces}) == 3
    for name in "ABC":
        pool.release(Path(name))
    again = pool.acquire(base, Path("D"), BRANCH, 1)
    assert again.folder == spaces[2].folder
    assert pool.acquire(base, Path("E"), BRANCH, 0).folder == spaces[0].folder
    assert not pool.acquire(base, Path("F"), BRANCH, 0).is_ready


def test_a_checkout_whose_set_up_failed_is_not_kept(
    pool: PooledWorkspaces, project: Project
) -> None:
    base = project.git("rev-parse", "HEAD")
    failed = pool.acquire(base, Path("A"), BRANCH, 0)
    pool.release(Path("A"))
    assert pool.acquire(base, Path("B"), BRANCH, 0).folder != failed.folder


@pytest.fixture
def makes_spares(monkeypatch: pytest.MonkeyPatch) -> None:
    """To every pool each checkout is large."""
    monkeypatch.setattr(workspace_pool, "_MIN_CHECKOUT_TIME", -1.0)
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", 0)


@pytest.mark.usefixtures("makes_spares")
def test_what_the_next_attempts_lack_is_made_ahead(
    pool: PooledWorkspaces, project: Project
) -> None:
    base = project.git("rev-parse", "HEAD")
    for name, slot in (("A", 0), ("B", 1)):
        pool.ready(Path(name), pool.acquire(base, Path(name), BRANCH, slot))
    pool.release(Path("B"))
    # the idle one, that in which an attempt works, and another
    pool.prewarm(3, base, 3)
    pool._new._begin(int).result()
    [spare] = pool._new._spares
    inode = spare.checkout.stat().st_ino
    space = pool.acquire(base, Path("C"), BRANCH, 2)
    assert space.checkout.stat().st_ino == inode
    assert not space.is_ready


def set_up_in_slots(pool: PooledWorkspaces, base: str, names: str) -> list[Path]:
    """A checkout for each name, in the slots from 0 on; where they are."""
    folders = []
    for slot, name in enumerate(names):
        space = pool.acquire(base, Path(name), BRANCH, slot)
        folders.append(space.folder)
        pool.ready(Path(name), space)
    return folders


@pytest.mark.parametrize("slow", [False, True])
def test_checkouts_that_nobody_will_use_are_removed_before_the_end_if_set_up_is_fast(
    pool: PooledWorkspaces,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    slow: bool,
) -> None:
    monkeypatch.setattr(preparation, "SLOW_SETUP", 0.0 if slow else 3600.0)
    base = project.git("rev-parse", "HEAD")
    folders = set_up_in_slots(pool, base, "ABC")
    for name in "ABC":
        pool.release(Path(name))
    wait(idle.cleaned for idle in pool._idle.values())
    pool.prewarm(0, base, 1)
    pool._new._begin(int).result()
    # An attempt takes the first.
    assert [folder.exists() for folder in folders] == [True, slow, slow]
    assert pool.idle_slots == ((0, 1, 2) if slow else (0,))
    assert pool.acquire(base, Path("D"), BRANCH, 0).folder == folders[0]


@pytest.mark.parametrize("slow", [False, True])
def test_what_the_last_attempts_leave_is_removed_while_others_work(
    pool: PooledWorkspaces,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    slow: bool,
) -> None:
    monkeypatch.setattr(preparation, "SLOW_SETUP", 0.0 if slow else 3600.0)
    base = project.git("rev-parse", "HEAD")
    folders = set_up_in_slots(pool, base, "AB")
    pool.prewarm(0, base, 1)
    pool.release(Path("A"))
    pool.release(Path("B"))
    pool._new._begin(int).result()
    assert [folder.exists() for folder in folders] == [True, slow]
    assert pool.idle_slots == ((0, 1) if slow else (0,))


@pytest.mark.usefixtures("makes_spares")
def test_a_checkout_that_is_being_reset_is_counted(
    pool: PooledWorkspaces, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = project.git("rev-parse", "HEAD")
    pool.ready(Path("A"), pool.acquire(base, Path("A"), BRANCH, 0))
    pool.release(Path("A"))
    moved = checkout_reset.moved

    def looked_at(*args: Any, **options: Any) -> ReadyCheckout | None:
        pool.prewarm(1, base, 1)
        return moved(*args, **options)

    monkeypatch.setattr(checkout_reset, "moved", looked_at)
    assert pool.acquire(base, Path("B"), BRANCH, 0).is_ready
    pool._new._begin(int).result()
    assert pool._new._spares == []
