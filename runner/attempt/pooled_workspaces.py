"""Checkouts that are kept after an attempt and reset for the next one of the same slot:
the setting `workspace: pooled`.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from runner.attempt import checkout_reset, preparation
from runner.attempt.checkout_reset import CleanCheckout, ReadyCheckout
from runner.attempt.workspace import Workspace
from runner.attempt.workspace_pool import WorkspacePool
from runner.core.errors import GitFailed
from runner.repo.origin import Origin


@dataclass
class _Lent:
    """A checkout that an attempt of `slot` works in; `ready` is set once it could be
    reset after the attempt.
    """

    slot: int
    folder: Path
    ready: ReadyCheckout | None = None


class _Idle(NamedTuple):
    """A checkout that no attempt works in. `cleaned` is None if it cannot be cleaned.
    `number` is how many checkouts had been lent when it became idle.
    """

    folder: Path
    cleaned: Future[CleanCheckout | None]
    number: int


class PooledWorkspaces:
    """Implements `recorded_attempt.Workspaces`. Used by several threads.

    A context manager. On exit it waits until all background work has ended.

    A checkout stays where it is, because set-up may have written its path into files. It
    is for one slot, because set-up may have used the slot's number. Each slot has at
    most one that no attempt works in. That is cleaned in the background, at once: what
    an agent started has ended then, and the next attempt waits for less.
    """

    def __init__(
        self,
        new: WorkspacePool,
        scratch: Path,
        setup: str | None,
        name: str = "pooled",
    ) -> None:
        """`new` makes and removes the checkouts; `setup` is the text that prepares them.
        Their folders below `scratch` begin with `name`.
        """
        self._new, self._scratch, self._setup = new, scratch, setup or ""
        self._name = name
        self._lock = threading.Lock()
        self._counter = 0
        self._acquired = 0  # how often a checkout was lent
        self._most: int | None = None  # idle ones that may be used; None: not known
        self._lent: dict[Path, _Lent] = {}  # by the folder that the attempt asked for
        self._idle: dict[int, _Idle] = {}  # by slot
        self._background = ThreadPoolExecutor(2, thread_name_prefix="fanin-clean")

    def __enter__(self) -> PooledWorkspaces:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._background.shutdown(cancel_futures=True)

    @property
    def setup_seconds(self) -> float:
        """As `WorkspacePool.setup_seconds`."""
        return self._new.setup_seconds

    @property
    def is_large(self) -> bool:
        """As `WorkspacePool.is_large`."""
        return self._new.is_large

    @property
    def idle_slots(self) -> tuple[int, ...]:
        """The slots that have a checkout in which nobody works. The first has been idle for
        longest: it has been cleaned by now.
        """
        with self._lock:
            return tuple(self._idle)

    def acquire(self, base: str, folder: Path, branch: str, slot: int) -> Workspace:
        """A workspace of commit `base`, at a place of its own. Raises GitFailed if git
        cannot.
        """
        with self._lock:
            idle = self._idle.get(slot)
            # Who works while it is being cleaned can write there later as well.
            exposed = idle is not None and (
                idle.cleaned.done()
                and (bool(self._lent) or idle.number < self._acquired)
            )
        space = self._reused(None, base, folder, branch, slot, exposed=exposed)
        if space is not None:
            return space._replace(tree=self._new.tree_of(base))
        return self._new.acquire(base, self._new_place(folder, slot), branch)

    def acquire_from(
        self, origin: Origin, base: str, folder: Path, branch: str, slot: int
    ) -> Workspace:
        """The same of a commit of this origin, which may have more objects than the
        repository, and without submodules and files of Git LFS unless it `is_ready`.
        Agents that got no checkout from here may be working.
        """
        space = self._reused(origin, base, folder, branch, slot, exposed=True)
        if space is not None:
            return space
        return self._new.create(origin, base, self._new_place(folder, slot), branch)

    def _reused(
        self,
        origin: Origin | None,
        base: str,
        folder: Path,
        branch: str,
        slot: int,
        *,
        exposed: bool,
    ) -> Workspace | None:
        """The slot's idle checkout, reset to the commit; None if there is none."""
        with self._lock:
            idle = self._idle.pop(slot, None)
            self._acquired += 1
            if idle is None:
                return None
            # Whoever counts the checkouts that there are counts it meanwhile.
            lent = self._lent[folder] = _Lent(slot, idle.folder)
        lent.ready = self._reset(idle, origin, base, branch, exposed=exposed)
        if lent.ready is not None:
            return lent.ready.workspace
        with self._lock:
            del self._lent[folder]
        return None

    def _new_place(self, folder: Path, slot: int) -> Path:
        with self._lock:
            self._counter += 1
            place = self._scratch / f"{self._name}-{self._counter}"
            self._lent[folder] = _Lent(slot, place)
        return place

    def _reset(
        self,
        idle: _Idle,
        origin: Origin | None,
        base: str,
        branch: str,
        *,
        exposed: bool,
    ) -> ReadyCheckout | None:
        ready = None
        # Whatever is wrong with it: a new workspace works, or says why not.
        with suppress(GitFailed, OSError):
            cleaned = idle.cleaned.result()
            if cleaned is not None and origin is not None:
                cleaned = cleaned.borrowing(origin)
            if cleaned is not None:
                ready = checkout_reset.moved(
                    cleaned, base, branch, self._setup, exposed=exposed
                )
        if ready is None:
            self._new.release(idle.folder)
        return ready

    def settled(self, folder: Path, space: Workspace) -> Workspace:
        """The workspace that `acquire_from` gave for `folder`, whose commit the
        repository has by now.
        """
        with self._lock:
            lent = self._lent[folder]
        space = self._new.settled(lent.folder, space)
        if lent.ready is not None:
            lent.ready = lent.ready.with_seed_of(space)
        return space

    def note_extras(self, folder: Path, space: Workspace) -> None:
        """As `WorkspacePool.note_extras`."""
        with self._lock:
            lent = self._lent[folder]
        self._new.note_extras(lent.folder, space)

    def ready(self, folder: Path, space: Workspace) -> None:
        """Record the workspace that `folder` was acquired for, as set-up left it."""
        if space.is_ready:
            return
        with self._lock:
            place = self._lent[folder].folder
        self._new.ready(place, space)
        ready = checkout_reset.record(space)
        with self._lock:
            self._lent[folder].ready = ready

    def prewarm(self, count: int, base: str, most: int) -> None:
        """Make checkouts of commit `base` in the background until there are `count` for
        the next attempts, where that takes long; remove those beyond `most`, which nobody
        will use, unless set-up was slow: a task may be sent back yet.
        """
        if self.setup_seconds < preparation.SLOW_SETUP:
            self._remove_idle(most)
        with self._lock:
            self._most = most
            # Who works now leaves its checkout to one of the next.
            present = len(self._idle) + len(self._lent)
        self._new.prewarm(max(0, count - present), base, max(0, most - present))

    def _remove_idle(self, most: int) -> None:
        """Remove idle checkouts in the background until there are `most`.

        The first ones stay: an attempt that has just begun may have the slot of one.
        """
        with self._lock:
            surplus = [*self._idle][max(0, most) :]
            removed = [self._idle.pop(slot) for slot in surplus]
        for idle in removed:
            self._remove_when_clean(idle)

    def _remove_when_clean(self, idle: _Idle) -> None:
        idle.cleaned.add_done_callback(lambda _: self._new.remove(idle.folder))

    def keep(self, count: int) -> None:
        """As `WorkspacePool.keep`, which each slot does with its own."""

    def release(self, folder: Path) -> None:
        """Keep the workspace for the next attempt of its slot, or remove it."""
        with self._lock:
            lent = self._lent.pop(folder)
            if lent.ready is not None and self._keeps_another(lent.slot):
                cleaned = self._background.submit(checkout_reset.clean, lent.ready)
                # Who works now may write there, even if it has ended by the next time.
                number = -1 if self._lent else self._acquired
                self._idle[lent.slot] = _Idle(lent.folder, cleaned, number)
                return
        self._new.release(lent.folder)

    def _keeps_another(self, slot: int) -> bool:
        """Whether the checkout of an attempt is for a later one, or is removed while
        others work. Called under the lock.
        """
        if slot in self._idle:
            return False
        if self.setup_seconds >= preparation.SLOW_SETUP or self._most is None:
            return True
        return len(self._idle) < self._most
