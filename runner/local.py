"""The loop on one machine: choose, run side by side, fan in, land, again, until nothing is ready.

Owns Ctrl-C and what a crash left. The steps themselves are `pipeline`'s; on Actions jobs call them instead.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Protocol

from runner import agents, artifacts, batch, pipeline, process
from runner.attempt import Surroundings
from runner.config import Settings
from runner.errors import Interrupted
from runner.fan_in import FanIn
from runner.gitrepo import Repository
from runner.journal import Journal, State
from runner.landing import Lander, refuse_dirty, target_branch
from runner.models import BatchEntry, Manifest, Result
from runner.snapshot import Snapshot, read_snapshot
from runner.workspace import remove_folder

BASE = "refs/fanin/base"  # keeps a batch's base from being collected while its results are on the way


class Listener(Protocol):
    """Who is told while a run goes on. Called from several threads."""

    def begun(self, snapshot: Snapshot, settings: Settings) -> None: ...

    def batch(self, manifest: Manifest) -> None: ...

    def started(self, entry: BatchEntry) -> None: ...

    def finished(self, entry: BatchEntry, result: Result) -> None: ...

    def fanned_in(self, manifest: Manifest, fan_in: FanIn) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass(frozen=True)
class Ended:
    """How a run ended: what the branch says now, on which branch the work is, and the run's id.

    `waiting` is the branch where work waits that could not reach its own; `unfinished` says why the run stopped
    although tasks are ready.
    """

    snapshot: Snapshot
    branch: str
    run: str
    waiting: str | None = None
    unfinished: str | None = None


class LocalRun:
    """One `fanin run`. Edges are passed in; everything durable is in the repository and its `.git/fanin`."""

    def __init__(self, repo: Repository, settings: Settings, environ: Mapping[str, str], listener: Listener) -> None:
        self.repo, self.settings, self.listener = repo, settings, listener
        self.journal = Journal(repo.git_dir)
        self.cancel = threading.Event()
        self.run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self._around = Surroundings(environ, self.cancel)
        self._spent = 0.0
        self._lander = Lander(repo, self.journal, settings, self._around, listener, "")

    def __call__(self) -> Ended:
        """Work until nothing is ready. Interrupted after Ctrl-C, once what had finished has landed.

        UsageProblem if the work tree is dirty, HEAD detached or another fanin at work here; InvalidInput for the
        plan, the progress or the settings.
        """
        with self.journal.locked(), _interruptible(self.cancel):
            self._lander.branch = target_branch(self.repo, self.settings)
            self._finish_what_was_begun(self.journal.state())
            refuse_dirty(self.repo, self._lander.branch)
            snapshot = self._snapshot()
            batch.refuse_hopeless(snapshot.plan, snapshot.progress, self.settings, agents.agent_for)
            batch.refuse_missing_programs(snapshot.plan, snapshot.progress, self.settings, shutil.which)
            self.journal.tidy()
            with self._scratch(self.run) as scratch:
                ended = self._rounds(snapshot, scratch)
            self.journal.record("end", run=self.run)
        if self.cancel.is_set():
            raise Interrupted("interrupted; what had landed stays", "go on with  fanin run")
        return ended

    @contextmanager
    def _scratch(self, run: str) -> Iterator[Path]:
        """The folder of a run's workspaces, in the journal before it exists so that a crash cannot hide it."""
        scratch = Path(tempfile.gettempdir(), f"fanin-{run}-{secrets.token_hex(4)}")
        self.journal.record("run", run=run, branch=self._lander.branch, scratch=str(scratch), pid=os.getpid())
        scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            remove_folder(scratch)

    def _rounds(self, snapshot: Snapshot, scratch: Path) -> Ended:
        self.listener.begun(snapshot, self.settings)
        limit, stopped = self.settings.limits.max_rounds, None
        for round_number in range(1, limit + 1):
            if self.cancel.is_set() or (stopped := self._too_dear()):
                break
            manifest = self._next(snapshot, round_number)
            if manifest is None:
                break
            self._act(manifest, scratch)
            if not self._fan_in(manifest, scratch):
                stopped = "a whole batch brought neither a success nor a counted attempt"
                break
            snapshot = self._snapshot()
        else:
            stopped = f"limits.max_rounds = {limit} rounds are done"
        waiting = self.journal.state().waiting
        return Ended(self._snapshot(), self._lander.branch, self.run, waiting.on if waiting else None, stopped)

    def _snapshot(self) -> Snapshot:
        return read_snapshot(self.repo, self._lander.head(), self.settings.plan, self.settings.progress)

    def _too_dear(self) -> str | None:
        limit = self.settings.limits.max_cost_usd
        if limit is None or self._spent < limit:
            return None
        return f"${self._spent:.2f} are spent, limits.max_cost_usd is ${limit:.2f}"

    def _next(self, snapshot: Snapshot, round_number: int) -> Manifest | None:
        return pipeline.next_batch(
            snapshot,
            self.settings,
            run=self.run,
            round_number=round_number,
            branch=self._lander.branch,
            slots=self.settings.slots,
        )

    def _act(self, manifest: Manifest, scratch: Path) -> None:
        """Run every task of the batch to its end, whatever happens to the others."""
        results = self.journal.write_manifest(manifest)
        self.repo.set_ref(f"{BASE}/{manifest.batch}", manifest.base)
        self.journal.record("batch", run=manifest.run, round=manifest.round)
        self.listener.batch(manifest)
        origin = self.repo.origin

        def attempt(entry: BatchEntry) -> None:
            if self.cancel.is_set():
                return
            self.listener.started(entry)
            result = pipeline.run_task(
                manifest, entry, origin=origin, results=results, scratch=scratch, around=self._around
            )
            self.listener.finished(entry, result)

        if len(manifest.entries) == 1:
            attempt(manifest.entries[0])
            return
        with ThreadPoolExecutor(len(manifest.entries), thread_name_prefix="fanin") as pool:
            for done in [pool.submit(attempt, entry) for entry in manifest.entries]:
                done.result()

    def _fan_in(self, manifest: Manifest, scratch: Path) -> bool:
        """Merge the batch and land it; whether it is worth going on.

        It is if something landed, an attempt counted, or the branch moved meanwhile, so that the next batch starts
        from something else.
        """
        results = self.journal.round_folder(manifest.run, manifest.round) / "results"
        fan_in = self._lander.fan_in(manifest, results, scratch)
        self.journal.record("fanned-in", run=manifest.run, round=manifest.round)
        self.repo.delete_ref(f"{BASE}/{manifest.batch}")
        self._spent += sum(result.usage.cost_usd or 0.0 for result in fan_in.results)
        self.listener.fanned_in(manifest, fan_in)
        counted = any(failure.counted for failure in fan_in.failed.values())
        return bool(fan_in.landed) or counted or fan_in.head != manifest.base

    # -- what a crash or an obstacle left ---------------------------------------------------------------------

    def _finish_what_was_begun(self, state: State) -> None:
        """End what a dead run left running, finish its landing and its batch; free work that waited."""
        if state.run is not None:
            self.listener.note(f"run {state.run} did not end; finishing what it began")
            self._end_left_processes(state)
        self.journal.sweep()
        self._forget_bases(state)
        if state.landing:
            for path in self.repo.undo_interrupted(state.landing.branch, state.landing.old, state.landing.new):
                self.listener.note(f"{path} holds neither its old nor its new content; it is left as it is")
        if state.waiting:
            self._lander.free(state.waiting)
        if state.run is not None:
            if state.batch is not None:
                self._resume(*state.batch)
            self.journal.record("end", run=state.run)

    def _end_left_processes(self, state: State) -> None:
        """First the processes, then their folders: an agent that still writes would bring them back."""
        scratch = Path(state.scratch) if state.scratch else None
        cookies = [file.read_text() for file in scratch.glob("*/cookie")] if scratch else []
        if state.batch is not None:
            results = self.journal.round_folder(*state.batch) / "results"
            cookies += [attempt.cookie for attempt in artifacts.attempts(results) if attempt.cookie]
        for cookie in cookies:
            process.end_cookie(cookie)
        if scratch is not None and scratch.name.startswith("fanin-"):
            remove_folder(scratch)

    def _forget_bases(self, state: State) -> None:
        """Unpin the bases of batches that are not open: a crash may come between a batch's end and that of its pin."""
        still = f"{BASE}/{state.batch[0]}.{state.batch[1]}" if state.batch else None
        for ref in self.repo.refs(BASE):
            if ref != still:
                self.repo.delete_ref(ref)

    def _resume(self, run: str, round_number: int) -> None:
        """Fan in the batch of a dead run: what had finished lands, what had begun counts, nothing runs again."""
        folder = self.journal.round_folder(run, round_number)
        try:
            manifest, _ = self.journal.read_manifest(run, round_number)
        except (OSError, ValueError):
            self.listener.note(
                f"the manifest of batch {run}.{round_number} is unreadable; its results stay in {folder}"
            )
            return
        if self.repo.commit(manifest.base) is None:
            self.listener.note(f"the base of batch {manifest.batch} is gone; its results stay in {folder}")
            return
        chosen, self._lander.branch = self._lander.branch, manifest.branch
        with self._scratch(run) as scratch:
            self._fan_in(manifest, scratch)
        if self._lander.branch == manifest.branch:
            self._lander.branch = chosen


@contextmanager
def _interruptible(cancel: threading.Event) -> Iterator[None]:
    """The first SIGINT, SIGTERM or SIGHUP asks the run to end; a second one ends it at once."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Not where it is ignored already: that is what nohup is for.
    heard = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
