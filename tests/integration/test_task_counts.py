"""What a task costs does not grow: processes, files, folders and fsyncs, by strace.

docs/performance.md has all cases and the targets, which `python -m benchmarks
task_counts` writes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import task_counts
from benchmarks.task_counts import Case
from tests.support.sync_trace import Call

# Processes and fsyncs are the same in each run. Files and folders differ by a few: the
# folders of objects that are there already, for example.
MOST = {
    "batch": {"processes": 7, "files": 40, "folders": 33, "fsyncs": 26},
    "rolling": {"processes": 7, "files": 40, "folders": 33, "fsyncs": 32},
}


@pytest.mark.parametrize("schedule", MOST)
def test_a_task_more_in_a_chain_costs_no_more_than_it_did(
    schedule: str, tmp_path: Path
) -> None:
    case = Case(schedule, is_chain=True, slots=1)
    counts = task_counts.per_task(tmp_path, case, few=2, many=4)
    assert {
        name: counts[name] for name in counts if counts[name] > MOST[schedule][name]
    } == {}


def test_what_counts() -> None:
    checkout = "/tmp/space/checkout"
    calls = [
        Call("execve", ("/usr/bin/git",), ""),
        Call("openat", ("/old",), "O_CREAT", made=True),
        Call("openat", ("/new",), "O_CREAT", made=True),
        Call("openat", ("/new",), "O_CREAT", made=True),
        Call("openat", ("/dev/null",), "O_CREAT", made=True),
        Call("openat", (f"{checkout}/file",), "O_CREAT", made=True),
        Call("openat", (f"{checkout}/.git/HEAD",), "O_CREAT", made=True),
        Call("openat", ("/tmp",), "O_TMPFILE"),
        Call("unlink", ("/new",), ""),
        Call("openat", ("/new",), "O_CREAT", made=True),
        Call("mkdir", ("/folder",), ""),
        Call("fsync", ("/new",), ""),
        Call("fdatasync", ("/new",), ""),
    ]
    assert task_counts.count(calls, {"/old"}) == {
        "processes": 1,
        "files": 4,
        "folders": 1,
        "fsyncs": 2,
    }
