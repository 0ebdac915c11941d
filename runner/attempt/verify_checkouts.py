"""Where the trees that are verified are checked out: each in a new folder, of which some
are made in advance while agents work, or, with pooled workspaces, where the last one was.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runner.attempt import preparation, workspace
from runner.attempt.workspace import Workspace
from runner.core.errors import GitFailed
from runner.core.folders import remove_folder
from runner.repo.origin import Origin

if TYPE_CHECKING:
    from runner.attempt.pooled_workspaces import PooledWorkspaces
    from runner.attempt.workspace_pool import WorkspacePool

_BRANCH = "fanin/verify"
_PLACE = "space"  # in the folder of a run of verify


class VerifyCheckouts(Protocol):
    """Makes and removes the checkouts. Used by several threads."""

    @property
    def slots(self) -> Collection[int]:
        """The numbers of the slots for which there are checkouts already."""
        ...

    @property
    def avoided(self) -> Collection[int]:
        """The numbers of slots that somebody else needs sooner."""
        ...

    def create(self, origin: Origin, commit: str, folder: Path, slot: int) -> Workspace:
        """A workspace of the commit for the run of verify in `folder`. Raises GitFailed
        if git cannot.

        In one that `is_ready` a run for the same slot has been; all that it left is gone.
        """
        ...

    def ready(self, folder: Path, space: Workspace, seconds: float) -> None:
        """Take note of the workspace as set-up left it, which took so many seconds."""
        ...

    def remove(self, folder: Path) -> None:
        """Remove the folder, now or later."""
        ...


class NewCheckouts:
    """Implements `VerifyCheckouts`: all is done when it is asked for."""

    slots: tuple[int, ...] = ()
    avoided: tuple[int, ...] = ()

    def create(
        self, origin: Origin, commit: str, folder: Path, _slot: int
    ) -> Workspace:
        return workspace.create(origin, commit, folder / _PLACE, _BRANCH)

    def ready(self, folder: Path, space: Workspace, seconds: float) -> None:
        """Nothing: no checkout is used twice."""

    def remove(self, folder: Path) -> None:
        remove_folder(folder)


class SpareCheckouts:
    """Implements `VerifyCheckouts` by a pool that is used for nothing else."""

    slots: tuple[int, ...] = ()
    avoided: tuple[int, ...] = ()

    def __init__(self, pool: WorkspacePool) -> None:
        self._pool = pool

    def create(
        self, origin: Origin, commit: str, folder: Path, _slot: int
    ) -> Workspace:
        space = self._pool.create(origin, commit, folder / _PLACE, _BRANCH)
        self._pool.remove_surplus()
        return space

    def ready(self, folder: Path, space: Workspace, seconds: float) -> None:
        """Nothing: no checkout is used twice."""

    def remove(self, folder: Path) -> None:
        self._pool.release(folder / _PLACE)
        self._pool.remove(folder)

    def prewarm(self, count: int, commit: str) -> None:
        """Make so many checkouts in the background, where that takes long."""
        self._pool.prewarm(count, commit, count)

    def keep(self, count: int) -> None:
        """As `WorkspacePool.keep`."""
        self._pool.keep(count)


class PooledCheckouts:
    """Implements `VerifyCheckouts` by checkouts that are used again."""

    def __init__(
        self,
        pool: WorkspacePool,
        pooled: PooledWorkspaces,
        agents: WorkspacePool | PooledWorkspaces,
    ) -> None:
        """`pooled` makes new ones by `pool`, and both are used for nothing else. `agents`
        has the checkouts of the attempts.
        """
        self._pool, self._pooled, self._agents = pool, pooled, agents

    @property
    def slots(self) -> tuple[int, ...]:
        return self._pooled.idle_slots

    @property
    def avoided(self) -> tuple[int, ...]:
        # The next attempts use the checkouts that are there for these.
        return self._agents.idle_slots

    def create(self, origin: Origin, commit: str, folder: Path, slot: int) -> Workspace:
        place = folder / _PLACE
        space = self._pooled.acquire_from(origin, commit, place, _BRANCH, slot)
        self._pool.remove_surplus()
        return space

    def ready(self, folder: Path, space: Workspace, seconds: float) -> None:
        if seconds < preparation.SLOW_SETUP:
            return
        # Late: the first agent of a run starts before.
        from runner.attempt.capture import record_preparation

        # Without its record it is removed instead of being used again.
        with suppress(GitFailed):
            self._pooled.ready(folder / _PLACE, record_preparation(space))

    def remove(self, folder: Path) -> None:
        self._pooled.release(folder / _PLACE)
        remove_folder(folder)

    def prewarm(self, count: int, commit: str) -> None:
        """Make those that are missing to `count` in the background."""
        missing = count - len(self._pooled.idle_slots)
        self._pool.prewarm(missing, commit, missing)

    def keep(self, count: int) -> None:
        """As `WorkspacePool.keep`."""
        self._pool.keep(count)
