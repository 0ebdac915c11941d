"""The workspaces of one run: created in advance while agents run, and removed or made
anew in the background.

A checkout of a large repository can take longer than a task. A spare workspace is
created from the run's head, or is one that has been used and is as new again. If the
head has moved when a task acquires it, only the files that differ are written.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import TYPE_CHECKING

from runner.attempt import trusted_times, workspace
from runner.attempt.checkout_extras import with_extras
from runner.attempt.emptied_folders import EmptiedFolders
from runner.attempt.git_directory import Seed
from runner.attempt.recycling import SPARE_BRANCH, NewCheckout, recycled
from runner.attempt.workspace import Workspace
from runner.core.errors import GitFailed
from runner.core.folders import remove_folder
from runner.repo.origin import Origin

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

# Seconds. Preparing a faster checkout in advance costs more than it saves.
_MIN_CHECKOUT_TIME = 0.1
# Files. A smaller checkout is slow only where the machine is busy, and a spare would make
# it busier.
_MIN_FILES = 200
# Files. To write and remove so many takes more than to make sure that they have not
# changed, however fast the disk is.
_MANY_FILES = 500


class WorkspacePool:
    """Implements `recorded_attempt.Workspaces`.

    A context manager. On exit it waits until all background work has ended.
    """

    def __init__(
        self,
        origin: Origin,
        scratch: Path,
        tree_of: Callable[[str], str],
        most: int = 0,
        turns: AbstractContextManager[object] | None = None,
    ) -> None:
        """`tree_of` returns the tree of a commit. It saves each capture a git process
        if the answer is cached. No spare is created if there are `most` workspaces,
        those in use included; then spares come from these. 0: any number is created.
        An attempt that gets no spare waits for one of the `turns`, and the next one for
        the end of the block; None: it does not wait.
        """
        self.tree_of = tree_of
        self._turns = turns or nullcontext()
        self._most = most or sys.maxsize
        self._origin, self._scratch = origin, scratch
        self._emptied = EmptiedFolders(scratch)
        self._lock = threading.Lock()
        self._seed_lock = threading.Lock()
        self._seed: Seed | None = None
        self._spares: list[Workspace] = []
        self._expected = 0  # spares that exist or are being made
        # of these, those to make from nothing, which may not have begun
        self._to_make: list[Future[object]] = []
        self._wanted = 0  # how many spares were asked for last
        # those in use that may be spares later, by their folders
        self._lent: dict[Path, NewCheckout] = {}
        self._since: dict[Path, float] = {}  # when attempts got theirs
        # That set-up took at its fastest: beside other work a short one takes long, too.
        self.setup_seconds = 0.0
        self._checkout_time = 0.0  # seconds that the last one took an attempt
        self._files = 0  # that the last one had
        self._background_lock = threading.Lock()
        self._background: ThreadPoolExecutor | None = None
        # held while git reads the files of a spare, which is this one
        self._reading_lock = threading.Lock()
        self._read: Workspace | None = None
        self._is_over = threading.Event()

    def __enter__(self) -> WorkspacePool:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        if self._background is not None:
            self._background.shutdown(cancel_futures=True)

    def acquire(
        self, base: str, folder: Path, branch: str, _slot: int = 0
    ) -> Workspace:
        """A workspace of commit `base` at `folder`. Raises GitFailed if git cannot."""
        space = self.create(self._origin, base, folder, branch)
        new = space._replace(tree=self.tree_of(base))
        space = with_extras(new, self._origin)
        if space is not new:
            self.note_extras(folder, space)
        with self._lock:
            self._since[folder] = time.monotonic()
        return space

    def note_extras(self, folder: Path, space: Workspace) -> None:
        """The new workspace has submodules or files of Git LFS now, as the case may be;
        then it is no spare later.
        """
        if space.submodules or space.prepared:
            with self._lock:
                self._lent.pop(folder, None)

    @property
    def idle_slots(self) -> tuple[int, ...]:
        """None: a workspace is for any slot."""
        return ()

    def acquire_from(
        self, origin: Origin, base: str, folder: Path, branch: str, _slot: int = 0
    ) -> Workspace:
        """As `create`."""
        return self.create(origin, base, folder, branch)

    def settled(self, folder: Path, space: Workspace) -> Workspace:
        """The workspace of another origin's commit, which the pool's own has by now."""
        space = workspace.borrowing(space, self._origin)
        with self._lock:
            if folder in self._lent:
                self._lent[folder] = self._lent[folder].with_seed_of(space)
        return space._replace(tree=self.tree_of(space.base))

    def create(self, origin: Origin, base: str, folder: Path, branch: str) -> Workspace:
        """The same without submodules and files of Git LFS, of a commit of this origin,
        which is the pool's own or has more objects.
        """
        space = self._spare_at(origin, base, folder, branch)
        if space is None:
            seed = self._shared_seed()
            if origin != self._origin:
                seed = seed.borrowing(origin)
            with self._turns:
                start = time.monotonic()
                space = workspace.create(
                    origin, base, folder, branch, seed, self._emptied
                )
                self._checkout_time = time.monotonic() - start
            self._files = space.number_of_files
        if self._is_worth_keeping:
            with suppress(GitFailed, OSError):
                new = NewCheckout.of(space)
                with self._lock:
                    self._lent[folder] = new
        return space

    @property
    def is_large(self) -> bool:
        """Whether checkouts are worth a spare."""
        is_slow = self._checkout_time > _MIN_CHECKOUT_TIME
        return is_slow and self._files >= _MIN_FILES

    @property
    def _is_worth_keeping(self) -> bool:
        """Whether a checkout that was used is worth being used again."""
        return self.is_large or self._files >= _MANY_FILES

    def _spare_at(
        self, origin: Origin, base: str, folder: Path, branch: str
    ) -> Workspace | None:
        """Move a spare workspace to `folder` and `base`; None if the pool has none."""
        while (spare := self._next_spare(base)) is not None:
            # one that was used may borrow from another
            spare = spare._replace(seed=spare.seed.borrowing(origin))
            try:
                return workspace.moved(spare, base, folder, branch)
            # Whatever is wrong with it: a new workspace works, or says why not.
            except (GitFailed, OSError):
                spare.remove()
                remove_folder(folder)
        return None

    def ready(self, folder: Path, _space: Workspace) -> None:
        """Note how long set-up took; whatever it brings is removed later."""
        with self._lock:
            since = self._since.pop(folder, None)
            if since is not None:
                took = time.monotonic() - since
                self.setup_seconds = min(took, self.setup_seconds or took)

    def release(self, folder: Path) -> None:
        """Make a spare of a workspace, or remove it, in the background."""
        with self._lock:
            self._since.pop(folder, None)
            new = self._lent.pop(folder, None)
            if new is not None and (self._makes_one_less() or self._keeps_another):
                self._expected += 1
                self._begin(self._recycle, new)
                return
        self._begin(self._emptied.add, folder)

    @property
    def _keeps_another(self) -> bool:
        """Whether a workspace that is there should be a spare. Called under the lock."""
        if self._expected < self._wanted:
            return True
        return self._is_busy and len(self._lent) + self._expected < self._most

    @property
    def _is_busy(self) -> bool:
        """Whether more will start than there are spares: each of them is used again."""
        return 2 * self._wanted >= self._most

    def _makes_one_less(self) -> bool:
        """Whether a spare that was to be made from nothing will not be: to recycle a
        workspace takes less. Called under the lock.
        """
        while self._to_make:
            if self._to_make.pop().cancel():
                self._expected -= 1
                return True
        return False

    def remove(self, folder: Path) -> None:
        """Remove a folder in the background, after what was released before."""
        self._begin(remove_folder, folder)

    def _begin(self, work: Callable[..., object], *args: object) -> Future[object]:
        """Do the work in the background, after what was begun before."""
        # Imported at the first use: the first agent need not wait for it.
        from concurrent.futures import ThreadPoolExecutor

        with self._background_lock:
            if self._background is None:
                self._background = ThreadPoolExecutor(
                    1, thread_name_prefix="fanin-spares"
                )
            return self._background.submit(work, *args)

    def prewarm(self, count: int, base: str, most: int) -> None:
        """Create spares of commit `base` until there are `count`, or enough workspaces;
        remove those beyond `most`, which nobody will use.

        If a checkout is fast or small, `keep` so many.
        """
        if not self.is_large:
            self.keep(most)
            return
        with self._lock:
            self._wanted = most
            self._remove_surplus()
            room = self._most - len(self._lent) - self._expected
            missing = max(0, min(count - self._expected, room))
            self._expected += missing
            for _ in range(missing):
                self._to_make.append(self._begin(self._make_spare, base))

    def keep(self, count: int) -> None:
        """Make spares of large workspaces that are released until there are `count`, and
        none from nothing: there are no more of them than attempts have had at once.

        Those that there are may be used, even if they are more, until `remove_surplus`.
        """
        with self._lock:
            self._wanted = count

    def remove_surplus(self) -> None:
        """Remove spares beyond those that `keep` or `prewarm` asked for last, while agents
        work or verify runs, and not when the run ends.
        """
        with self._lock:
            self._remove_surplus()

    def _remove_surplus(self) -> None:
        """Remove spares while agents work, and not when the run ends. Called under the
        lock.
        """
        if self._is_busy:
            return
        while self._expected > self._wanted and self._makes_one_less():
            pass
        idle = [each for each in self._spares if each is not self._read]
        for spare in idle[: max(0, self._expected - self._wanted)]:
            self._spares.remove(spare)
            self._expected -= 1
            self.remove(spare.folder)

    def _recycle(self, new: NewCheckout) -> None:
        folder = self._new_folder()
        try:
            spare = recycled(new)
            if spare is not None:
                spare.folder.rename(folder)
                spare = spare._replace(folder=folder)
                self._add(spare)
                return
        except (GitFailed, OSError):  # it is not needed: another one can be made
            remove_folder(folder)
        remove_folder(new.workspace.folder)
        with self._lock:
            self._expected -= 1

    def _new_folder(self) -> Path:
        # Several pools may make their spares in the same scratch folder.
        return self._scratch / f"spare-{token_hex(8)}"

    def _add(self, spare: Workspace) -> None:
        with self._lock:
            self._spares.append(spare)

    def _make_spare(self, base: str) -> None:
        folder = self._new_folder()
        try:
            seed = self._shared_seed()
            spare = workspace.create(self._origin, base, folder, SPARE_BRANCH, seed)
            self._add(spare)
            if not self._is_over.is_set():
                self._begin(self._trust_files, spare)
        except (GitFailed, OSError):  # the attempt that needs one will say why
            remove_folder(folder)
            with self._lock:
                self._expected -= 1

    def _trust_files(self, spare: Workspace) -> None:
        """Let git read the spare's files, so that it need not when somebody waits for it."""
        self._is_over.wait(trusted_times.seconds_until_trusted(spare))
        with self._reading_lock:
            with self._lock:
                if self._is_over.is_set() or spare not in self._spares:
                    return
                self._read = spare
            trusted = None
            with suppress(GitFailed, OSError):
                trusted = trusted_times.trust_files(spare)
            with self._lock:
                self._read = None
                self._spares.remove(spare)
                if trusted is not None:
                    self._spares.append(trusted)
                    return
                self._expected -= 1
        remove_folder(spare.folder)

    def _next_spare(self, base: str) -> Workspace | None:
        """A spare, preferably one that is at `base` already."""
        with self._lock:
            is_read = self._spares == [self._read]
        if is_read:
            with self._reading_lock:
                pass  # it takes less than to make another one
        with self._lock:
            spares = [each for each in self._spares if each is not self._read]
            if not spares:
                return None
            at_base = [spare for spare in spares if spare.base == base]
            spare = (at_base or spares)[0]
            self._spares.remove(spare)
            self._expected -= 1
            return spare

    def _shared_seed(self) -> Seed:
        with self._seed_lock:
            if self._seed is None:
                self._seed = Seed.of(self._origin, self._scratch)
            return self._seed
