"""A lock has one holder, and ends with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.local.file_lock import Locked, file_lock

_HOLD = """
import sys
from pathlib import Path
from runner.local.file_lock import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_until_the_first_has_let_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path), pytest.raises(Locked), file_lock(path, 0):
        pass
    with file_lock(path, 0):
        assert path.exists()


def test_one_waits_until_the_lock_is_free(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", list[str]()

    def wait(seconds: float | None) -> None:
        with file_lock(path, seconds):
            order.append("second")

    for seconds in (None, 60.0):
        order.clear()
        with file_lock(path):
            waiting = threading.Thread(target=wait, args=[seconds])
            waiting.start()
            order.append("first")
        waiting.join()
        assert order == ["first", "second"]


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    argv = [sys.executable, "-c", _HOLD, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked), file_lock(path, 0):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with file_lock(path, 0):
        pass


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), file_lock(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
