"""The live state of runs on this machine, in `.git/fanin/`: a lock, an append-only
journal, a folder per run.

    lock                  held by the one fanin that works here
    journal.jsonl         one durable line per event; what it says is folded by `State.after`
    runs/<run>/<round>/   manifest.json, and results/ with the result folders

A run that died is the journal's last run without an end; the next one finishes what it
began.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock

from runner.core import durable, result_folder
from runner.core.errors import EnvironmentBroken, UsageProblem
from runner.core.manifest import Manifest

KEPT_RUNS = 10
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Landing:
    """A move of a branch that was begun: from commit `old` to `new`."""

    branch: str
    old: str
    new: str


@dataclass(frozen=True)
class Waiting:
    """Finished work that could not reach its branch `target`, on the branch `on`."""

    target: str
    on: str


@dataclass(frozen=True)
class State:
    """What the journal says. `open` are the batches, as (run, round), begun and not
    fanned in; `accepted` are those that the rolling schedule has merged and not landed
    yet; `scratch` is the folder of workspaces that a crash may have left. `freed` is
    what waited while the run's batches were chosen and has reached its branch since.
    """

    run: str | None = None
    branch: str | None = None
    open: tuple[tuple[str, int], ...] = ()
    accepted: tuple[tuple[str, int], ...] = ()
    landing: Landing | None = None
    waiting: Waiting | None = None
    scratch: str | None = None
    freed: tuple[Waiting, ...] = ()

    def after(self, event: Mapping[str, Any]) -> State:
        """The state after one event; those of a newer fanin are passed over. KeyError
        or TypeError if it is none.
        """
        match event.get("event"):
            case "run":
                return replace(
                    self,
                    run=_text(event["run"]),
                    branch=event["branch"],
                    scratch=event["scratch"],
                )
            case "batch":
                return replace(self, open=(*self.open, _batch(event)))
            case "accepted":
                accepted = (*self.accepted, _batch(event))
                return replace(self, open=_without(self.open, event), accepted=accepted)
            case "landing":
                return replace(
                    self,
                    landing=Landing(
                        _text(event["branch"]), _text(event["old"]), _text(event["new"])
                    ),
                )
            case "waiting":
                target = self.waiting.target if self.waiting else event.get("branch")
                return replace(
                    self, waiting=Waiting(str(target), _text(event["on"])), landing=None
                )
            # closed: by a rolling run, while another's landing may be on its way
            case "fanned-in" | "closed" as how:
                landing = self.landing if how == "closed" else None
                accepted = _without(self.accepted, event)
                return replace(
                    self,
                    open=_without(self.open, event),
                    accepted=accepted,
                    landing=landing,
                )
            case "flushed":
                return replace(
                    self, accepted=self._after_flush(event.get("rounds")), landing=None
                )
            case "freed":
                return replace(
                    self,
                    waiting=None,
                    freed=(*self.freed, *([self.waiting] if self.waiting else [])),
                )
            case "end":
                return replace(
                    self,
                    run=None,
                    open=(),
                    accepted=(),
                    landing=None,
                    scratch=None,
                    freed=(),
                )
        return self

    def _after_flush(self, rounds: Sequence[int] | None) -> tuple[tuple[str, int], ...]:
        """The accepted batches that did not land with these; an older fanin landed all
        and named none.
        """
        return tuple(
            each
            for each in self.accepted
            if rounds is not None and each[1] not in rounds
        )

    def place_for(self, branch: str) -> str:
        """Where work for the branch lands: where other work for it waits, so that one
        builds on the other.
        """
        return (
            self.waiting.on
            if self.waiting and self.waiting.target == branch
            else branch
        )

    def place_of_batch(self, branch: str) -> str:
        """Where a begun batch for the branch lands: a branch that work waited on ends
        with the waiting.
        """
        return self.place_for(
            next((freed.target for freed in self.freed if freed.on == branch), branch)
        )


class Journal:
    """The folder `.git/fanin/` of one repository."""

    def __init__(self, git_dir: Path) -> None:
        self.folder = git_dir / "fanin"
        self.path = self.folder / "journal.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the repository for one fanin. UsageProblem, naming the holder, if
        another one works here.
        """
        self.folder.mkdir(exist_ok=True)
        lock, holder = filelock.FileLock(self.folder / "lock"), self.folder / "holder"
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            who = holder.read_text().strip() if holder.exists() else "unknown"
            raise UsageProblem(
                f"another fanin is at work in this repository (process {who})",
                "wait for it to end, or end it with Ctrl-C",
            ) from None
        try:
            holder.write_text(str(os.getpid()))
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def record(self, event: str, **details: Any) -> None:
        """Add one event, durably. Any number of threads and processes may do so at
        once.
        """
        self.record_all([{"event": event, **details}])

    def record_all(
        self, events: Sequence[Mapping[str, Any]], *, synced: bool = True
    ) -> None:
        """Add events, in the time of one."""
        lines = [json.dumps(event, ensure_ascii=False) for event in events]
        with self._writing():
            self.folder.mkdir(exist_ok=True)
            durable.append_lines(self.path, lines, synced=synced)

    def open(self, manifest: Manifest, *, synced: bool = True) -> None:
        """Say that a batch is open, before its first agent starts: its manifest, and a
        line. Durable after `sync`.
        """
        folder = self.round_folder(manifest.run, manifest.round)
        with self._writing():
            durable.write(
                folder / MANIFEST,
                manifest.model_dump_json(indent=1).encode(),
                synced=False,
            )
            (folder / "results").mkdir(exist_ok=True)
        self.record_all(
            [{"event": "batch", "run": manifest.run, "round": manifest.round}],
            synced=False,
        )
        if synced:
            self.sync(manifest)

    def sync(self, manifest: Manifest) -> None:
        """Make durable that the batch is open."""
        folder = self.round_folder(manifest.run, manifest.round)
        with self._writing():
            durable.sync_files([folder / MANIFEST, folder, self.path])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EnvironmentBroken(
                f"cannot write {error.filename or self.path}: {error.strerror}",
                "free space on the disk or mend the folder's permissions, then run again",
            ) from None

    def events(self) -> list[dict[str, Any]]:
        """Every readable event in order. A line torn by a crash is passed over; what it
        told never began.
        """
        if not self.path.exists():
            return []
        return list(_readable(self.path.read_bytes().splitlines()))

    def state(self) -> State:
        state = State()
        for event in self.events():
            # a line that is JSON and no event of ours tells nothing
            with suppress(KeyError, TypeError):
                state = state.after(event)
        return state

    def round_folder(self, run: str, round_number: int) -> Path:
        return self.folder / "runs" / run / str(round_number)

    def read_manifest(self, run: str, round_number: int) -> tuple[Manifest, Path]:
        folder = self.round_folder(run, round_number)
        return Manifest.model_validate_json(
            (folder / MANIFEST).read_bytes()
        ), folder / "results"

    def sweep(self) -> None:
        """Remove what a killed fanin left half-made in its own folder. Only under the
        lock.
        """
        half_written = self.folder.glob(f"**/{durable.HALF_WRITTEN}")
        for left in [
            *self.folder.glob("quarantine-*"),
            *self.folder.glob("tmp*"),
            *half_written,
        ]:
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(
                missing_ok=True
            )

    def tidy(self) -> None:
        """Forget old runs: their logs and results, and the journal's lines once nothing
        is open.
        """
        runs = sorted((self.folder / "runs").glob("*"), key=lambda folder: folder.name)
        for folder in runs[:-KEPT_RUNS]:
            shutil.rmtree(folder, ignore_errors=True)
        state = self.state()
        if (
            state.run is None
            and state.waiting is None
            and state.landing is None
            and self.path.exists()
        ):
            durable.write(self.path, b"")

    def running(self) -> list[str]:
        """Ids of the tasks whose attempt began in an open batch and has left no result
        yet.
        """
        found = []
        for batch in self.state().open:
            manifest, results = self.read_manifest(*batch)
            found += [
                entry.task.id
                for entry in manifest.entries
                if (results / entry.folder / result_folder.ATTEMPT).exists()
                and not (results / entry.folder / result_folder.RESULT).exists()
            ]
        return found


def _batch(event: Mapping[str, Any]) -> tuple[str, int]:
    return _text(event["run"]), _number(event["round"])


def _without(
    batches: Iterable[tuple[str, int]], event: Mapping[str, Any]
) -> tuple[tuple[str, int], ...]:
    batch = _batch(event)
    return tuple(each for each in batches if each != batch)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no number")
    return value


def _readable(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event
