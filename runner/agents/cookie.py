"""Finds processes by a cookie in their environment, as Jenkins' ProcessTreeKiller does.

What an agent has started may have left its process group, and fanin may have been killed
before it could end it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

COOKIE = "FANIN_COOKIE"
# How often processes are searched for, and the seconds in between: exec takes less.
_MAX_SEARCHES, _SEARCH_PAUSE = 10, 0.01
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD of the kernel's sched.h


def new_cookie() -> str:
    """A cookie that nobody can know before."""
    return token_hex(16)


def kill_by_cookie(cookie: str) -> None:
    """Kill every process that has the cookie in its environment (Linux only).

    Does nothing for a text that is not a complete cookie. A crash may leave an empty
    file in which the cookie should be, and every agent's cookie begins with that.
    """
    if not re.fullmatch(r"[0-9a-f]{32}", cookie):
        return
    needle = f"{COOKIE}={cookie}".encode()
    if not Path("/proc").is_dir():
        return
    # One that is killed may have started another meanwhile. One in the middle of exec
    # has no environment for a moment, as those that have none at all.
    for _ in range(_MAX_SEARCHES):
        found = _search(needle)
        for pid in found.with_cookie:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not found.with_cookie and not found.without_environment:
            return
        time.sleep(_SEARCH_PAUSE)


class _Found(NamedTuple):
    with_cookie: list[int]
    without_environment: list[int]


def _search(needle: bytes) -> _Found:
    """The processes whose environment has the text, and those of this user that have
    none.
    """
    found = _Found([], [])
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    for pid in pids:
        # The process may have ended meanwhile, or belong to another user.
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes()
            if needle in variables:
                found.with_cookie.append(pid)
            elif not variables and _may_be_starting(pid):
                found.without_environment.append(pid)
    return found


def _may_be_starting(pid: int) -> bool:
    """Whether a process without an environment is none of the kernel's, no zombie, and
    this user's. OSError if it has ended.
    """
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    state, flags = fields[0], int(fields[6])
    is_program = not flags & _KERNEL_THREAD and state not in {b"Z", b"X"}
    return is_program and Path(f"/proc/{pid}").stat().st_uid == os.geteuid()
