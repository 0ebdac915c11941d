"""Workspaces made ahead, and capture that trusts the times of files: the same trees as
without either.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.attempt import capture, trusted_times, workspace, workspace_pool
from runner.attempt.workspace import Workspace
from runner.attempt.workspace_pool import WorkspacePool
from runner.repo.origin import origin_of
from tests.support.project import Project

BRANCH = "fanin/task-000"


def pool_of(project: Project, scratch: Path) -> WorkspacePool:
    origin = origin_of(project.root)
    return WorkspacePool(
        origin, scratch, lambda commit: project.git("rev-parse", f"{commit}^{{tree}}")
    )


@pytest.fixture
def pool(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WorkspacePool]:
    """A pool in the folder `scratch` that makes spares however fast a checkout is."""
    monkeypatch.setattr(workspace_pool, "_MIN_CHECKOUT_TIME", -1.0)
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", 0)
    (tmp_path / "scratch").mkdir()
    with pool_of(project, tmp_path / "scratch") as pool:
        yield pool


def prewarm(pool: WorkspacePool, count: int, base: str) -> None:
    """Make spares, and wait for them."""
    pool.prewarm(count, base, count)
    pool._begin(lambda: None).result()


def spares(tmp_path: Path) -> list[Path]:
    """The folders of the spares that `pool` has made."""
    return list((tmp_path / "scratch").glob("spare-*"))


def files(space: Workspace) -> dict[str, str]:
    found = [
        path
        for path in space.checkout.rglob("*")
        if path.is_file() and ".git" not in path.parts
    ]
    return {str(path.relative_to(space.checkout)): path.read_text() for path in found}


def git(space: Workspace, *argv: str, check: bool = True) -> str:
    return subprocess.run(
        ["git", *argv], cwd=space.checkout, capture_output=True, text=True, check=check
    ).stdout.strip()


def test_no_spare_is_made_of_a_small_checkout(
    pool: WorkspacePool,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project.write("file", "text\n")
    base = project.commit()
    space = pool.acquire(base, tmp_path / "first", BRANCH)
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", space.number_of_files + 1)
    prewarm(pool, 1, base)
    assert not pool._spares
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", space.number_of_files)
    prewarm(pool, 1, base)
    assert len(pool._spares) == 1


def test_a_spare_is_moved_to_the_base_of_its_task(
    pool: WorkspacePool, project: Project, tmp_path: Path
) -> None:
    project.write("old", "old\n")
    before = project.commit()
    prewarm(pool, 1, before)
    project.git("rm", "-q", "old")
    project.write("new/file", "new\n")
    after = project.commit()
    space = pool.acquire(after, tmp_path / "scratch" / "T", BRANCH)
    assert spares(tmp_path) == []
    assert files(space) == {
        "README.md": "hello\n",
        ".gitignore": "*.ignored\n",
        "new/file": "new\n",
    }
    assert git(space, "rev-parse", "HEAD") == after
    assert git(space, "branch", "--format=%(refname:short)") == BRANCH
    assert git(space, "status", "--porcelain") == git(space, "remote") == ""
    assert capture.capture(space).tree is None
    (space.checkout / "new" / "file").write_text("changed\n")
    assert capture.capture(space).tree not in {
        None,
        project.git("rev-parse", f"{after}^{{tree}}"),
    }


def test_a_spare_at_the_base_is_preferred_and_no_more_than_requested_are_made(
    pool: WorkspacePool, project: Project, tmp_path: Path
) -> None:
    before = project.git("rev-parse", "HEAD")
    prewarm(pool, 1, before)
    project.write("new", "new\n")
    after = project.commit()
    prewarm(pool, 2, after)
    prewarm(pool, 2, after)
    [older] = [spare.folder for spare in pool._spares if spare.base == before]
    assert len(spares(tmp_path)) == 2
    pool.acquire(after, tmp_path / "scratch" / "T", BRANCH)
    assert spares(tmp_path) == [older]


def test_spares_that_nobody_will_use_are_removed_before_the_end(
    pool: WorkspacePool, project: Project, tmp_path: Path
) -> None:
    base = project.git("rev-parse", "HEAD")
    prewarm(pool, 3, base)
    assert len(spares(tmp_path)) == 3
    prewarm(pool, 1, base)
    [left] = pool._spares
    assert spares(tmp_path) == [left.folder]
    prewarm(pool, 0, base)
    assert pool._expected == 0
    assert spares(tmp_path) == []


def test_a_spare_stays_for_an_attempt_that_has_not_taken_it_yet(
    pool: WorkspacePool, project: Project, tmp_path: Path
) -> None:
    base = project.git("rev-parse", "HEAD")
    prewarm(pool, 2, base)
    # The last task has just started.
    pool.prewarm(0, base, 1)
    [spare] = pool._spares
    inode = spare.checkout.stat().st_ino
    space = pool.acquire(base, tmp_path / "scratch" / "T", BRANCH)
    assert space.checkout.stat().st_ino == inode


def test_a_spare_that_was_to_be_made_is_not_if_nobody_will_use_it(
    pool: WorkspacePool, project: Project, tmp_path: Path
) -> None:
    base = project.git("rev-parse", "HEAD")
    is_free = threading.Event()
    pool._begin(is_free.wait, 60)
    pool.prewarm(2, base, 2)
    pool.prewarm(1, base, 1)
    is_free.set()
    prewarm(pool, 1, base)
    assert len(spares(tmp_path)) == len(pool._spares) == pool._expected == 1


def test_a_used_workspace_becomes_a_spare_instead_of_one_that_was_to_be_made(
    pool: WorkspacePool, project: Project, tmp_path: Path
) -> None:
    base = project.git("rev-parse", "HEAD")
    used = pool.acquire(base, tmp_path / "scratch" / "T", BRANCH)
    inode = used.checkout.stat().st_ino
    is_free = threading.Event()
    pool._begin(is_free.wait, 60)
    pool.prewarm(2, base, 2)
    pool.release(used.folder)
    is_free.set()
    prewarm(pool, 2, base)
    assert len(pool._spares) == pool._expected == 2
    assert inode in {spare.checkout.stat().st_ino for spare in pool._spares}
    assert len(spares(tmp_path)) == 2


def test_pools_with_the_same_scratch_folder_leave_each_other_their_spares(
    pool: WorkspacePool, project: Project, tmp_path: Path
) -> None:
    base = project.git("rev-parse", "HEAD")
    with pool_of(project, tmp_path / "scratch") as other:
        for each in (pool, other):
            space = each.acquire(base, tmp_path / "scratch" / "T", BRANCH)
            space.remove()
            prewarm(each, 1, base)
        for each in (pool, other):
            [spare] = each._spares
            assert files(spare)["README.md"] == "hello\n"


def test_set_up_takes_as_long_as_at_its_fastest(
    pool: WorkspacePool,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = project.git("rev-parse", "HEAD")
    for took in (3.0, 0.5, 9.0):  # the last beside other work
        space = pool.acquire(base, tmp_path / "scratch" / f"{took}", BRANCH)
        pool._since[space.folder] = 0.0
        clock = SimpleNamespace(monotonic=lambda took=took: took)
        with monkeypatch.context() as patched:
            patched.setattr(workspace_pool, "time", clock)
            pool.ready(space.folder, space)
    assert pool.setup_seconds == 0.5


def test_a_spare_that_cannot_be_moved_is_replaced_by_a_new_workspace(
    pool: WorkspacePool,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workspace, "_MAX_INDEX_IN_MEMORY", 0)
    prewarm(pool, 1, project.git("rev-parse", "HEAD"))
    (spares(tmp_path)[0] / "checkout.index").write_bytes(b"damaged")
    project.write("new", "new\n")
    space = pool.acquire(project.commit(), tmp_path / "scratch" / "T", BRANCH)
    assert files(space)["new"] == "new\n"


def test_what_another_attempt_wrote_into_the_git_directory_of_a_spare_is_not_used(
    pool: WorkspacePool, project: Project, tmp_path: Path
) -> None:
    before = project.git("rev-parse", "HEAD")
    prewarm(pool, 1, before)
    git_dir = spares(tmp_path)[0] / "checkout" / ".git"
    with (git_dir / "config").open("a") as config:
        config.write(f'[filter "trap"]\n\tsmudge = touch {tmp_path}/sprung; cat\n')
    (git_dir / "info" / "attributes").write_text("* filter=trap\n")
    project.write("new", "new\n")
    space = pool.acquire(project.commit(), tmp_path / "scratch" / "T", BRANCH)
    assert spares(tmp_path) == []
    assert files(space)["new"] == "new\n"
    assert git(space, "config", "--get", "filter.trap.smudge", check=False) == ""
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "path", ["README.md", "new.txt", "new.ignored", "src/deep/new.txt"]
)
@pytest.mark.parametrize("same_base", [True, False])
def test_a_spare_in_which_another_attempt_wrote_a_file_is_not_used(
    pool: WorkspacePool, project: Project, tmp_path: Path, path: str, same_base: bool
) -> None:
    base = project.git("rev-parse", "HEAD")
    prewarm(pool, 1, base)
    planted = spares(tmp_path)[0] / "checkout" / path
    planted.parent.mkdir(parents=True, exist_ok=True)
    times = planted.stat() if planted.exists() else None
    # of the same size
    planted.write_text("HELLO\n")
    if times is not None:
        os.utime(planted, ns=(times.st_atime_ns, times.st_mtime_ns))
    if not same_base:
        project.write("later", "x\n")
        base = project.commit()
    space = pool.acquire(base, tmp_path / "scratch" / "T", BRANCH)
    assert "HELLO\n" not in files(space).values()
    assert capture.capture(space).tree is None


@pytest.mark.parametrize("path", ["pipe", "src/.gitattributes"])
def test_a_spare_in_which_another_attempt_left_a_pipe_is_not_used(
    pool: WorkspacePool, project: Project, tmp_path: Path, path: str
) -> None:
    project.write("src/a", "a\n")
    prewarm(pool, 1, project.commit())
    os.mkfifo(spares(tmp_path)[0] / "checkout" / path)
    project.write("src/a", "b\n")
    # git would wait at the second one
    space = pool.acquire(project.commit(), tmp_path / "scratch" / "T", BRANCH)
    assert not (space.checkout / path).exists()
    assert files(space)["src/a"] == "b\n"


def test_git_need_not_read_the_files_of_a_spare_when_it_is_used(
    pool: WorkspacePool, project: Project, tmp_path: Path
) -> None:
    project.write("file", "text\n")
    base = project.commit()
    pool.acquire(base, tmp_path / "first", BRANCH)
    prewarm(pool, 1, base)
    # the spare's files are read after it is made
    pool._begin(lambda: None).result()
    [spare] = pool._spares
    moved = pool.acquire(base, tmp_path / "second", BRANCH)
    written = (moved.checkout / "file").stat().st_mtime_ns
    # Git counts in seconds.
    assert moved.index_record.time // 10**9 > written // 10**9
    assert moved.index_record.time == spare.index_record.time


def test_a_spare_that_was_changed_in_the_second_in_which_it_was_made_is_removed(
    pool: WorkspacePool,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project.write("file", "text\n")
    base = project.commit()
    pool.acquire(base, tmp_path / "first", BRANCH)
    may_go_on = threading.Event()

    def wait(spare: Workspace) -> float:
        assert may_go_on.wait(60)
        return seconds_until_trusted(spare)

    seconds_until_trusted = trusted_times.seconds_until_trusted
    monkeypatch.setattr(trusted_times, "seconds_until_trusted", wait)
    prewarm(pool, 1, base)
    [spare] = pool._spares
    file = spare.checkout / "file"
    status = file.stat()
    file.write_text("more\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    may_go_on.set()
    pool._begin(lambda: None).result()
    assert pool._spares == []
    assert pool._expected == 0
    assert not spare.folder.exists()


def test_no_spare_is_made_where_a_checkout_is_fast(
    project: Project, tmp_path: Path
) -> None:
    with pool_of(project, tmp_path) as pool:
        prewarm(pool, 2, project.git("rev-parse", "HEAD"))
    assert list(tmp_path.glob("spare-*")) == []


def test_as_many_checkouts_are_made_at_once_as_there_are_turns(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, counted = workspace.create, threading.Lock()
    at_work, most = 0, 0

    def counting_create(*args: Any) -> Workspace:
        nonlocal at_work, most
        with counted:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.05)
        made = create(*args)
        with counted:
            at_work -= 1
        return made

    monkeypatch.setattr(workspace, "create", counting_create)
    base = project.git("rev-parse", "HEAD")
    turns = threading.Semaphore(2)
    pools = [
        WorkspacePool(origin_of(project.root), tmp_path, lambda _: "", turns=turns)
        for _ in range(2)
    ]
    with ThreadPoolExecutor(6) as threads, pools[0], pools[1]:
        made = [
            threads.submit(pools[n % 2].acquire, base, tmp_path / f"{n}", BRANCH)
            for n in range(6)
        ]
        assert all(each.result().checkout.is_dir() for each in made)
    assert most == 2


def test_a_released_workspace_is_removed_at_the_end(
    pool: WorkspacePool, project: Project, tmp_path: Path
) -> None:
    with pool:
        space = pool.acquire(
            project.git("rev-parse", "HEAD"), tmp_path / "scratch" / "T", BRANCH
        )
        (space.checkout / "locked").mkdir(mode=0o500)
        pool.release(space.folder)
    assert not space.folder.exists()


def test_a_run_with_spares_ends_like_one_without(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_pool, "_MIN_CHECKOUT_TIME", -1.0)
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", 0)
    project.plan(
        [
            {"id": "A", "do": ["write a: a", "sleep 0.2"]},
            {"id": "B", "depends_on": ["A"], "do": ["replace a: a -> b", "write b: b"]},
            {"id": "C", "depends_on": ["B"], "do": ["delete a", "write c: c"]},
            {"id": "D", "do": ["write d: d", "sleep 0.3"]},
        ],
        schedule="rolling",
        max_concurrent=2,
    )
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert [(project.root / name).exists() for name in "abcd"] == [
        False,
        True,
        True,
        True,
    ]


def test_a_change_of_the_same_size_in_the_same_tick_of_the_clock_is_captured(
    project: Project, tmp_path: Path
) -> None:
    """Git tells files that were not touched by their times; a file may change within
    one tick of the clock.
    """
    origin, head = origin_of(project.root), project.git("rev-parse", "HEAD")
    for number in range(30):
        space = workspace.create(origin, head, tmp_path / f"space{number}", BRANCH)
        (space.folder / "prompt").write_text("now")
        space = trusted_times.trust_times(space, space.folder / "prompt")
        (space.checkout / "README.md").write_text("HELLO\n")
        assert capture.capture(space).tree is not None


def test_times_are_trusted_only_once_the_clock_has_moved_on(
    project: Project, tmp_path: Path
) -> None:
    space = workspace.create(
        origin_of(project.root),
        project.git("rev-parse", "HEAD"),
        tmp_path / "space",
        BRANCH,
    )
    written, prompt = space.index_record.time, tmp_path / "prompt"
    prompt.touch()
    os.utime(prompt, ns=(written, written))
    assert trusted_times.trust_times(space, prompt) is space
    os.utime(prompt, ns=(written + 1, written + 1))
    assert trusted_times.trust_times(space, prompt).index_record.time == written + 1


def test_the_folder_of_a_workspace_is_used_again_without_what_was_in_it(
    project: Project, tmp_path: Path
) -> None:
    base = project.git("rev-parse", "HEAD")
    with pool_of(project, tmp_path) as pool:
        first = pool.acquire(base, tmp_path / "1", BRANCH)
        (first.checkout / "new").write_text("of the first\n")
        (first.folder / "beside").write_text("of the first\n")
        assert capture.capture(first).tree is not None
        places = first.folder.stat().st_ino, first.capture.stat().st_ino
        pool.release(tmp_path / "1")
        pool._begin(lambda: None).result()
        second = pool.acquire(base, tmp_path / "2", BRANCH)
        beside = {path.name for path in second.folder.iterdir()}
        assert beside == {"capture", "checkout"}
        assert files(second) == {"README.md": "hello\n", ".gitignore": "*.ignored\n"}
        (second.checkout / "README.md").write_text("of the second\n")
        tree = capture.capture(second).tree
        assert tree is not None
        names = second.git.text(["ls-tree", "--name-only", tree]).split()
        assert names == [".gitignore", "README.md"]
        assert places == (second.folder.stat().st_ino, second.capture.stat().st_ino)
