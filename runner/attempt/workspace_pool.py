"""The workspaces of one run: made ahead while agents run, and removed while nobody
waits for that.

A checkout of a large repository takes longer than many a task. A spare one is made of
the run's present head; when a task takes it the head may have moved, and then only what
differs is written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from runner.attempt import workspace
from runner.attempt.workspace import Seed, Workspace
from runner.core.errors import GitFailed
from runner.repo.origin import Origin

# seconds: a faster checkout costs the machine more when it is made twice than it saves
_WORTH = 0.1


class WorkspacePool:
    """Implements `pipeline.Workspaces`. A context: at its end nothing is being made or
    removed any more.
    """

    def __init__(
        self, origin: Origin, scratch: Path, tree_of: Callable[[str], str]
    ) -> None:
        """`tree_of` says which tree a commit has: whoever knows it need not start a git
        process for each capture.
        """
        self._origin, self._scratch, self._tree_of = origin, scratch, tree_of
        self._lock = threading.Lock()
        self._seeding = threading.Lock()
        self._seed: Seed | None = None
        self._ready: list[tuple[Workspace, str]] = []
        self._ordered = 0  # spares that are there or on their way
        self._made = 0
        self._seconds = 0.0  # that it took to make the last one while an attempt waited
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="fanin-spares")

    def __enter__(self) -> WorkspacePool:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._aside.shutdown(cancel_futures=True)

    def acquire(self, base: str, folder: Path, branch: str) -> Workspace:
        """A workspace of commit `base` at `folder`. GitFailed if git cannot."""
        return replace(self._take(base, folder, branch), tree=self._tree_of(base))

    def _take(self, base: str, folder: Path, branch: str) -> Workspace:
        while (spare := self._best(base, branch)) is not None:
            try:
                return workspace.moved(spare, base, folder, branch)
            # whatever is the matter with it: a new one tells
            except (GitFailed, OSError):
                spare.remove()
                workspace.remove_folder(folder)
        seed, began = self._planted(), time.monotonic()
        made = workspace.create(self._origin, base, folder, branch, seed)
        self._seconds = time.monotonic() - began
        return made

    def release(self, folder: Path) -> None:
        """Remove a workspace, aside."""
        self._aside.submit(workspace.remove_folder, folder)

    def keep(self, count: int, base: str, branch: str) -> None:
        """Have `count` spare ones in store, the new ones of commit `base`; none where
        one is made in no time.
        """
        with self._lock:
            lacking = max(0, count - self._ordered) if self._seconds > _WORTH else 0
            self._ordered += lacking
        for _ in range(lacking):
            self._aside.submit(self._make, base, branch)

    def _make(self, base: str, branch: str) -> None:
        self._made += 1
        folder = self._scratch / f"spare-{self._made}"
        try:
            space = workspace.create(
                self._origin, base, folder, branch, self._planted()
            )
        except (GitFailed, OSError):  # the attempt that needs one will say why
            workspace.remove_folder(folder)
            with self._lock:
                self._ordered -= 1
            return
        with self._lock:
            self._ready.append((space, branch))

    def _best(self, base: str, branch: str) -> Workspace | None:
        """A spare on that branch, one that is at the base already if there is one."""
        with self._lock:
            fitting = [one for one in self._ready if one[1] == branch]
            if not fitting:
                return None
            chosen = next((one for one in fitting if one[0].base == base), fitting[0])
            self._ready.remove(chosen)
            self._ordered -= 1
            return chosen[0]

    def _planted(self) -> Seed:
        with self._seeding:
            if self._seed is None:
                self._seed = Seed.of(self._origin, self._scratch / "seed")
            return self._seed
