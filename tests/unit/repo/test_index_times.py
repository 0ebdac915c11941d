"""What an index has of its files is what git has found there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.repo import index_times
from runner.repo.command import Git, isolated_git

_SECOND = 10**9  # nanoseconds
_PATHS = ("b", "a/x", "a/name of some length", "ä/é", "n" * 200)


@pytest.fixture(params=["sha1", "sha256"])
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def git(tmp_path: Path, algorithm: str) -> Git:
    git = isolated_git(tmp_path)
    git.run(["init", "-q", f"--object-format={algorithm}"])
    for path in _PATHS:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
        os.utime(tmp_path / path, ns=(7, 5 * _SECOND + 1))
    (tmp_path / "link").symlink_to("b")
    git.run(["add", "-A"])
    return git


def index_of(git: Git) -> bytes:
    return (git.cwd / ".git/index").read_bytes()


def test_an_entry_has_what_git_has_found_of_its_file(git: Git, algorithm: str) -> None:
    files = index_times.read_files(index_of(git), algorithm, 0)
    assert files is not None
    assert files.paths == files.recent.keys() == {*_PATHS, "link"}
    others = [*files.recent.values()][1:] + [*files.recent.values()][:1]
    for (path, entry), other in zip(files.recent.items(), others, strict=True):
        found = (git.cwd / path).lstat()
        assert index_times.is_of(entry, found)
        assert not index_times.is_of(other, found)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.chmod(0o600),
        lambda file: os.utime(file, ns=(7, 5 * _SECOND + 2)),
        lambda file: file.with_name("linked").hardlink_to(file),
    ],
)
def test_a_file_that_was_changed_is_not_that_of_its_entry(
    git: Git, algorithm: str, change: Callable[[Path], object]
) -> None:
    files = index_times.read_files(index_of(git), algorithm, 0)
    assert files is not None
    time.sleep(0.02)  # longer than a tick of the kernel's clock
    change(git.cwd / "b")
    assert not index_times.is_of(files.recent["b"], (git.cwd / "b").lstat())
    assert index_times.is_of(files.recent["a/x"], (git.cwd / "a/x").lstat())


def test_only_files_that_changed_in_that_second_or_later_are_recent(
    git: Git, algorithm: str
) -> None:
    newest = max((git.cwd / path).lstat().st_ctime_ns for path in (*_PATHS, "link"))
    second = newest // _SECOND
    files = index_times.read_files(index_of(git), algorithm, second)
    assert files is not None
    assert files.recent
    files = index_times.read_files(index_of(git), algorithm, second + 1)
    assert files is not None
    assert files.recent == {}
    assert files.paths == {*_PATHS, "link"}


@pytest.mark.parametrize(
    "argv",
    [
        ["update-index", "--assume-unchanged", "b"],
        ["update-index", "--skip-worktree", "b"],
        ["update-index", "--index-version", "4"],
        ["update-index", "--split-index"],
    ],
)
def test_an_index_that_says_less_of_its_files_is_left_to_git(
    git: Git, algorithm: str, argv: list[str]
) -> None:
    git.run(argv)
    assert index_times.read_files(index_of(git), algorithm, 0) is None


def test_what_is_no_whole_index_is_left_to_git(git: Git, algorithm: str) -> None:
    index = index_of(git)
    for length in (0, 20, 100, len(index) // 2):
        assert index_times.read_files(index[:length], algorithm, 0) is None
