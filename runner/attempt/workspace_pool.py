"""The workspaces of one run: created in advance while agents run, and removed in the
background.

A checkout of a large repository can take longer than a task. A spare workspace is
created from the run's head. If the head has moved when a task acquires it, only the
files that differ are written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from runner.attempt import workspace
from runner.attempt.checkout_extras import with_extras
from runner.attempt.git_directory import Seed
from runner.attempt.workspace import Workspace
from runner.core.errors import GitFailed
from runner.core.folders import remove_folder
from runner.repo.origin import Origin

# Seconds. Preparing a faster checkout in advance costs more than it saves.
_MIN_CHECKOUT_TIME = 0.1
# Files. A smaller checkout is slow only where the machine is busy, and a spare would make
# it busier.
_MIN_FILES = 200


class _Spare(NamedTuple):
    workspace: Workspace
    branch: str


class WorkspacePool:
    """Implements `pipeline.Workspaces`.

    A context manager. On exit it waits until all background work has ended.
    """

    def __init__(
        self, origin: Origin, scratch: Path, tree_of: Callable[[str], str]
    ) -> None:
        """`tree_of` returns the tree of a commit. It saves each capture a git process
        if the answer is cached.
        """
        self.tree_of = tree_of
        self._origin, self._scratch = origin, scratch
        self._lock = threading.Lock()
        self._seed_lock = threading.Lock()
        self._seed: Seed | None = None
        self._spares: list[_Spare] = []
        self._expected = 0  # spares that exist or are being created
        self._counter = 0
        self._checkout_time = 0.0  # seconds that the last one took an attempt
        self._files = 0  # that the last one had
        self._background = ThreadPoolExecutor(1, thread_name_prefix="fanin-spares")

    def __enter__(self) -> WorkspacePool:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._background.shutdown(cancel_futures=True)

    def acquire(
        self, base: str, folder: Path, branch: str, _slot: int = 0
    ) -> Workspace:
        """A workspace of commit `base` at `folder`. Raises GitFailed if git cannot."""
        space = self.create(self._origin, base, folder, branch)
        return with_extras(replace(space, tree=self.tree_of(base)), self._origin)

    def create(self, origin: Origin, base: str, folder: Path, branch: str) -> Workspace:
        """The same without submodules and files of Git LFS, of a commit of this origin,
        which is the pool's own or has more objects.
        """
        space = self._spare_at(origin, base, folder, branch)
        if space is None:
            seed = self._shared_seed()
            if origin != self._origin:
                seed = seed.borrowing(origin)
            start = time.monotonic()
            space = workspace.create(origin, base, folder, branch, seed)
            self._checkout_time = time.monotonic() - start
            self._files = space.number_of_files
        return space

    def _spare_at(
        self, origin: Origin, base: str, folder: Path, branch: str
    ) -> Workspace | None:
        """Move a spare workspace to `folder` and `base`; None if the pool has none."""
        while (spare := self._next_spare(base, branch)) is not None:
            if origin != self._origin:
                spare = replace(spare, seed=spare.seed.borrowing(origin))
            try:
                return workspace.moved(spare, base, folder, branch)
            # Whatever is wrong with it: a new workspace works, or says why not.
            except (GitFailed, OSError):
                spare.remove()
                remove_folder(folder)
        return None

    def ready(self, folder: Path, space: Workspace) -> None:
        """Nothing: no workspace is used twice."""

    def release(self, folder: Path) -> None:
        """Remove a workspace, in the background."""
        self._background.submit(remove_folder, folder)

    def prewarm(self, count: int, base: str, branch: str) -> None:
        """Create spares of commit `base` until there are `count`.

        Does nothing if a checkout is fast or small.
        """
        if self._checkout_time <= _MIN_CHECKOUT_TIME or self._files < _MIN_FILES:
            return
        with self._lock:
            missing = max(0, count - self._expected)
            self._expected += missing
        for _ in range(missing):
            self._background.submit(self._make_spare, base, branch)

    def _make_spare(self, base: str, branch: str) -> None:
        self._counter += 1
        folder = self._scratch / f"spare-{self._counter}"
        try:
            seed = self._shared_seed()
            spare = workspace.create(self._origin, base, folder, branch, seed)
        except (GitFailed, OSError):  # the attempt that needs one will say why
            remove_folder(folder)
            with self._lock:
                self._expected -= 1
            return
        with self._lock:
            self._spares.append(_Spare(spare, branch))

    def _next_spare(self, base: str, branch: str) -> Workspace | None:
        """A spare on that branch, preferably one that is at `base` already."""
        with self._lock:
            on_branch = [spare for spare in self._spares if spare.branch == branch]
            if not on_branch:
                return None
            at_base = [spare for spare in on_branch if spare.workspace.base == base]
            spare = (at_base or on_branch)[0]
            self._spares.remove(spare)
            self._expected -= 1
            return spare.workspace

    def _shared_seed(self) -> Seed:
        with self._seed_lock:
            if self._seed is None:
                self._seed = Seed.of(self._origin, self._scratch)
            return self._seed
