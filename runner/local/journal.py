"""The live state of runs on this machine, in `.git/fanin/`: a lock, an append-only
journal, a folder per run.

    lock                  held while a fanin process works in this repository
    verdicts.json         what `verify` said of trees
    requests/             what persons asked for while a run was in progress
    journal.jsonl         one durable line per event; `State.after` folds them
    runs/<run>/           events.jsonl, what has happened in the run
    runs/<run>/<round>/   manifest.json, and the result folders

If the journal's last run has no end, it crashed, and the next run finishes it. The journal
has the content of manifests and small results too: one fsync of it makes them durable, and
`restore` writes what a power failure took of their files.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.core import durable
from runner.core.errors import EnvironmentBroken, UsageProblem
from runner.local import lost_state
from runner.local.journal_state import (
    FILES_LINE,
    State,
    batch_of,
    limit_event,
    readable_events,
    state_after,
)
from runner.local.request_folder import RequestFolder
from runner.schedule.limit_waits import LimitWaits

# Every command reads the journal: the models of what only some journals have are
# imported when there is one.
if TYPE_CHECKING:
    from runner.core.manifest import Manifest

MANIFEST = "manifest.json"
_MAX_MANIFEST = 2**20  # bytes, of about a thousand tasks
# Bytes by which the journal grows before it drops the files of batches that are over.
_MAX_GROWTH = 2**23
VERDICTS = "verdicts.json"  # there once verify has run


class RepositoryInUse(UsageProblem):
    """Another fanin works in this repository."""


class _JournalRead(NamedTuple):
    """What the first `size` bytes of the journal say, in the file with this inode."""

    inode: int = 0
    size: int = 0
    state: State = State()


class Journal:
    """The folder `.git/fanin/` of one repository."""

    def __init__(self, git_dir: Path) -> None:
        self.folder = git_dir / "fanin"
        self.path = self.folder / "journal.jsonl"
        self.requests = RequestFolder(self.folder / "requests")
        self._git_dir = git_dir
        self._last_read = _JournalRead()
        self._is_named = False  # whether the journal's own name is durable
        self._named_runs: set[str] = set()  # those whose folders' names are durable
        self._appending = threading.Lock()
        self._kept_bytes = 0  # after files were last dropped

    @contextmanager
    def locked(self, wait_seconds: float = 0) -> Iterator[None]:
        """Hold the repository for one fanin.

        RepositoryInUse, naming the holder, if another one works here and does not end
        within `wait_seconds`.
        """
        # Not at the top: most commands only read.
        from runner.core import file_lock

        holder = self.folder / "holder"
        with ExitStack() as lock:
            try:
                self.folder.mkdir(exist_ok=True)
                lock.enter_context(file_lock.held(self.folder / "lock", wait_seconds))
            except file_lock.HeldElsewhere:
                raise self._in_use(holder) from None
            except OSError as error:
                raise lost_state.unusable(error, self.folder) from None
            try:
                holder.write_text(str(os.getpid()))
                yield
            except (OSError, EnvironmentBroken) as error:
                # Whatever failed, and wherever: git has no folder to work in either.
                if (deleted := lost_state.deleted(self.folder, error)) is not None:
                    raise deleted from error
                raise
            finally:
                holder.unlink(missing_ok=True)

    @staticmethod
    def _in_use(holder: Path) -> RepositoryInUse:
        process_id = holder.read_text().strip() if holder.exists() else "unknown"
        return RepositoryInUse(
            f"another fanin is running in this repository (process {process_id})",
            "wait for it to end, or stop it with Ctrl-C",
        )

    def holder(self) -> int | None:
        """The process that holds the repository's lock; None if none does.

        The lock itself is touched only if such a process is there: a run that begins
        right now must find it free.
        """
        try:
            process_id = int((self.folder / "holder").read_text())
            os.kill(process_id, 0)
        except PermissionError:
            return process_id  # it is there, and another user's
        except (OSError, ValueError, OverflowError):
            return None
        # After a crash, another program may have got the number.
        with suppress(OSError), (self.folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        return process_id

    def record(self, event: str, **fields: object) -> None:
        """Add one event, durably. `fields` are JSON values.

        Any number of threads and processes may add events at once.
        """
        self.record_all([{"event": event, **fields}])

    def record_all(
        self, events: Sequence[Mapping[str, Any]], *, synced: bool = True
    ) -> None:
        """Add events with one write; unless `synced`, a power failure may lose them."""
        # in ASCII: a path need not be UTF-8
        lines = [json.dumps(event) for event in events]
        with self._writing(), self._appending:
            self.folder.mkdir(exist_ok=True)
            durable.append_lines(self.path, lines, synced=synced)
            if synced and not self._is_named:
                # Not all at once: the first fsync commits what the others have to, and the
                # first agent need not wait until a pool of threads is imported.
                for folder in durable.folders_above(self.path, self._git_dir):
                    durable.sync_folder(folder)
                self._is_named = True

    def record_limits(self, before: LimitWaits, after: LimitWaits) -> None:
        """Add, durably, what has changed in the usage limits of agents."""
        events = []
        for agent in {**before.limits, **after.limits}:
            limit = after.limits.get(agent)
            if limit != before.limits.get(agent):
                events.append(limit_event(agent, limit))
        if events:
            self.record_all(events)

    def open(self, manifest: Manifest) -> None:
        """Record that a batch is open, before its first agent starts: its manifest and
        an event. They are durable with the journal's next fsync, as is needed before a
        result; an agent would not survive a power failure either.
        """
        from runner.local import kept_files

        folder = self.round_folder(manifest.run, manifest.round)
        data = manifest.model_dump_json(indent=1).encode()
        with self._writing():
            durable.write(folder / MANIFEST, data, synced=False)
        batch = {"run": manifest.run, "round": manifest.round}
        events: list[dict[str, Any]] = [{"event": "batch", **batch}]
        if len(data) <= _MAX_MANIFEST:
            events.append(kept_files.event(batch, "", {MANIFEST: data}))
        self.record_all(events, synced=False)
        if len(events) == 1:
            self._sync_files(manifest)
        with self._writing(), self._appending:
            if self.path.stat().st_size > self._kept_bytes + _MAX_GROWTH:
                self._drop_files()

    def _drop_files(self) -> None:
        """Drop the files of batches that are over: nobody restores them."""
        from runner.local import kept_files

        state = self.state()
        batches = {*state.open, *state.accepted}
        kept = []
        for line in self.path.read_bytes().splitlines():
            is_needed = True
            if line.startswith(FILES_LINE):
                is_needed = kept_files.batch_of(line) in batches
            if line and is_needed:
                kept.append(line + b"\n")
        data = b"".join(kept)
        durable.write(self.path, data)
        self._kept_bytes = len(data)

    def keep_result(
        self, manifest: Manifest, folder: str, files: Mapping[str, bytes]
    ) -> bool:
        """Make the files of the result in this folder durable, the manifest first, and
        return True; or, if there are none, what a result needs of the folders above it.
        """
        from runner.local import kept_files

        if not files:
            self._sync_files(manifest)
            return False
        batch = {"run": manifest.run, "round": manifest.round}
        self.record_all([kept_files.event(batch, folder, files)])
        return True

    def restore(self) -> None:
        """Write the files of open batches that are not as the journal has them, as a
        power failure may leave them. Only under the lock.
        """
        state = self.state()
        batches = {*state.open, *state.accepted}
        if not batches:
            return
        with self._writing():
            for event in self.events():
                if event.get("event") == "files":
                    with suppress(KeyError, TypeError):
                        self._restore(event, batches)

    def _restore(
        self, event: Mapping[str, Any], batches: Collection[tuple[str, int]]
    ) -> None:
        from runner.local import kept_files

        batch = batch_of(event)
        if batch not in batches:
            return
        folder, files = kept_files.parse(event)
        where = self.round_folder(*batch)
        if folder:
            where = self.results_folder(*batch) / folder
        for name, data in files.items():
            if not kept_files.has_content(where / name, data):
                durable.write(where / name, data)

    def _sync_files(self, manifest: Manifest) -> None:
        """Make durable what `open` has written, in its files."""
        folder = self.round_folder(manifest.run, manifest.round)
        with self._writing():
            names = [folder, folder.parent]
            if manifest.run not in self._named_runs:
                names = durable.folders_above(folder / MANIFEST, self._git_dir)
            durable.sync_files([folder / MANIFEST, self.path, *names])
            self._named_runs.add(manifest.run)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EnvironmentBroken(
                f"cannot write {error.filename or self.path}: {error.strerror}",
                "free space on the disk or fix the folder's permissions, then run again",
            ) from None

    def events(self) -> list[dict[str, Any]]:
        """Every readable event in order.

        A line torn by a crash is left out: what it announces has not started.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise lost_state.unusable(error, self.path) from None
        return list(readable_events(data.splitlines()))

    def state(self) -> State:
        """What all events together say. Only those that are new are read."""
        before = self._last_read
        try:
            with self.path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                size = file.seek(0, os.SEEK_END)
                if inode != before.inode or size < before.size:
                    before = _JournalRead(inode)
                file.seek(before.size)
                data = file.read()
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise lost_state.unusable(error, self.path) from None
        # What follows the last whole line may be a line that is being written.
        size = data.rfind(b"\n") + 1
        state = state_after(before.state, data[:size])
        self._last_read = _JournalRead(inode, before.size + size, state)
        return state_after(state, data[size:])

    def run_folder(self, run: str) -> Path:
        return self.folder / "runs" / run

    def round_folder(self, run: str, round_number: int) -> Path:
        return self.run_folder(run) / str(round_number)

    def results_folder(self, run: str, round_number: int) -> Path:
        """The folder that holds the result folders of a round's batch."""
        folder = self.round_folder(run, round_number)
        older = folder / "results"  # as earlier versions made it
        return older if older.is_dir() else folder

    def read_manifest(self, run: str, round_number: int) -> tuple[Manifest, Path]:
        """The manifest of a round's batch, and the folder of its results."""
        from runner.core.manifest import Manifest

        folder = self.round_folder(run, round_number)
        text = (folder / MANIFEST).read_bytes()
        return Manifest.model_validate_json(text), self.results_folder(
            run, round_number
        )

    def sweep(self) -> None:
        """Remove what a killed fanin left half-written in its own folder.

        Only under the lock.
        """
        from runner.core.folders import remove_folder

        for folder in [*self.folder.glob("quarantine-*"), *self.folder.glob("tmp*")]:
            if folder.is_dir():
                remove_folder(folder)
            else:
                folder.unlink(missing_ok=True)
        for file in list(self.folder.glob(f"**/{durable.HALF_WRITTEN}")):
            # Requests are written without the repository's lock.
            if file.parent != self.requests.folder:
                file.unlink(missing_ok=True)
        self.requests.sweep()

    def remove_old_runs(
        self, keep_runs: int, keep_bytes: int, with_kept_work: Collection[str]
    ) -> None:
        """Remove the folders of the oldest runs, until at most so many and so much are
        left.

        The newest stays, and so do those `with_kept_work` and those that have work which
        is in a folder of results alone.
        """
        from runner.core.folders import remove_folder

        folders = sorted((self.folder / "runs").glob("*"))
        sizes = {folder: _size(folder) for folder in folders}
        for folder in folders[:-1]:
            if len(sizes) <= keep_runs and sum(sizes.values()) <= keep_bytes:
                return
            if folder.name not in with_kept_work and not _has_kept_files(folder):
                remove_folder(folder)
                del sizes[folder]

    def tidy(self) -> None:
        """Remove the journal's events if nothing is open. Usage limits stay."""
        state = self.state()
        is_open = (
            state.run
            or state.waiting
            or state.landing
            or state.undo
            or state.unrecorded
            or state.doubts
        )
        if not is_open and self.path.exists():
            lines = []
            for agent, limit in state.limits.limits.items():
                lines.append(json.dumps(limit_event(agent, limit)) + "\n")
            durable.write(self.path, "".join(lines).encode())
            self._last_read = _JournalRead()


def _has_kept_files(run: Path) -> bool:
    """Whether the folder of a run has work that no ref keeps."""
    from runner.core import result_folder

    for name in (result_folder.ARCHIVE, result_folder.BUNDLE):
        for results in ("*", "*/results"):
            if any(run.glob(f"{results}/*/{name}")):
                return True
    return False


def _size(folder: Path) -> int:
    """The bytes of all files in the folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            # A folder that nobody could write to may have been changed by hand.
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118
    return total
