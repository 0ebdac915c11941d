"""Pooled checkouts: how long the second and every later task of a slot waits for its
checkout where set-up has brought 50,000 ignored files, beside a new checkout that has
none of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter

from benchmarks.harness import (
    Effort,
    Report,
    Samples,
    Table,
    Target,
    expect,
    folder,
    interleaved,
    run,
)
from runner.attempt.pooled_workspaces import PooledWorkspaces
from runner.attempt.workspace import Workspace
from runner.attempt.workspace_pool import WorkspacePool
from runner.repo.origin import origin_of

IGNORED = 50_000
FILES_IN_FOLDER = 10
# The target is for a repository of this size; the others show how it grows.
TRACKED = 5_000
SIZES = (1_000, TRACKED, 20_000)
BOUND = 1.2
BRANCH = "fanin/task-000"
# What an agent does between two resets, and another task's work in the next base.
CHANGED = 10
SLOT = 0
NEW, RESET = "a new checkout without ignored files", "a reset checkout with them"
CLEANING = "cleaning one"


def measure(effort: Effort) -> Report:
    report = Report("Pooled checkouts")
    ignored = 100 if effort.smoke else IGNORED
    rows = []
    for tracked in (50,) if effort.smoke else SIZES:
        with folder(effort, "pooled") as where:
            samples = _samples(where, tracked, ignored, effort.repeats)
        ratio, cleaning = samples.ratio(RESET, NEW), samples.ratio(CLEANING, NEW)
        rows.append([f"{tracked:,}", f"{ratio:.2f}", f"{cleaning:.2f}"])
        if tracked == TRACKED or effort.smoke:
            what = f"{RESET}, of {NEW}, at {tracked:,} tracked files"
            # On tiny sizes the ratio says nothing.
            bound = float("inf") if effort.smoke else BOUND
            report.targets.append(Target(what, ratio, bound))
    title = f"{RESET.capitalize()} ({ignored:,}), as a multiple of {NEW}"
    report.tables.append(
        Table(title, ["tracked files", "acquired", "cleaned before"], rows)
    )
    report.notes.append(
        f"The agent before has changed {CHANGED} tracked files and left {CHANGED} new and "
        f"{CHANGED} ignored ones, and the next base differs in {CHANGED} files. Comparing "
        "the ignored files is a part of cleaning, which begins when the attempt has ended and "
        "goes on in the background while its work is merged; a task that starts at once "
        "waits for it."
    )
    return report


def _samples(where: Path, tracked: int, ignored: int, repeats: int) -> Samples:
    bases = _repository(where / "repository", tracked)
    origin = origin_of(where / "repository")
    scratch = where / "scratch"
    scratch.mkdir()
    with (
        WorkspacePool(origin, scratch, partial(_tree, where / "repository")) as new,
        PooledWorkspaces(new, scratch, "sh install.sh") as pooled,
    ):
        first = pooled.acquire(bases[0], Path("first"), BRANCH, SLOT)
        _set_up(first.checkout, ignored)
        pooled.ready(Path("first"), first)
        _work(first.checkout)
        pooled.release(Path("first"))
        turns = itertools.count(1)
        competitors: dict[str, Callable[[], float]] = {
            NEW: lambda: _new(new, bases, scratch, next(turns)),
            RESET: lambda: _reset(pooled, bases, first, next(turns), ignored, []),
        }
        _seconds_to_clean(pooled)
        interleaved(competitors, 1)  # the first time reads from the disk
        cleaning = list[float]()
        competitors[RESET] = lambda: _reset(
            pooled, bases, first, next(turns), ignored, cleaning
        )
        samples = interleaved(competitors, repeats)
    samples.seconds[CLEANING] = cleaning
    return samples


def _seconds_to_clean(pooled: PooledWorkspaces) -> float:
    """Wait until the checkout that was released is clean, so that nothing else runs
    while the next one is timed.
    """
    began = perf_counter()
    pooled._idle[SLOT].cleaned.result()
    return perf_counter() - began


def _new(new: WorkspacePool, bases: list[str], scratch: Path, turn: int) -> float:
    place = scratch / f"new-{turn}"
    began = perf_counter()
    space = new.acquire(bases[turn % 2], place, BRANCH)
    seconds = perf_counter() - began
    _check(space, bases[turn % 2])
    space.remove()
    return seconds


def _reset(
    pooled: PooledWorkspaces,
    bases: list[str],
    first: Workspace,
    turn: int,
    ignored: int,
    cleaning: list[float],
) -> float:
    name, base = Path(f"reset-{turn}"), bases[turn // 2 % 2]
    began = perf_counter()
    space = pooled.acquire(base, name, BRANCH, SLOT)
    seconds = perf_counter() - began
    expect(space.folder, first.folder, "the checkout that was kept")
    _check(space, base)
    kept = sum(1 for path in (space.checkout / "deps").rglob("*") if path.is_file())
    expect(kept, ignored, "the number of ignored files")
    _work(space.checkout)
    pooled.release(name)
    cleaning.append(_seconds_to_clean(pooled))
    return seconds


def _check(space: Workspace, base: str) -> None:
    git = ["git", "-c", "core.fsmonitor=false"]
    expect(
        run([*git, "status", "--porcelain"], space.checkout),
        b"",
        "what git status says",
    )
    head = run([*git, "rev-parse", "HEAD"], space.checkout).decode().strip()
    expect(head, base, "the commit that is checked out")


def _repository(root: Path, tracked: int) -> list[str]:
    """A repository with so many files; two commits that differ in a few of them."""
    root.mkdir()
    run(["git", "init", "-q"], root)
    (root / ".gitignore").write_text("/deps/\n*.cache\n")
    for number, path in enumerate(_paths(root / "src", tracked)):
        path.write_text(f"file {number}\n" * 40)
    commits = [_commit(root)]
    for path in _some_tracked(root):
        path.write_text("changed by another task\n")
    return [*commits, _commit(root)]


def _commit(root: Path) -> str:
    run(["git", "add", "-A"], root)
    who = ["-c", "user.name=b", "-c", "user.email=b@b"]
    run(["git", *who, "commit", "-qm", "files"], root)
    return run(["git", "rev-parse", "HEAD"], root).decode().strip()


def _tree(root: Path, commit: str) -> str:
    return run(["git", "rev-parse", f"{commit}^{{tree}}"], root).decode().strip()


def _paths(top: Path, count: int) -> Iterator[Path]:
    """So many paths in folders that are made, a few in each."""
    for number in range(count):
        inside = top / f"part{number // 500}" / f"folder{number // FILES_IN_FOLDER}"
        if number % FILES_IN_FOLDER == 0:
            inside.mkdir(parents=True)
        yield inside / f"file{number}"


def _some_tracked(root: Path) -> list[Path]:
    return [root / f"src/part0/folder0/file{number}" for number in range(CHANGED)]


def _set_up(checkout: Path, ignored: int) -> None:
    for number, path in enumerate(_paths(checkout / "deps", ignored)):
        path.write_text(f"dependency {number}\n" * 20)


def _work(checkout: Path) -> None:
    """What an agent leaves."""
    for number, path in enumerate(_some_tracked(checkout)):
        path.write_text("changed by the agent\n")
        (checkout / f"new{number}").write_text("new\n")
        (path.parent / f"{number}.cache").write_text("ignored\n")
