"""Files that survive a crash: whole or not at all, and on the disk before anyone is
told.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from runner.core import durable


def test_a_file_is_made_with_its_folders_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    durable.write(path, b"one, and longer")
    durable.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_the_data_is_on_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds: list[str] = []
    sync, replace = os.fsync, Path.replace

    def fsync(fd: int) -> None:
        deeds.append(
            "sync folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "sync file"
        )
        sync(fd)

    def rename(self: Path, target: Path) -> Path:
        deeds.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    durable.write(tmp_path / "file", b"x")
    assert deeds == ["sync file", "rename", "sync folder"]
    deeds.clear()
    durable.append_lines(tmp_path / "lines", ["x"])
    assert deeds[0] == "sync file"


def test_a_write_that_fails_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    path = tmp_path / "file"
    durable.write(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        durable.write(path, b"new")
    assert path.read_bytes() == b"old"


def test_lines_are_added_in_order(tmp_path: Path) -> None:
    for line in ("one", "zwö", ""):
        durable.append_lines(tmp_path / "lines", [line])
    assert [
        line
        for line in (tmp_path / "lines").read_text(encoding="utf-8").splitlines()
        if line
    ] == ["one", "zwö"]


def test_a_line_that_a_crash_tore_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("torn in the mid")
    durable.append_lines(path, ["whole"])
    assert path.read_text().splitlines()[-1] == "whole"


def test_a_line_that_is_not_wholly_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    with pytest.raises(OSError):
        durable.append_lines(tmp_path / "lines", ["longer than three"])


def test_a_file_moves_to_another_file_system_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = tmp_path / "file", tmp_path / "other"
    file.write_text("content\n")
    file.chmod(0o444)
    folder.mkdir()
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if path.parent != target.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    durable.move(file, folder / "file")
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == "content\n"
    assert (folder / "file").stat().st_mode & 0o777 == 0o444
    assert not file.exists()
