"""Where the trees that are verified are checked out: each in a new folder, of which some
are made in advance while agents work.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runner.attempt import workspace
from runner.attempt.workspace import Workspace
from runner.core.folders import remove_folder
from runner.repo.origin import Origin

if TYPE_CHECKING:
    from runner.attempt.workspace_pool import WorkspacePool

_BRANCH = "fanin/verify"


class VerifyCheckouts(Protocol):
    """Makes and removes the checkouts. Used by several threads."""

    def create(self, origin: Origin, commit: str, folder: Path) -> Workspace:
        """A workspace of the commit at `folder`, which nobody has used before. Raises
        GitFailed if git cannot.
        """
        ...

    def remove(self, folder: Path) -> None:
        """Remove the folder, now or later."""
        ...


class NewCheckouts:
    """Implements `VerifyCheckouts`: all is done when it is asked for."""

    def create(self, origin: Origin, commit: str, folder: Path) -> Workspace:
        return workspace.create(origin, commit, folder, _BRANCH)

    def remove(self, folder: Path) -> None:
        remove_folder(folder)


class SpareCheckouts:
    """Implements `VerifyCheckouts` by a pool that is used for nothing else."""

    def __init__(self, pool: WorkspacePool) -> None:
        self._pool = pool

    def create(self, origin: Origin, commit: str, folder: Path) -> Workspace:
        return self._pool.create(origin, commit, folder, _BRANCH)

    def remove(self, folder: Path) -> None:
        self._pool.release(folder)

    def prewarm(self, count: int, commit: str) -> None:
        """Make so many checkouts in the background, where that takes long."""
        self._pool.prewarm(count, commit, _BRANCH)
