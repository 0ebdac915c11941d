"""Checkouts that are ready to work in: how long one takes that gets 50,000 ignored files,
beside `cp -a --reflink=auto` of these files.
"""

from __future__ import annotations

import os
import random
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.harness import (
    FILES,
    Effort,
    Report,
    Samples,
    Table,
    Target,
    disk,
    expect,
    folder,
    interleaved,
    run,
    seconds_of,
)
from runner.attempt import included_files
from runner.attempt.included_files import Included
from runner.attempt.workspace_pool import WorkspacePool
from runner.repo.repository import Repository

BOUND = 1.2
MODULES = "node_modules"
_FILES_A_FOLDER = 20
_PART = 100  # folders of files in one folder
_LINK_EVERY = 50  # folders

COPY = "cp -a --reflink=auto"
FRESH = "fresh checkout with them"
PLAIN = "fresh checkout without them"


class _Contest:
    """The repository with its ignored files, and copies of them."""

    def __init__(self, work: Path, files: int) -> None:
        self.root, self._work = work / "repository", work
        self._numbers = count()
        self.root.mkdir()
        _commit_files(self.root)
        self.size = _make_modules(self.root / MODULES, files)
        self.repo = Repository(self.root, os.environ)
        self.head = self.repo.commit("HEAD") or ""
        self.wanted = _states(self.root / MODULES)

    def copy(self) -> float:
        # No copy is deleted before the end: some file systems make new files slowly for
        # minutes after many were deleted.
        target = self._work / f"copy-{next(self._numbers)}"
        argv = ["cp", "-a", "--reflink=auto", str(self.root / MODULES), str(target)]
        seconds = seconds_of(partial(run, argv, self._work))
        expect(_states(target), self.wanted, COPY)
        return seconds

    def fresh(self, *patterns: str) -> float:
        scratch = self._work / f"scratch-{next(self._numbers)}"
        scratch.mkdir()
        place = scratch / "space"
        got: list[Included] = []
        origin = self.repo.origin
        with WorkspacePool(origin, scratch, self.repo.tree) as workspaces:

            def make() -> None:
                space = workspaces.acquire(self.head, place, "fanin/task-000")
                got.append(included_files.include(space.checkout, patterns, origin))

            seconds = seconds_of(make)
        found = _states(place / "checkout" / MODULES)
        expect(found, self.wanted if patterns else {}, FRESH)
        expect(len(got[0].files), len(found), "files that are recorded")
        return seconds


def measure(effort: Effort) -> Report:
    files = 400 if effort.smoke else 50_000
    with folder(effort, "ready-checkouts") as work:
        contest = _Contest(work, files)
        samples = interleaved(
            {
                COPY: contest.copy,
                FRESH: partial(contest.fresh, MODULES),
                PLAIN: contest.fresh,
            },
            effort.repeats,
        )
        return _report(samples, files, contest.size, disk(work))


def _report(samples: Samples, files: int, size: int, where: str) -> Report:
    rows = []
    for name in (COPY, FRESH, PLAIN):
        ratio = samples.ratio(name, COPY)
        rows.append([name, f"{samples.median(name):.3f}", f"{ratio:.2f}"])
    title = f"{files:,} ignored files, {size / 2**20:,.0f} MiB"
    target = Target(
        f"fresh checkout with {files:,} ignored files ÷ `{COPY}` of them",
        samples.ratio(FRESH, COPY),
        BOUND,
    )
    note = (
        f"The checkout has {FILES} tracked files, and git is asked for what is ignored. "
        "Every path, size and time of the copies is compared; none is deleted before "
        f"the end. This part ran on {where}."
    )
    return Report(
        "Ready checkouts",
        tables=[Table(title, ["case", "seconds", "÷ cp"], rows)],
        targets=[target],
        notes=[note],
    )


def _commit_files(root: Path) -> None:
    for number in range(FILES):
        (root / f"{number}.txt").write_text(f"{number}\n")
    (root / ".gitignore").write_text(f"{MODULES}/\n")
    run(["git", "init", "-q"], root)
    run(["git", "add", "-A"], root)
    author = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    run(["git", *author, "commit", "-qm", "files"], root)


def _make_modules(modules: Path, files: int) -> int:
    """Make so many files and a few links; the size of all together in bytes."""
    chooser = random.Random(1)
    size = 0
    for number in range(files // _FILES_A_FOLDER):
        place = modules / f"part{number // _PART}" / f"module{number}"
        place.mkdir(parents=True)
        for name in range(_FILES_A_FOLDER):
            length = chooser.randrange(200, 8_000)
            (place / f"file{name}.js").write_bytes(chooser.randbytes(length))
            size += length
        if number % _LINK_EVERY == 0:
            (place / "link").symlink_to("file0.js")
    return size


def _states(top: Path) -> dict[str, tuple[int, int]]:
    """Path → (size, time in ns) of every file."""
    states = {}
    for parent, _, names in os.walk(top):
        for name in names:
            status = os.lstat(f"{parent}/{name}")
            path = os.path.relpath(f"{parent}/{name}", top)
            states[path] = (status.st_size, status.st_mtime_ns)
    return states
