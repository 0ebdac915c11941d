from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import filelock
import pytest

from runner.core import file_lock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_a_lock_has_one_holder_at_a_time(path: Path) -> None:
    with (
        file_lock.held(path),
        pytest.raises(file_lock.HeldElsewhere),
        file_lock.held(path, 0),
    ):
        pytest.fail("both hold the lock")
    with file_lock.held(path, 0):
        pass


def test_who_waits_gets_the_lock_when_it_is_released(path: Path) -> None:
    order = []

    def wait() -> None:
        with file_lock.held(path):
            order.append("second")

    second = threading.Thread(target=wait)
    with file_lock.held(path):
        second.start()
        second.join(0.1)
        order.append("first")
    second.join()
    assert order == ["first", "second"]


def test_an_older_fanin_and_this_one_exclude_each_other(path: Path) -> None:
    # Versions before this module used the package filelock.
    older = filelock.FileLock(path)
    with older, pytest.raises(file_lock.HeldElsewhere), file_lock.held(path, 0):
        pytest.fail("both hold the lock")
    with file_lock.held(path), pytest.raises(filelock.Timeout):
        older.acquire(timeout=0)


def test_a_file_that_an_older_fanin_removed_meanwhile_is_no_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    removals = [path]

    def lock_after_removal(descriptor: int, operation: int) -> None:
        for each in removals:
            each.unlink()
        removals.clear()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_after_removal)
    with (
        file_lock.held(path),
        pytest.raises(file_lock.HeldElsewhere),
        file_lock.held(path, 0),
    ):
        pytest.fail("both hold the lock")


def test_the_lock_is_released_although_a_child_has_its_descriptor_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, copies = fcntl.flock, []

    def lock_and_copy(descriptor: int, operation: int) -> None:
        lock(descriptor, operation)
        copies.append(os.dup(descriptor))

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", lock_and_copy)
        with file_lock.held(path):
            pass
    with file_lock.held(path, 0):
        pass
    for copy in copies:
        os.close(copy)


def test_a_link_is_no_lock(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="lock"), file_lock.held(path):
        pytest.fail("holds the lock")
    assert not (tmp_path / "elsewhere").exists()
