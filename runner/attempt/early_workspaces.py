"""Workspaces that are prepared while verify decides whether their commit is taken, so
that the tasks which start from it then need not wait for a checkout and set-up.

No agent starts in one before that: an attempt asks for the workspace of a commit that is
verified. All others are given up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from runner.agents.cookie import new_cookie
from runner.attempt import preparation
from runner.attempt.capture import record_preparation
from runner.attempt.checkout_extras import with_extras, with_included
from runner.attempt.context import AttemptContext
from runner.attempt.preparation import SetupCommand, run_setup
from runner.attempt.recorded_workspace import RecordedWorkspace
from runner.attempt.slots import Slot
from runner.attempt.workspace import CaptureLimits, Workspace
from runner.core.cancellation import Cancellation
from runner.core.errors import FaninError
from runner.core.folders import remove_folder
from runner.core.manifest import Manifest
from runner.repo.origin import Origin


@dataclass(frozen=True)
class Preparation:
    """What a workspace of commit `base` is prepared with. Two that are equal make the
    same workspace, whatever the task.
    """

    base: str
    branch: str
    setup: SetupCommand | None
    include: tuple[str, ...]
    env: Mapping[str, str]

    @classmethod
    def of(cls, manifest: Manifest, base: str, branch: str) -> Preparation:
        """That of a batch which starts from `base`."""
        setup, include = SetupCommand.of(manifest), tuple(manifest.include)
        return cls(base, branch, setup, include, manifest.env)


class Source(Protocol):
    """Where the workspaces come from."""

    @property
    def idle_slots(self) -> Sequence[int]:
        """The slots for which there are checkouts already."""
        ...

    def acquire(self, base: str, folder: Path, branch: str, slot: int) -> Workspace:
        """As `recorded_attempt.Workspaces.acquire`."""
        ...

    def acquire_from(
        self, origin: Origin, base: str, folder: Path, branch: str, slot: int
    ) -> Workspace:
        """A workspace of a commit of this origin, which may have more objects than the
        repository; without submodules and files of Git LFS unless it `is_ready`.
        """
        ...

    def note_extras(self, folder: Path, space: Workspace) -> None:
        """Submodules and files of Git LFS are in the workspace now, if there are any."""
        ...

    def settled(self, folder: Path, space: Workspace) -> Workspace:
        """The workspace that `acquire_from` gave under that name, now that the repository
        itself has its commit.
        """
        ...

    def ready(self, folder: Path, space: Workspace) -> None:
        """As `recorded_attempt.Workspaces.ready`."""
        ...

    def release(self, folder: Path) -> None:
        """As `recorded_attempt.Workspaces.release`."""
        ...


class EarlyWorkspace:
    """A workspace that is being prepared for nobody yet; once an attempt has claimed it,
    the `recorded_attempt.Workspaces` of this attempt.

    `slot` is the number that set-up sees, and the attempt after it.
    """

    def __init__(
        self,
        source: Source,
        origin: Origin,
        prepared_with: Preparation,
        records: Path,
        slot: Slot,
        context: AttemptContext,
    ) -> None:
        """`records` is the folder for what a crash must leave, and for set-up's log."""
        self.prepared_with, self.slot = prepared_with, slot
        self._source, self._origin, self._records = source, origin, records
        self._place = records.with_name(f"{records.name}-space")
        self._is_given_up = threading.Event()
        cancel = Cancellation(self._is_given_up, context.cancel)
        self._context = replace(context, cancel=cancel, slot=slot.number)
        self._later_limits = CaptureLimits(cancel=context.cancel)
        self._done: Future[RecordedWorkspace] = Future()
        self._has_place = False  # whether the source has been asked for one
        self._is_claimed = False  # by an attempt, which releases it
        self._is_used = False  # whether that attempt has got it
        self._log: Path | None = None
        self._on_set_up: Callable[[Sequence[str]], object] | None = None

    # -- before it is claimed --

    def prepare(self) -> None:
        """Make the workspace; what fails is for the attempt to find again, and to say."""
        try:
            recorded = RecordedWorkspace.of(self._prepared())
        except Exception as error:  # noqa: BLE001 - the attempt that waits for it gets it
            self._done.set_exception(error)
        else:
            self._done.set_result(recorded)

    def _prepared(self) -> Workspace:
        wanted, context = self.prepared_with, self._context
        self._records.mkdir()
        self._refuse_given_up()
        self._has_place = True
        space = self._source.acquire_from(
            self._origin, wanted.base, self._place, wanted.branch, self.slot.number
        )
        if space.is_ready:
            return space
        self._refuse_given_up()
        space = with_extras(space, self._origin)
        self._source.note_extras(self._place, space)
        space = with_included(
            space, wanted.include, self._origin, wanted.env, context.cancel
        )
        space = space._replace(limits=CaptureLimits(cancel=context.cancel))
        if wanted.setup is not None:
            self._set_up(wanted.setup, space)
            space = record_preparation(space)
        space = space._replace(limits=self._later_limits)
        self._source.ready(self._place, space)
        return space._replace(is_ready=True)

    def _set_up(self, setup: SetupCommand, space: Workspace) -> None:
        # where the next run looks for processes that outlived a crash
        cookie = new_cookie()
        (self._records / "cookie").write_text(cookie)
        context = self._context
        failure = run_setup(
            setup,
            space.checkout,
            self._records / preparation.LOG,
            context.environ_for_setup,
            context.slot,
            cookie,
            context.cancel,
            context.secrets | space.included.secrets,
            context.walls,
            self._origin.objects,
        )
        if failure is not None:
            raise _NotPrepared(failure.message)

    def _refuse_given_up(self) -> None:
        if self._is_given_up.is_set():
            raise _NotPrepared("nobody needs the workspace any more")

    def give_up(self) -> None:
        """Remove it, as soon as nothing happens there, unless an attempt has it."""
        if self._is_claimed or self._is_given_up.is_set():
            return
        self._is_given_up.set()
        self._done.add_done_callback(self._remove)

    def _remove(self, _done: Future[RecordedWorkspace]) -> None:
        self._release_place()
        self.slot.release()

    def _release_place(self) -> None:
        if self._has_place:
            self._source.release(self._place)
        remove_folder(self._records)

    # -- for the attempt that has claimed it --

    def begin(self, log: Path, on_set_up: Callable[[Sequence[str]], object]) -> None:
        """The attempt's own place for the log of set-up, and as in `AttemptContext`."""
        self._log, self._on_set_up = log, on_set_up

    def acquire(self, base: str, folder: Path, branch: str, slot: int) -> Workspace:
        """Wait for the workspace. Another is made as usual if it could not be prepared,
        or was touched.
        """
        self._is_claimed = True
        try:
            recorded = self._done.result()
            if recorded.is_touched():
                raise _NotPrepared("something has written there")
            space = self._source.settled(self._place, recorded.space)
        except (FaninError, OSError):
            self._release_place()
            return self._source.acquire(base, folder, branch, slot)
        self._is_used = True
        log = self._records / preparation.LOG
        if log.exists() and self._log is not None and self._on_set_up is not None:
            self._log.write_bytes(log.read_bytes())
            self._on_set_up(space.set_up)
        return space

    def ready(self, folder: Path, space: Workspace) -> None:
        if not self._is_used:
            self._source.ready(folder, space)

    def release(self, folder: Path) -> None:
        if self._is_used:
            self._release_place()
        else:
            self._source.release(folder)


class EarlyWorkspaces:
    """The workspaces that are being prepared for nobody yet.

    Their threads are its own; all else is to be called in one thread, and `close` at the
    end.
    """

    def __init__(
        self,
        source: Source,
        origin: Origin,
        scratch: Path,
        context: AttemptContext,
        threads: int,
    ) -> None:
        """`source` is the run's; folders are made below `scratch`. `context` is that of
        the run's attempts.
        """
        self._source, self._origin = source, origin
        self._scratch, self._context = scratch, context
        self._counter = 0
        self._unclaimed: list[EarlyWorkspace] = []
        self._at_work: set[Future[None]] = set()
        # One thread more, to wait for the others.
        self._pool = ThreadPoolExecutor(threads + 1, thread_name_prefix="fanin-early")

    def __len__(self) -> int:
        return len(self._unclaimed)

    def prepare(self, wanted: Preparation, objects: Path) -> None:
        """Begin to prepare one. `objects` is the folder of objects that the repository
        does not have yet; it must be there until what `when_at_rest` is given is called.
        """
        self._counter += 1
        early = EarlyWorkspace(
            self._source,
            self._origin._replace(objects=(objects,)),
            wanted,
            self._scratch / f"early-{self._counter}",
            self._context.slots.take(self._source.idle_slots),
            self._context,
        )
        self._unclaimed.append(early)
        self._at_work = {each for each in self._at_work if not each.done()}
        self._at_work.add(self._pool.submit(early.prepare))

    def claim(self, wanted: Preparation) -> EarlyWorkspace | None:
        """One that is, or will be, prepared so, for the caller alone; None if there is
        none.
        """
        for early in self._unclaimed:
            if early.prepared_with == wanted:
                self._unclaimed.remove(early)
                return early
        return None

    def keep(self, bases: Collection[str]) -> None:
        """Give up those of all other commits."""
        for early in list(self._unclaimed):
            if early.prepared_with.base not in bases:
                self._unclaimed.remove(early)
                early.give_up()

    def when_at_rest(self, end: Callable[[], object]) -> None:
        """Call `end` as soon as none is being made of those that were asked for by now."""
        at_work = [each for each in self._at_work if not each.done()]
        if not at_work:
            end()
            return

        def wait_and_end() -> None:
            wait(at_work)
            end()

        self._pool.submit(wait_and_end)

    def close(self) -> None:
        """Give up all that nobody has claimed, and wait until nothing happens there."""
        self.keep(())
        self._pool.shutdown()


class _NotPrepared(FaninError):
    """The workspace could not be prepared, or nobody needs it any more."""
