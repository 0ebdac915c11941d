"""Folders are used again only while they are empty and as new ones are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.attempt.emptied_folders import EmptiedFolders, FolderState, move_capture


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _used(folders: EmptiedFolders, folder: Path) -> int:
    """Make the folder of a workspace and leave in it what an attempt does; its inode."""
    folders.make(folder)
    (folder / "checkout/a/b").mkdir(parents=True)
    (folder / "checkout/a/b").chmod(0o500)
    (folder / "capture-1").mkdir()
    (folder / "capture-1/refs").symlink_to(".")
    (folder / "capture-1/index").touch()
    (folder / "stdout").touch()
    return folder.stat().st_ino


def test_a_folder_is_used_again_with_that_of_the_capture(tmp_path: Path) -> None:
    folders = EmptiedFolders(tmp_path)
    first = _used(folders, tmp_path / "1")
    capture = (tmp_path / "1/capture-1").stat().st_ino
    folders.add(tmp_path / "1")
    new = folders.make(tmp_path / "2")
    assert (tmp_path / "2").stat().st_ino == first
    assert _names(tmp_path / "2") == ["capture"]
    move_capture(tmp_path / "2/capture-2", new)
    assert (tmp_path / "2/capture-2").stat().st_ino == capture
    assert _names(tmp_path / "2/capture-2") == []
    assert _names(tmp_path) == ["2"]


def _leave_a_file(folder: Path) -> None:
    (folder / "config").touch()


def _open_it(folder: Path) -> None:
    folder.chmod(0o777)


def _note_it(folder: Path) -> None:
    try:
        os.setxattr(folder, "user.note", b"x")
    except OSError:
        pytest.skip("this file system has no attributes")


def _put_a_link(folder: Path) -> None:
    elsewhere = folder.parents[1] / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)


CHANGES = (_leave_a_file, _open_it, _note_it, _put_a_link)


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_somebody_has_reached_is_not_used_again(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    folders = EmptiedFolders(scratch)
    _used(folders, scratch / "1")
    folders.add(scratch / "1")
    (kept,) = scratch.iterdir()
    change(kept)
    folders.make(scratch / "2")
    assert _names(scratch) == ["2"]
    assert _names(scratch / "2") == []
    assert FolderState.at(scratch / "2") == FolderState.at(scratch)


@pytest.mark.parametrize("change", CHANGES)
def test_a_capture_that_somebody_has_reached_is_not_used_again(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    folders = EmptiedFolders(scratch)
    _used(folders, scratch / "1")
    folders.add(scratch / "1")
    new = folders.make(scratch / "2")
    change(scratch / "2/capture")
    move_capture(scratch / "2/capture-2", new)
    assert not (scratch / "2/capture-2").exists()


def test_what_cannot_be_emptied_is_removed(tmp_path: Path) -> None:
    folders = EmptiedFolders(tmp_path / "scratch")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    folders.make(tmp_path / "scratch/1")
    (tmp_path / "scratch/1/capture-1").symlink_to(outside)
    folders.add(tmp_path / "scratch/1")
    assert _names(tmp_path / "scratch") == []
    assert _names(outside) == ["file"]
