"""The live state of runs on this machine, in `.git/fanin/`: a lock, an append-only
journal, a folder per run.

    lock                  held while a fanin process works in this repository
    verdicts.json         what `verify` said of trees
    requests/             what persons asked for while a run was in progress
    journal.jsonl         one durable line per event; `State.after` folds them
    runs/<run>/           events.jsonl, what has happened in the run
    runs/<run>/<round>/   manifest.json, and results/ with the result folders

If the journal's last run has no end, it crashed, and the next run finishes it. The journal
has the content of manifests and small results too: one fsync of it makes them durable, and
`restore` writes what a power failure took of their files.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from runner.core import durable, file_lock
from runner.core.errors import EnvironmentBroken, UsageProblem
from runner.core.folders import remove_folder
from runner.core.task import PlanSettings
from runner.local import lost_state
from runner.local.request_folder import RequestFolder
from runner.repo.landing import Landing
from runner.schedule.limit_waits import LimitWaits, UsageLimit

# Every command reads the journal: the models of what only some journals have are
# imported when there is one.
if TYPE_CHECKING:
    from runner.core.manifest import Manifest
    from runner.plan.changes import ChangeSet

MANIFEST = "manifest.json"
_MAX_MANIFEST = 2**20  # bytes, of about a thousand tasks
# How the journal's lines with files begin. They are most of its bytes.
_FILES = b'{"event": "files"'
# Bytes by which the journal grows before it drops the files of batches that are over.
_MAX_GROWTH = 2**23
VERDICTS = "verdicts.json"  # there once verify has run


class RepositoryInUse(UsageProblem):
    """Another fanin works in this repository."""


class WaitingWork(NamedTuple):
    """Finished work that could not reach its branch `target`, on another `branch`."""

    target: str
    branch: str


class Doubt(NamedTuple):
    """A `commit` that came to the branch while a run was in progress and that an agent
    may have made. `old` is the branch's commit before; `reason` says why.
    """

    branch: str
    commit: str
    old: str
    reason: str


class Unrecorded(NamedTuple):
    """Changes of a plan's progress that no commit of the `branch` has yet.

    `progress` is the path of the progress file.
    """

    branch: str
    plan: PlanSettings
    progress: str
    changes: ChangeSet


class State(NamedTuple):
    """The state that the events of the journal add up to.

    `landing` may not have finished, and the landings in `undo` failed and are not undone
    yet, the newest last. `waiting` has at most one entry for a target. `open` are
    the batches, as (run, round), that have started and are not merged; `accepted` those
    that the rolling schedule has merged and not landed yet. `scratch` is the folder of
    workspaces that a crash may have left. `freed` is work that waited when the run's
    batches were chosen and has reached its branch since. `unrecorded` are in the order in
    which they became durable. They, `limits`, which are the usage limits of agents, and
    `doubts`, which a person has to settle, last beyond a run.
    """

    run: str | None = None
    branch: str | None = None
    open: tuple[tuple[str, int], ...] = ()
    accepted: tuple[tuple[str, int], ...] = ()
    landing: Landing | None = None
    undo: tuple[Landing, ...] = ()
    waiting: tuple[WaitingWork, ...] = ()
    scratch: str | None = None
    freed: tuple[WaitingWork, ...] = ()
    unrecorded: tuple[Unrecorded, ...] = ()
    limits: LimitWaits = LimitWaits()
    doubts: tuple[Doubt, ...] = ()

    def after(self, event: Mapping[str, Any]) -> State:
        """The state after one event; those of a newer fanin change nothing.

        KeyError or TypeError if it is not a valid event.
        """
        match event.get("event"):
            case "run":
                return self._replace(
                    run=_text(event["run"]),
                    branch=event["branch"],
                    scratch=event["scratch"],
                )
            case "batch" | "accepted" | "fanned-in" | "closed":
                return self._after_batch_event(event)
            case "landing":
                return self._replace(landing=_landing(event))
            case "waiting" | "freed":
                return self._after_waiting_event(event)
            case "failed" | "requested" | "recorded":
                return self._after_changes(event)
            case "flushed":
                accepted = self._still_accepted(event.get("rounds"))
                return self._replace(accepted=accepted, landing=None)
            case "undone":
                return self._replace(undo=())
            case "limit" | "doubted" | "settled":
                return self._after_lasting_event(event)
            case "end":
                # Work waits on after the run.
                return State(
                    branch=self.branch,
                    waiting=self.waiting,
                    undo=self.undo,
                    unrecorded=self.unrecorded,
                    limits=self.limits,
                    doubts=self.doubts,
                )
        return self

    def _after_lasting_event(self, event: Mapping[str, Any]) -> State:
        if event["event"] == "limit":
            return self._replace(limits=_limits_after(self.limits, event))
        commit = _text(event["commit"])
        doubts = [doubt for doubt in self.doubts if doubt.commit != commit]
        if event["event"] == "doubted":
            branch, old, reason = (
                _text(event[name]) for name in ("branch", "old", "reason")
            )
            doubts.append(Doubt(branch, commit, old, reason))
        return self._replace(doubts=tuple(doubts))

    def _after_batch_event(self, event: Mapping[str, Any]) -> State:
        batch = _batch(event)
        if event["event"] == "batch":
            return self._replace(open=(*self.open, batch))
        still_open = _without(self.open, batch)
        if event["event"] == "accepted":
            return self._replace(open=still_open, accepted=(*self.accepted, batch))
        # "closed": the rolling schedule may have a landing of other batches in progress
        landing = self.landing if event["event"] == "closed" else None
        accepted = _without(self.accepted, batch)
        return self._replace(open=still_open, accepted=accepted, landing=landing)

    def _after_changes(self, event: Mapping[str, Any]) -> State:
        if event["event"] == "recorded":
            ids = {_text(each) for each in event["ids"]}
            return self._replace(unrecorded=self._without_changes(ids))
        from runner.plan.changes import ChangeSet, parse_changes

        unrecorded = Unrecorded(
            _text(event["branch"]),
            _plan(event["plan"]),
            _text(event["progress"]),
            ChangeSet(_text(event["id"]), parse_changes(event["changes"])),
        )
        others = self._without_changes({unrecorded.changes.id})
        after = self._replace(unrecorded=(*others, unrecorded))
        if event["event"] == "requested":
            return after
        # A batch is over in which nothing landed.
        batch = _batch(event)
        still_open = _without(self.open, batch)
        return after._replace(open=still_open, accepted=_without(self.accepted, batch))

    def _without_changes(self, ids: Container[str]) -> tuple[Unrecorded, ...]:
        return tuple(each for each in self.unrecorded if each.changes.id not in ids)

    def _after_waiting_event(self, event: Mapping[str, Any]) -> State:
        if event["event"] == "freed":
            return self._after_freed(event)
        target = _text(event["branch"])
        for work in self.waiting:
            # Work that waited already moves on to another branch, for the same target.
            if work.branch == target:
                target = work.target
        others = [work for work in self.waiting if work.target != target]
        waiting = (*others, WaitingWork(target, _text(event["on"])))
        undo = self.undo
        if not event.get("undone", True) and self.landing is not None:
            undo = (*undo, self.landing)
        return self._replace(waiting=waiting, landing=None, undo=undo)

    def _after_freed(self, event: Mapping[str, Any]) -> State:
        freed = [work for work in self.waiting if work.branch == event["branch"]]
        waiting = [work for work in self.waiting if work not in freed]
        return self._replace(waiting=tuple(waiting), freed=(*self.freed, *freed))

    def _still_accepted(
        self, landed_rounds: Sequence[int] | None
    ) -> tuple[tuple[str, int], ...]:
        """The accepted batches that are not of the landed rounds."""
        # An older fanin landed all of them and named none.
        if landed_rounds is None:
            return ()
        return tuple(batch for batch in self.accepted if batch[1] not in landed_rounds)

    def landing_branch(self, branch: str) -> str:
        """The branch that work for `branch` lands on: its waiting branch, if any."""
        for work in self.waiting:
            if work.target == branch:
                return work.branch
        return branch

    def unrecorded_on(self, branch: str, progress: str) -> list[ChangeSet]:
        """The changes that the branch is to record in the progress file at `progress`."""
        found = []
        for each in self.unrecorded:
            target = self.landing_branch_of_batch(each.branch)
            if target == branch and each.progress == progress:
                found.append(each.changes)
        return found

    def landing_branch_of_batch(self, branch: str) -> str:
        """The branch that a batch lands on if it was chosen for `branch`.

        If `branch` held waiting work that has reached its target since, the batch lands
        on the target.
        """
        for freed in self.freed:
            if freed.branch == branch:
                return self.landing_branch(freed.target)
        return self.landing_branch(branch)


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
                events.append(_limit_event(agent, limit))
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
            if line.startswith(_FILES):
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

        batch = _batch(event)
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
        return list(_readable(data.splitlines()))

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
        state = _after(before.state, data[:size])
        self._last_read = _JournalRead(inode, before.size + size, state)
        return _after(state, data[size:])

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
                lines.append(json.dumps(_limit_event(agent, limit)) + "\n")
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


def _batch(event: Mapping[str, Any]) -> tuple[str, int]:
    return _text(event["run"]), _number(event["round"])


def _plan(document: object) -> PlanSettings:
    try:
        return PlanSettings.model_validate(document)
    except ValidationError as error:
        raise TypeError(str(error)) from None


def _landing(event: Mapping[str, Any]) -> Landing:
    occupied = event.get("occupied")  # an older fanin did not know them
    if occupied is not None:
        occupied = tuple(_text(path) for path in occupied)
    branch, old, new = (_text(event[name]) for name in ("branch", "old", "new"))
    return Landing(branch, old, new, occupied)


def _limit_event(agent: str, limit: UsageLimit | None) -> dict[str, Any]:
    """The event of an agent's usage limit; None: it has no limit any more."""
    event: dict[str, Any] = {"event": "limit", "agent": agent}
    if limit is not None:
        event["until"] = limit.until.isoformat()
        event["since"] = limit.since.isoformat()
        event["known"] = limit.is_known
        event["repeats"] = limit.repeats
    return event


def _limits_after(limits: LimitWaits, event: Mapping[str, Any]) -> LimitWaits:
    by_agent = dict(limits.limits)
    agent = _text(event["agent"])
    by_agent.pop(agent, None)
    if "until" in event:
        by_agent[agent] = UsageLimit(
            _time(event["until"]),
            _time(event["since"]),
            bool(event["known"]),
            _number(event["repeats"]),
        )
    return LimitWaits(by_agent)


def _time(value: object) -> datetime:
    try:
        time = datetime.fromisoformat(_text(value))
    except ValueError:
        raise TypeError(f"{value!r} is not a time") from None
    if time.tzinfo is None:
        raise TypeError(f"{value!r} has no zone")
    return time


def _without(
    batches: Iterable[tuple[str, int]], batch: tuple[str, int]
) -> tuple[tuple[str, int], ...]:
    return tuple(each for each in batches if each != batch)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not an integer")
    return value


def _after(state: State, data: bytes) -> State:
    """The state after the events in these lines."""
    lines = data.splitlines()
    # What the files are changes nothing.
    for event in _readable(each for each in lines if not each.startswith(_FILES)):
        # JSON that is not a valid event changes nothing.
        with suppress(KeyError, TypeError):
            state = state.after(event)
    return state


def _readable(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event
