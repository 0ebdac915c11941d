"""What a task costs: processes, files, folders and fsyncs, by strace.

docs/performance.md has all cases and the targets, which `python -m benchmarks
task_counts` writes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import task_counts
from benchmarks.task_counts import Case
from tests.support.sync_trace import Call

# The same in each run.
EXACT = {
    "batch": {"processes": 6, "fsyncs": 7},
    "rolling": {"processes": 6, "fsyncs": 7},
}
# These differ by one or two.
MOST = {name: task_counts.BOUNDS[name] for name in ("files", "folders")}


@pytest.mark.parametrize(
    ("schedule", "sandbox"), [("batch", "off"), ("rolling", "off"), ("batch", "auto")]
)
def test_a_task_more_in_a_chain_costs_as_much_as_before(
    schedule: str, sandbox: str, tmp_path: Path
) -> None:
    case = Case(schedule, is_chain=True, slots=1, sandbox=sandbox)
    counts = task_counts.per_task(tmp_path, case, few=2, many=4)
    assert {name: counts[name] for name in EXACT[schedule]} == EXACT[schedule]
    assert {name: counts[name] for name in MOST if counts[name] > MOST[name]} == {}


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
        Call("mkdir", (f"{checkout}/folder",), ""),
        Call("mkdir", (f"{checkout}/.git",), ""),
        Call("mount", ("/root",), '"none", "root", "tmpfs", MS_NODEV', thread="1"),
        Call("mount", ("/root/disk",), '"/a", "root/disk", NULL, MS_BIND', thread="1"),
        Call("mount", ("/root/disk",), '"none", "x", NULL, MS_REMOUNT', thread="1"),
        Call("mkdir", ("/root/folder",), "", thread="1"),
        Call("mkdir", ("/root/disk/folder",), "", thread="1"),
        Call("mkdir", ("/root/folder",), "", thread="2"),
        Call("execve", ("/bin/sh",), "", thread="1"),
        Call("mkdir", ("/root/folder",), "", thread="1"),
        Call("fsync", ("/new",), ""),
        Call("fdatasync", ("/new",), ""),
    ]
    assert task_counts.count(calls, {"/old"}) == {
        "processes": 2,
        "files": 4,
        "folders": 5,
        "fsyncs": 2,
        "folders in memory": 1,
    }
