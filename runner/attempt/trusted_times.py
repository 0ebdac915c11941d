"""Which times of a checkout's files git may trust: a file that may have changed after git
looked at it is read again by every git that meets it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from runner.attempt import capture_directory, workspace
from runner.attempt.workspace import Workspace
from runner.repo import index_times

SECOND = 10**9  # nanoseconds
# Seconds. A file system's clock is behind that of the machine by a tick of the kernel's.
_TICK = 0.05


def trust_times(space: Workspace, file: Path) -> Workspace:
    """The workspace whose checkout's times git may trust, if the clock has moved on
    since its files were written.

    To be called before the agent starts, with a file that was written just now. What
    the agent writes cannot have an older time than that, so a file with the time that
    the checkout gave it is the checkout's. Without this, git reads every file again
    that is as old as the index, and these are many in a checkout made within one tick
    of the clock.
    """
    now = file.stat().st_mtime_ns
    if now <= space.index_record.time:
        return space
    return _with_time(space, now)


def seconds_until_trusted(space: Workspace) -> float:
    """Seconds until `trust_files` can do something, by this machine's clock."""
    next_second = space.index_record.time // SECOND + 1
    return max(0.0, next_second + _TICK - time.time())


def trust_files(space: Workspace) -> Workspace:
    """The workspace, of whose files git need not read any again to know that it is as git
    wrote it. Raises GitFailed if one is not.

    Most git programs count times in seconds. They read each file that was written in the
    same second as the index, which can be every file, whenever they look at them. Here
    that is done once, after that second; until then nothing is. Nobody may use the
    workspace meanwhile.
    """
    now = time_in(space.folder)
    if now // SECOND <= space.index_record.time // SECOND:
        return space
    with capture_directory.starting(space) as before_agent:
        workspace.refuse_changed(capture_directory.capture_git(before_agent))
    return _with_time(space, now)


def trust_untouched(space: Workspace) -> Workspace | None:
    """The workspace after set-up, which has touched none of the files that git would read
    again; None if it may have, or if git reads few.

    Of the times in its index git compares the seconds only. The nanoseconds say for all
    files that changed before the index was written whether anything has since.
    """
    if space.is_moved:  # to look at all in its index would take longer
        return None
    now = time_in(space.folder)
    index_time = space.index_record.time
    data = workspace.index_data(space)
    if data is None:
        return None
    second = index_time // SECOND
    files = index_times.read_files(data, space.object_format, second)
    if files is None:
        return None
    if index_times.have_changed_since(files.recent.values(), index_time):
        return None
    checkout = space.checkout
    try:
        for path, entry in files.recent.items():
            if not index_times.is_of(entry, os.lstat(f"{checkout}/{path}")):
                return None
    except OSError:
        return None
    # In the second of the index nobody can tell yet what changes later.
    return _with_time(space, now) if now // SECOND > second else space


@contextmanager
def without_reading(file: Path, time_ns: int) -> Iterator[None]:
    """In the block git reads no file to know whether it is as the index in `file` says,
    because the index seems to be newer than all of them.

    At the end it has the time `time_ns`, in nanoseconds.
    """
    later = (time_ns // SECOND + 2) * SECOND
    os.utime(file, ns=(later, later))
    try:
        yield
    finally:
        os.utime(file, ns=(time_ns, time_ns))


def trust_stamped(space: Workspace, now: int) -> Workspace:
    """The workspace, of whose files git need not read those that are older than the time
    `now`: since then it was found that those with a stamp have not changed
    (`recorded_files`).
    """
    return _with_time(space, now)


def _with_time(space: Workspace, time_ns: int) -> Workspace:
    return space._replace(index_record=space.index_record._replace(time=time_ns))


def time_in(folder: Path) -> int:
    """The time that a file written in the folder gets now, in nanoseconds."""
    file = folder / f"clock-{token_hex(8)}"
    file.touch()
    try:
        return file.stat().st_mtime_ns
    finally:
        file.unlink()
