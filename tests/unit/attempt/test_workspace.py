"""What an agent leaves behind is removed, however deep and whatever its rights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from runner.attempt.workspace import remove_folder

# The path is longer than PATH_MAX: only a program that changes its folder gets there.
_GO_DOWN = """
import os
for _ in range(3_000):
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


# Root may remove everything, so this gives up the capabilities for it (prctl(2),
# PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH) before fanin's code runs.
_REMOVE_WITHOUT_RIGHTS = """
import ctypes, os, sys
if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):
        if libc.prctl(24, capability, 0, 0, 0):
            sys.exit(os.strerror(ctypes.get_errno()))
code = '''
import pathlib, sys
from runner.attempt.workspace import remove_folder
remove_folder(pathlib.Path(sys.argv[1]))
'''
os.execv(sys.executable, [sys.executable, "-c", code, sys.argv[1]])
"""


def test_a_folder_that_may_not_be_written_is_removed(tmp_path: Path) -> None:
    inner = tmp_path / "checkout" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(0o500)
    inner.parent.chmod(0o000)
    argv = [sys.executable, "-c", _REMOVE_WITHOUT_RIGHTS, str(tmp_path / "checkout")]
    subprocess.run(argv, check=True)
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
