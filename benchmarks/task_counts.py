"""What a task costs, counted: processes, files, folders and fsyncs of a run, by strace.

No noise and no file system changes these numbers. Two runs of one case differ only in
how many tasks they have, so that what happens once, at the start or at the end, is in
neither number.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import (
    PYTHON,
    ROOT,
    Effort,
    Report,
    Table,
    Target,
    Unavailable,
    expect,
    folder,
    run,
)
from tests.support import sync_trace
from tests.support.sync_trace import Call

BOUNDS = {"processes": 6, "files": 25, "folders": 10, "fsyncs": 7}
# Folders that bubblewrap makes in memory: no disk has them, and nobody removes them.
IN_MEMORY = "folders in memory"
COUNTED = (*BOUNDS, IN_MEMORY)
_FEW, _MANY = 4, 10
_OPENS = {"open", "openat", "creat"}
_REMOVALS = {"unlink", "unlinkat", "rmdir"}
# In these a program makes nothing that is on a disk.
_NO_DISK = ("/dev/", "/proc/", "/sys/")
# A file of the repository in the checkout of an attempt, and not in its git directory.
_TRACKED = re.compile(r".*/checkout/(?!\.git(?:/|$)).*")


@dataclass(frozen=True)
class Case:
    """A kind of run. In a chain each task depends on the one before."""

    schedule: str
    is_chain: bool
    slots: int
    sandbox: str = "off"

    def __str__(self) -> str:
        shape = "chain" if self.is_chain else "independent"
        return f"{self.schedule}, {shape}, m = {self.slots}, sandbox: {self.sandbox}"


CASES = [
    Case(schedule, is_chain, slots, sandbox)
    for sandbox in ("off", "auto")
    for schedule in ("batch", "rolling")
    for is_chain in (True, False)
    for slots in (1, 3)
]


def measure(effort: Effort) -> Report:
    if shutil.which("strace") is None:
        raise Unavailable("there is no strace")
    cases = CASES[4:5] if effort.smoke else CASES
    few, many = (1, 2) if effort.smoke else (_FEW, _MANY)
    report = Report("What a task costs, counted")
    rows = []
    worst = dict.fromkeys(BOUNDS, 0.0)
    for case in cases:
        with folder(effort, "task-counts") as where:
            counts = per_task(where, case, few, many)
        rows.append([str(case), *(f"{counts[name]:.1f}" for name in COUNTED)])
        for name in BOUNDS:
            worst[name] = max(worst[name], counts[name])
    report.tables.append(Table("Per task", ["case", *COUNTED], rows))
    for name, bound in BOUNDS.items():
        report.targets.append(
            Target(f"{name} a task, in the worst case", worst[name], bound, "")
        )
    report.notes.append(
        f"A run of {many} tasks less one of {few}, for each task more, by strace. Processes are "
        "successful `execve`, the agent's included. The files of the repository in an attempt's "
        "checkout are not counted: they are as many as it has. The person's home has a "
        "`.gitconfig` and no folder: a small one is copied for each attempt within walls."
    )
    return report


def per_task(where: Path, case: Case, few: int, many: int) -> dict[str, float]:
    """How many of each a task more costs in this case."""
    less = _counts(where / "few", case, few, files=many)
    more = _counts(where / "many", case, many, files=many)
    return {name: (more[name] - less[name]) / (many - few) for name in COUNTED}


def _counts(where: Path, case: Case, tasks: int, files: int) -> dict[str, int]:
    home = where / "home"
    home.mkdir(parents=True)
    (home / ".gitconfig").write_text("[user]\n")
    repo = where / "repo"
    _make_repository(repo, case, tasks, files)
    before = {str(path) for path in repo.rglob("*")}
    log = where / "calls"
    said = sync_trace.trace_calls(
        [*sync_trace.CALLS, "execve", "mount"],
        [PYTHON, "-m", "runner", "run", "-q"],
        repo,
        log,
        _environment(home, where),
    )
    progress = json.loads(run(["git", "show", "HEAD:.fanin/progress.json"], repo))
    records = progress["tasks"].values()
    done = sum(record["status"] == "completed" for record in records)
    expect(done, tasks, f"completed tasks: {said}")
    return count(sync_trace.calls(log), before)


def _environment(home: Path, temporary: Path) -> dict[str, str]:
    """The least that a run needs: walls mount folders that other variables name, such as
    those of PATH, and for some of them a folder is made.
    """
    git = shutil.which("git") or "git"
    return {
        "HOME": str(home),
        "LC_ALL": "C",
        "PATH": os.pathsep.join([str(Path(git).parent), os.defpath]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(temporary),
    }


def _make_repository(repo: Path, case: Case, tasks: int, files: int) -> None:
    """Each task changes a file of its own. There are as many as in the longer run, so
    that all checkouts are alike.
    """
    run(["git", "init", "-q", "-b", "main", str(repo)], repo.parent)
    for name, value in (("user.name", "b"), ("user.email", "b@example.org")):
        run(["git", "config", name, value], repo)
    entries = []
    for number in range(tasks):
        needs = [f"T{number - 1}"] if case.is_chain and number else []
        entries.append({"id": f"T{number}", "title": "change", "depends_on": needs})
    for number in range(files):
        (repo / f"T{number}").write_text("before\n")
    settings = {
        "agent": {"command": ["sh", "-c", "echo after $FANIN_TASK > $FANIN_TASK"]},
        "parallel": True,
        "schedule": case.schedule,
        "max_concurrent": case.slots,
        "sandbox": case.sandbox,
        "limits": {"max_rounds": 1000},
    }
    (repo / "tasks.yml").write_text(json.dumps({"version": 1, "tasks": entries}))
    (repo / "fanin.yml").write_text(json.dumps(settings))
    run(["git", "add", "-A"], repo)
    run(["git", "commit", "-qm", "plan"], repo)


@dataclass
class _Mounts:
    """What each thread has mounted before it became another program: thread → mount point →
    whether that is in memory.
    """

    points: dict[str, dict[str, bool]] = field(default_factory=dict)

    def follow(self, call: Call) -> None:
        if call.name == "execve":
            # from here on its paths begin at another root
            self.points.pop(call.thread, None)
        elif call.name == "mount" and "MS_REMOUNT" not in call.text:
            is_in_memory = '"tmpfs", MS_' in call.text
            self.points.setdefault(call.thread, {})[call.paths[0]] = is_in_memory

    def are_in_memory(self, call: Call) -> bool:
        """Whether what the call makes is."""
        points = self.points.get(call.thread, {})
        path = call.paths[0]
        while path not in points and path != "/":
            path = path.rpartition("/")[0] or "/"
        return points.get(path, False)


def count(calls: Iterable[Call], before: set[str]) -> dict[str, int]:
    """What these system calls made; `before` are the files that were there."""
    counts = dict.fromkeys(COUNTED, 0)
    there = set(before)
    mounts = _Mounts()
    for call in calls:
        path = call.paths[-1] if call.paths else ""
        mounts.follow(call)
        if call.name == "execve":
            counts["processes"] += 1
        elif call.name in {"fsync", "fdatasync"}:
            counts["fsyncs"] += 1
        elif call.name in {"mkdir", "mkdirat"}:
            kind = IN_MEMORY if mounts.are_in_memory(call) else "folders"
            counts[kind] += not _TRACKED.fullmatch(path)
        elif call.name in _REMOVALS:
            there.discard(path)
        elif call.name.startswith("rename"):
            there.discard(call.paths[0])
            there.add(path)
        elif call.name.startswith("link"):
            there.add(path)
        elif call.name in _OPENS and _makes_file(call, path, there):
            there.add(path)
            counts["files"] += 1
    return counts


def _makes_file(call: Call, path: str, there: set[str]) -> bool:
    if path.startswith(_NO_DISK) or _TRACKED.fullmatch(path):
        return False
    # A file without a name is one of its own each time.
    return "O_TMPFILE" in call.text or (call.made and path not in there)
