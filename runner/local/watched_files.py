"""Whether what `fanin status` reads may have changed, told by the times of its files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from runner.config.settings import FILE
from runner.core import event_lines
from runner.local.journal import VERDICTS
from runner.repo.repository import Repository

# A file may change twice within the precision of its times.
_PRECISION = 2.0  # seconds
# Where a change is in no file or shows in no time: a limit ends, a clock is set back.
_LONGEST = 60.0  # seconds


class Stamps(NamedTuple):
    """The times, sizes and inodes of files, and when they were looked at.

    `newest` is the latest of the times.
    """

    files: tuple[tuple[str, int, int, int], ...]
    newest: float
    taken: float

    def still_hold(self, later: Stamps) -> bool:
        """Whether what was read after these stamps is the same at `later`."""
        if self.files != later.files or later.taken - self.taken > _LONGEST:
            return False
        return later.taken - self.taken >= 0 and self.taken - self.newest > _PRECISION


def of_branch(repo: Repository) -> Stamps:
    """The stamps of the settings, the refs, and what lasts beyond a run."""
    folder = repo.git_dir / "fanin"
    paths = [
        repo.root / FILE,
        repo.git_dir / "config",
        repo.own_git_dir / "HEAD",
        repo.git_dir / "packed-refs",
        # all there is where refs are stored in tables
        repo.git_dir / "reftable",
        folder / "journal.jsonl",
        folder / "requests",
        folder / VERDICTS,
    ]
    for name in ("refs/heads", "refs/remotes"):
        # git renames a file into place, which changes the folder's time
        paths += (Path(each) for each, _, _ in os.walk(repo.git_dir / name))
    return _stamps(paths)


def of_runs(repo: Repository) -> Stamps:
    """The stamps of the events of all runs."""
    folder = repo.git_dir / "fanin"
    return _stamps([folder / "holder", *folder.glob(f"runs/*/{event_lines.NAME}")])


def _stamps(paths: list[Path]) -> Stamps:
    taken = time.time()
    files = tuple(_stamp_of_each(paths))
    newest = max((each[1] for each in files), default=0)
    return Stamps(files, newest / 1e9, taken)


def _stamp_of_each(paths: list[Path]) -> Iterator[tuple[str, int, int, int]]:
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        yield str(path), status.st_mtime_ns, status.st_size, status.st_ino
