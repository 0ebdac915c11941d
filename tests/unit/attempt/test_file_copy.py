"""A file system that cannot clone, or cannot copy in the kernel, is asked once."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.attempt.file_copy import FileCopier


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def copy(copier: FileCopier, tmp_path: Path, folder: int, name: str) -> bytes:
    (tmp_path / "source").write_bytes(b"text\n" * 1000)
    with (tmp_path / "source").open("rb", buffering=0) as source:
        copier.copy(source.fileno(), folder, name, os.fstat(source.fileno()))
    return (tmp_path / name).read_bytes()


def test_a_clone_is_not_copied_again(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", lambda file, _, __: os.write(file, b"clone"))
    assert copy(FileCopier(), tmp_path, folder, "copy") == b"clone"


def test_without_clones_and_copies_in_the_kernel_the_bytes_are_written(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def clone(*_: object) -> None:
        asked.append("clone")
        raise OSError(errno.EOPNOTSUPP, "not supported")

    def copy_in_kernel(*_: object) -> int:
        asked.append("copy")
        raise OSError(errno.EXDEV, "other file system")

    monkeypatch.setattr(fcntl, "ioctl", clone)
    monkeypatch.setattr(os, "copy_file_range", copy_in_kernel, raising=False)
    copier = FileCopier()
    for name in ("one", "two"):
        assert copy(copier, tmp_path, folder, name) == b"text\n" * 1000
    assert asked == ["clone", "copy"]


def test_a_full_disk_is_an_error(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clone(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(fcntl, "ioctl", clone)
    with pytest.raises(OSError, match="no space left"):
        copy(FileCopier(), tmp_path, folder, "copy")
    with pytest.raises(FileExistsError):
        copy(FileCopier(), tmp_path, folder, "source")
