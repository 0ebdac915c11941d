"""What an agent leaves behind is removed, however deep and whatever its rights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from runner.core.folders import remove_folder
from runner.local.journal import Journal
from tests.support.without_rights import without_rights

# The path is longer than PATH_MAX: only a program that changes its folder gets there.
_GO_DOWN = """
import os
for _ in range(1_100):
    os.mkdir("folder")
    os.chdir("folder")
open("file", "w").close()
"""


def test_a_folder_that_no_path_reaches_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    subprocess.run([sys.executable, "-c", _GO_DOWN], cwd=folder, check=True)
    remove_folder(folder)
    assert not folder.exists()


_REMOVE = """
import pathlib, sys
from runner.core.folders import remove_folder
from runner.local.journal import Journal
remove_folder(pathlib.Path(sys.argv[1]))
"""


def test_a_folder_that_may_not_be_written_is_removed(tmp_path: Path) -> None:
    inner = tmp_path / "checkout" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(0o500)
    inner.parent.chmod(0o000)
    argv = [sys.executable, "-c", _REMOVE, str(tmp_path / "checkout")]
    subprocess.run(without_rights(argv), check=True)
    assert not (tmp_path / "checkout").exists()


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    subprocess.run([sys.executable, "-c", _GO_DOWN], cwd=folder, check=True)
    remove_folder(folder)
    assert not folder.exists()
    assert (outside / "file").exists()


def test_a_link_in_the_folders_place_is_removed_and_not_followed(
    tmp_path: Path,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    link = tmp_path / "checkout"
    link.symlink_to(outside)
    remove_folder(link)
    assert not link.is_symlink()
    assert (outside / "file").exists()


def test_a_killed_runs_folder_that_no_path_reaches_is_swept(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    folder = journal.folder / "quarantine-1"
    folder.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", _GO_DOWN], cwd=folder, check=True)
    journal.sweep()
    assert not folder.exists()
