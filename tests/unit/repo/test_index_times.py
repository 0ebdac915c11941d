"""What an index has of its files is what git has found there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.repo import index_times
from runner.repo.command import Git, isolated_git
from runner.repo.index_times import FileStatus

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
    for path, entry in files.recent.items():
        found = (git.cwd / path).lstat()
        assert index_times.status_in(entry) == FileStatus.of(found)
        assert FileStatus.of(found).changed == found.st_ctime_ns


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


def test_another_repository_has_no_status(git: Git, algorithm: str) -> None:
    commit = "1" * len(git.text(["hash-object", "--stdin"], stdin=b"").strip())
    line = f"160000 {commit}\tsub\0".encode()
    git.run(["update-index", "-z", "--index-info"], stdin=line)
    files = index_times.read_files(index_of(git), algorithm, 0)
    assert files is not None
    assert index_times.status_in(files.recent["sub"]) is None


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
