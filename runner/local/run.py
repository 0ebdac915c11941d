"""The loop on one machine: choose, run side by side, fan in, land, again, until nothing
is ready.

Owns Ctrl-C and what a crash left. The steps themselves are `pipeline`'s; on Actions
jobs call them instead.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from runner import pipeline
from runner.agents import process
from runner.attempt.attempt import AttemptContext
from runner.attempt.workspace import remove_folder
from runner.attempt.workspace_pool import WorkspacePool
from runner.config.settings import Settings
from runner.core import result_folder
from runner.core.errors import Interrupted, InvalidInput
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import FailureKind, Result
from runner.core.task import Task
from runner.fan_in.batch_merge import FanIn
from runner.local import rolling
from runner.local.journal import Journal, State
from runner.local.landing import BranchLander, refuse_dirty, target_branch
from runner.local.rolling import RUNS, Attempt, Rolling
from runner.pipeline import Workspaces
from runner.plan.snapshot import Snapshot, read_snapshot, read_template
from runner.repo.repository import Repository
from runner.schedule.backoff import Backoff
from runner.schedule.budget import Budget, UsageTotal
from runner.schedule.preflight import preflight
from runner.schedule.ready_queue import ReadyQueue

# keeps a batch's base from being collected while its results are on the way
BASE = "refs/fanin/base"


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
    """How a run ended: what the branch says now, on which branch the work is, and the
    run's id.

    `waiting` is the branch where work waits that could not reach its own; `unfinished`
    says why the run stopped although tasks are ready. `used` is what the attempts
    reported.
    """

    snapshot: Snapshot
    branch: str
    run: str
    waiting: str | None = None
    used: UsageTotal = field(default_factory=UsageTotal)
    unfinished: str | None = None


class LocalRun:
    """One `fanin run`. Edges are passed in; everything durable is in the repository and
    its `.git/fanin`.
    """

    def __init__(
        self,
        repo: Repository,
        settings: Settings,
        environ: Mapping[str, str],
        listener: Listener,
    ) -> None:
        self.repo, self.settings, self.listener = repo, settings, listener
        self.journal = Journal(repo.git_dir)
        self.cancel = threading.Event()
        self.run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self._around = AttemptContext(environ, self.cancel)
        self._budget = Budget(settings.limits.max_cost_usd)
        self._used = UsageTotal()
        self._pace = Backoff.full(settings.slots)
        self._lander = BranchLander(
            repo, self.journal, settings, self._around, listener, ""
        )

    def __call__(self) -> Ended:
        """Work until nothing is ready. Interrupted after Ctrl-C, once what had finished
        has landed.

        UsageProblem if the work tree is dirty, HEAD detached or another fanin at work
        here; InvalidInput for the plan, the progress or the settings.
        """
        with self.journal.locked(), _interruptible(self.cancel):
            self._lander.branch = target_branch(self.repo, self.settings)
            self._finish_what_was_begun(self.journal.state())
            refuse_dirty(self.repo, self._lander.branch)
            snapshot = self._snapshot()
            self._preflight(snapshot)
            self.journal.tidy()
            with (
                self._scratch(self.run) as scratch,
                WorkspacePool(self.repo.origin, scratch, self.repo.tree) as spaces,
            ):
                self.listener.begun(snapshot, self.settings)
                go = self._roll if self.settings.schedule == "rolling" else self._rounds
                stopped = go(snapshot, scratch, spaces)
                ended = self._ended(stopped)
            self.journal.record("end", run=self.run)
        if self.cancel.is_set():
            raise Interrupted(
                "interrupted; what had landed stays", "go on with  fanin run"
            )
        return ended

    @contextmanager
    def _scratch(self, run: str) -> Iterator[Path]:
        """The folder of a run's workspaces, in the journal before it exists so that a
        crash cannot hide it.
        """
        scratch = Path(tempfile.gettempdir(), f"fanin-{run}-{secrets.token_hex(4)}")
        self.journal.record(
            "run",
            run=run,
            branch=self._lander.branch,
            scratch=str(scratch),
            pid=os.getpid(),
        )
        scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            remove_folder(scratch)

    def _rounds(
        self, snapshot: Snapshot, scratch: Path, spaces: WorkspacePool
    ) -> str | None:
        """Batch after batch; why it stopped although tasks may be ready, None if none
        is.
        """
        limit = self.settings.limits.max_rounds
        for round_number in range(1, limit + 1):
            if self.cancel.is_set():
                return None
            if stopped := self._too_dear(snapshot):
                return stopped
            manifest = self._next(snapshot, round_number)
            if manifest is None:
                return None
            self._act(manifest, self._attempt_in(scratch, spaces))
            stopped = self._fan_in(manifest, scratch)
            self.repo.delete_ref(f"{BASE}/{manifest.batch}")
            if stopped:
                return stopped
            snapshot = self._snapshot()
            if round_number < limit:
                self._wait()
        return f"limits.max_rounds = {limit} rounds are done"

    def _roll(
        self, snapshot: Snapshot, scratch: Path, spaces: WorkspacePool
    ) -> str | None:
        """Start each task the moment its dependencies are merged; why it stopped, as
        `_rounds`.
        """
        roll = Rolling(
            self.repo,
            self.journal,
            self.settings,
            self._lander,
            self.listener,
            snapshot,
            self.run,
        )

        upcoming = ReadyQueue(self.settings.max_attempts)

        def choose(
            head: Snapshot,
            running: Sequence[Manifest],
            ended: Sequence[Manifest],
            number: int,
        ) -> Manifest | None:
            upcoming.sync(head, [manifest.entries[0].task.id for manifest in running])
            manifest = self._next_for_a_slot(upcoming, head, running, ended, number)
            # all that can start has started: make ready what the next ones need
            if manifest is None:
                spaces.keep(
                    min(self.settings.slots, upcoming.waiting),
                    head.commit,
                    pipeline.branch_of("000"),
                )
            else:
                upcoming.mark_started(manifest.entries[0].task.id)
            return manifest

        def settle(manifest: Manifest, fan_in: FanIn, head: Snapshot) -> str | None:
            upcoming.mark_done(manifest.entries[0].task.id, head.progress)
            return self._settle_one(manifest, fan_in, head)

        stopped = roll(self._attempt_in(scratch, spaces), scratch, choose, settle)
        # where nothing could start, no result has told it
        return stopped or self._too_dear(self._snapshot())

    def _next_for_a_slot(
        self,
        upcoming: ReadyQueue,
        snapshot: Snapshot,
        running: Sequence[Manifest],
        ended: Sequence[Manifest],
        round_number: int,
    ) -> Manifest | None:
        """A batch of one beside the running ones, None if no slot is free or nothing
        may start.
        """
        free = self._pace.agents - len(running) + len(ended)
        if self.cancel.is_set() or free <= 0:
            return None
        busy = [manifest.entries[0].task for manifest in running]
        ending = [manifest.entries[0].task.id for manifest in ended]

        def pick(slots: int) -> list[Task]:
            return (
                upcoming.pick_during_merge(ending, free, busy)[:slots]
                if ending
                else upcoming.pick(slots, busy)
            )

        reserved = sum(manifest.entries[0].reserved_usd or 0.0 for manifest in running)
        budget = replace(self._budget, spent_usd=self._budget.spent_usd + reserved)
        # or the first would reserve all, and the others wait for it
        sharing = min(free, upcoming.ready)
        return self._next(
            snapshot, round_number, slots=1, budget=budget, pick=pick, sharing=sharing
        )

    def _settle_one(
        self, manifest: Manifest, fan_in: FanIn, snapshot: Snapshot
    ) -> str | None:
        """Why nothing more may start, or None. A result is stale only where a person
        has moved the branch meanwhile.
        """
        moved = any(
            failure.kind is FailureKind.STALE for failure in fan_in.failed.values()
        )
        stopped = self._settle(manifest, fan_in, moved=moved) or self._too_dear(
            snapshot
        )
        if stopped is None:
            self._wait()
        return stopped

    def _ended(self, stopped: str | None) -> Ended:
        waiting = self.journal.state().waiting
        return Ended(
            self._snapshot(),
            self._lander.branch,
            self.run,
            waiting.on if waiting else None,
            self._used,
            stopped,
        )

    def _snapshot(self) -> Snapshot:
        return read_snapshot(
            self.repo, self._lander.head(), self.settings.plan, self.settings.progress
        )

    def _preflight(self, snapshot: Snapshot) -> None:
        """Raise InvalidInput, before anything is paid for, if a task can never succeed
        or a program or key is missing.
        """
        report = preflight(
            snapshot.plan,
            snapshot.progress,
            self.settings,
            environ=self._around.environ,
        )
        if report.problems or report.missing:
            raise InvalidInput([*report.problems, *report.missing])
        for note in report.notes:
            self.listener.note(note)

    def _too_dear(self, snapshot: Snapshot) -> str | None:
        """Why nothing more may start although something is ready."""
        stopped = self._budget.stop_reason()
        if stopped is None:
            return None
        standings = snapshot.progress.standings(
            snapshot.plan, self.settings.max_attempts
        )
        return stopped if snapshot.graph.ready(standings) else None

    def _wait(self) -> None:
        """Give a model that refused us time, unless a person ends the run meanwhile."""
        if pause := self._pace.pause_seconds(random.random):  # no secret: jitter
            self.listener.note(
                f"rate limit or overload: waiting {pause:.0f} s, then {self._pace.agents} at a time"
            )
            self.cancel.wait(pause)

    def _next(
        self, snapshot: Snapshot, round_number: int, **beside: Any
    ) -> Manifest | None:
        template = self.settings.prompt_template
        return pipeline.next_batch(
            snapshot,
            self.settings,
            run=self.run,
            round_number=round_number,
            branch=self._lander.branch,
            template=read_template(
                template,
                self.repo.file(snapshot.commit, template) if template else None,
            ),
            **{"slots": self._pace.agents, "budget": self._budget, **beside},
        )

    def _act(self, manifest: Manifest, attempt: Attempt) -> None:
        """Run every task of the batch to its end, whatever happens to the others."""
        self.journal.open(manifest)
        self.repo.set_ref(f"{BASE}/{manifest.batch}", manifest.base)
        self.listener.batch(manifest)
        if len(manifest.entries) == 1:
            attempt(manifest, manifest.entries[0], rolling.nobody, rolling.nobody)
            return
        with ThreadPoolExecutor(
            len(manifest.entries), thread_name_prefix="fanin"
        ) as pool:
            for done in [
                pool.submit(attempt, manifest, e, rolling.nobody, rolling.nobody)
                for e in manifest.entries
            ]:
                done.result()

    def _attempt_in(self, scratch: Path, spaces: Workspaces) -> Attempt:
        """How one attempt is run, with its beginning and its end told."""
        origin = self.repo.origin

        def attempt(
            manifest: Manifest,
            entry: BatchEntry,
            ended: Callable[[], object],
            recorded: Callable[[], object],
        ) -> None:
            if self.cancel.is_set():
                return
            results = (
                self.journal.round_folder(manifest.run, manifest.round) / "results"
            )
            self.listener.started(entry)
            attempt_context = replace(self._around, ended=ended, recorded=recorded)
            result = pipeline.run_task(
                manifest,
                entry,
                origin=origin,
                results=results,
                scratch=scratch,
                attempt_context=attempt_context,
                spaces=spaces,
            )
            self.listener.finished(entry, result)

        return attempt

    def _fan_in(self, manifest: Manifest, scratch: Path) -> str | None:
        """Merge the batch and land it; why it is not worth going on, or None.

        It is worth it if something landed, an attempt counted, or the branch moved
        meanwhile, so that the next batch starts from something else; and for a while if
        the model only refused us.
        """
        results = self.journal.round_folder(manifest.run, manifest.round) / "results"
        fan_in = self._lander.fan_in(manifest, results, scratch)
        self.journal.record("fanned-in", run=manifest.run, round=manifest.round)
        self.listener.fanned_in(manifest, fan_in)
        for warning in fan_in.warnings:
            self.listener.note(f"warning: {warning}")
        return self._settle(manifest, fan_in, moved=fan_in.head != manifest.base)

    def _settle(self, manifest: Manifest, fan_in: FanIn, *, moved: bool) -> str | None:
        """Count what a batch cost and whether the model refused us; why it is not worth
        going on, or None.
        """
        self._budget = self._budget.after(manifest, fan_in.results)
        self._used = self._used.plus(fan_in.results)
        counted = any(failure.counted for failure in fan_in.failed.values())
        progressed = bool(fan_in.landed) or counted or moved
        limited = any(
            failure.kind is FailureKind.RATE_LIMIT for failure in fan_in.failed.values()
        )
        self._pace = self._pace.after(limited=limited, progressed=progressed)
        if progressed:
            return None
        return (
            self._pace.stop_reason()
            if limited
            else "a whole batch brought neither a success nor a counted attempt"
        )

    # -- what a crash or an obstacle left --

    def _finish_what_was_begun(self, state: State) -> None:
        """End what a dead run left running, finish its landing and its batch; free work
        that waited.
        """
        if state.run is not None:
            self.listener.note(f"run {state.run} did not end; finishing what it began")
            self._end_left_processes(state)
        self.journal.sweep()
        if state.landing:
            for path in self.repo.undo_interrupted(
                state.landing.branch, state.landing.old, state.landing.new
            ):
                self.listener.note(
                    f"{path} holds neither its old nor its new content; it is left as it is"
                )
        if state.waiting:
            self._lander.free(state.waiting)
        if state.run is not None:
            chosen = self._lander.branch
            for begun in (*state.accepted, *state.open):
                self._resume(*begun)
            self._lander.branch = self.journal.state().place_for(chosen)
            self.journal.record("end", run=state.run)
        self._forget_heads()

    def _end_left_processes(self, state: State) -> None:
        """First the processes, then their folders: an agent that still writes would
        bring them back.
        """
        scratch = Path(state.scratch) if state.scratch else None
        cookies = (
            [file.read_text() for file in scratch.glob("*/cookie")] if scratch else []
        )
        for begun in state.open:
            results = self.journal.round_folder(*begun) / "results"
            cookies += [
                attempt.cookie
                for attempt in result_folder.attempts(results)
                if attempt.cookie
            ]
        for cookie in cookies:
            process.kill_by_cookie(cookie)
        if scratch is not None and scratch.name.startswith("fanin-"):
            remove_folder(scratch)

    def _forget_heads(self) -> None:
        """Nothing is open: nothing needs to be kept from being collected for it. A
        crash may come before its end.
        """
        if kept := [*self.repo.refs(BASE), *self.repo.refs(RUNS)]:
            self.repo.delete_refs(kept)

    def _resume(self, run: str, round_number: int) -> None:
        """Fan in the batch of a dead run: what had finished lands, what had begun
        counts, nothing runs again.
        """
        folder = self.journal.round_folder(run, round_number)
        try:
            manifest, _ = self.journal.read_manifest(run, round_number)
        except (OSError, ValueError):
            self.listener.note(
                f"the manifest of batch {run}.{round_number} is unreadable; its results stay in {folder}"
            )
            return
        if self.repo.commit(manifest.base) is None:
            self.listener.note(
                f"the base of batch {manifest.batch} is gone; its results stay in {folder}"
            )
            return
        self._lander.branch = self.journal.state().place_of_batch(manifest.branch)
        with self._scratch(run) as scratch:
            self._fan_in(manifest, scratch)


@contextmanager
def _interruptible(cancel: threading.Event) -> Iterator[None]:
    """The first SIGINT, SIGTERM or SIGHUP asks the run to end; a second one ends it at
    once.
    """

    def ask(_number: int, _frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Not where it is ignored already: that is what nohup is for.
    heard = [
        n
        for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(n) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
