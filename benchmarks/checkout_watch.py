"""Checkout watch: how long it takes to see that nobody has changed the repository, before
and after each attempt, beside `git status`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.harness import (
    Effort,
    Report,
    Table,
    Target,
    expect,
    folder,
    interleaved,
    run,
    seconds_of,
)
from runner.repo.checkout_state import CheckoutFiles, Part
from runner.repo.repository import Repository

FILES = 100_000
FILES_IN_FOLDER = 100
BRANCHES = 100
MOST_MILLISECONDS = 5.0
# Of one sample, because one look takes less than a clock's tick may be late.
_LOOKS = 20
LOOK, STATUS = "the comparison", "git status"


def measure(effort: Effort) -> Report:
    files = 200 if effort.smoke else FILES
    with folder(effort, "checkout-watch") as where:
        _repository(where, files)
        watched = CheckoutFiles(Repository(where, os.environ))
        _check(where, watched)
        contest: dict[str, Callable[[], float]] = {
            LOOK: partial(_look, watched),
            STATUS: lambda: seconds_of(lambda: run(["git", "status"], where)),
        }
        interleaved(contest, 1)  # the first time reads from the disk
        samples = interleaved(contest, effort.repeats)
    milliseconds = samples.median(LOOK) * 1e3
    rows = []
    for name in (LOOK, STATUS):
        share = samples.ratio(name, STATUS)
        rows.append([name, f"{samples.median(name) * 1e3:.2f}", f"{share:.4f}"])
    title = f"{files:,} tracked files, {BRANCHES} branches, nothing changed"
    return Report(
        "Checkout watch",
        tables=[Table(title, ["case", "ms", "÷ git status"], rows)],
        targets=[Target("one comparison", milliseconds, MOST_MILLISECONDS, "ms")],
        notes=[
            "Before a time counts, a commit, a branch and an edit of the index are seen."
        ],
    )


def _repository(where: Path, files: int) -> None:
    run(["git", "init", "-q", "-b", "main"], where)
    for name, value in (("user.name", "b"), ("user.email", "b@example.org")):
        run(["git", "config", name, value], where)
    for number in range(files):
        parent = where / f"d{number // FILES_IN_FOLDER}"
        if number % FILES_IN_FOLDER == 0:
            parent.mkdir()
        # One object for all: neither side reads it.
        (parent / f"f{number}").write_text("text\n")
    run(["git", "add", "-A"], where)
    run(["git", "commit", "-qm", "files"], where)
    for number in range(BRANCHES):
        run(["git", "branch", f"b{number}"], where)


def _look(watched: CheckoutFiles) -> float:
    """Seconds of one comparison."""
    before = watched.stamps()

    def look() -> None:
        for _ in range(_LOOKS):
            expect(watched.stamps(), before, "what nobody has changed")

    return seconds_of(look) / _LOOKS


def _check(where: Path, watched: CheckoutFiles) -> None:
    """WrongOutput unless a change is seen."""
    steps = {
        Part.REFS: ["git", "branch", "another"],
        Part.INDEX: ["git", "rm", "-q", "--cached", "d0/f0"],
    }
    for part, argv in steps.items():
        before = watched.stamps()
        run(argv, where)
        changed = {each for each in Part if watched.stamps()[each] != before[each]}
        expect(changed, {part}, f"what {argv} changes")
    run(["git", "reset", "-q"], where)
