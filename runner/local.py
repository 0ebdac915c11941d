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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Protocol

from runner import artifacts, batch, pipeline, process
from runner.attempt import Surroundings, verify_commit
from runner.config import Settings
from runner.errors import EnvironmentBroken, Interrupted, UsageProblem
from runner.fan_in import FanIn
from runner.gitrepo import Repository
from runner.journal import Journal
from runner.models import BatchEntry, Failure, Manifest, Result
from runner.snapshot import Snapshot, read_snapshot

_LANDING_TRIES = 20  # a person who commits meanwhile moves the branch; each try merges on the new head


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
    """How a run ended: what the branch says now, on which branch the work is, and the run's id."""

    snapshot: Snapshot
    branch: str
    run: str
    waiting: str | None


class LocalRun:
    """One `fanin run`. Edges are passed in; everything durable is in the repository and its `.git/fanin`."""

    def __init__(self, repo: Repository, settings: Settings, environ: Mapping[str, str], listener: Listener) -> None:
        self.repo, self.settings, self.listener = repo, settings, listener
        self.journal = Journal(repo.git_dir)
        self.cancel = threading.Event()
        self._around = Surroundings(environ, self.cancel)
        self.run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.branch = ""

    def __call__(self) -> Ended:
        """Work until nothing is ready. Interrupted after Ctrl-C, once what had finished has landed.

        UsageProblem if the work tree is dirty, HEAD detached or another fanin at work here; InvalidInput for the
        plan, the progress or the settings.
        """
        with self.journal.locked(), _interruptible(self.cancel):
            self.branch = target_branch(self.repo, self.settings)
            self._finish_what_was_begun()
            refuse_dirty(self.repo, self.branch)
            snapshot = self._snapshot()
            batch.refuse_hopeless(snapshot.plan, snapshot.progress, self.settings)
            self.journal.tidy()
            with tempfile.TemporaryDirectory(prefix="fanin-", ignore_cleanup_errors=True) as scratch:
                self.journal.record("run", run=self.run, branch=self.branch, scratch=scratch, pid=os.getpid())
                ended = self._rounds(snapshot, Path(scratch))
            self.journal.record("end", run=self.run)
        if self.cancel.is_set():
            raise Interrupted("interrupted; what had landed stays", "go on with  fanin run")
        return ended

    def _rounds(self, snapshot: Snapshot, scratch: Path) -> Ended:
        self.listener.begun(snapshot, self.settings)
        for round_number in range(1, self.settings.limits.max_rounds + 1):
            manifest = None if self.cancel.is_set() else self._next(snapshot, round_number)
            if manifest is None:
                break
            self._act(manifest, scratch)
            if not self._fan_in(manifest):
                break
            snapshot = self._snapshot()
        else:
            self.listener.note(f"stopped after limits.max_rounds = {self.settings.limits.max_rounds} rounds")
        return Ended(self._snapshot(), self.branch, self.run, self.journal.state().waiting)

    def _snapshot(self) -> Snapshot:
        head = self.repo.commit(f"refs/heads/{self.branch}")
        assert head is not None
        return read_snapshot(self.repo, head, self.settings.plan, self.settings.progress)

    def _next(self, snapshot: Snapshot, round_number: int) -> Manifest | None:
        limit = self.settings.limits.max_cost_usd
        spent = sum(record.cost_usd or 0.0 for record in snapshot.progress.records.values())
        if limit is not None and spent >= limit:
            self.listener.note(f"stopped: ${spent:.2f} spent, limits.max_cost_usd is ${limit:.2f}")
            return None
        return pipeline.next_batch(
            snapshot,
            self.settings,
            run=self.run,
            round_number=round_number,
            branch=self.branch,
            slots=self.settings.slots,
        )

    def _act(self, manifest: Manifest, scratch: Path) -> None:
        """Run every task of the batch to its end, whatever happens to the others."""
        results = self.journal.write_manifest(manifest)
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

    def _fan_in(self, manifest: Manifest) -> bool:
        """Merge the batch and land it; whether it is worth going on (something landed or an attempt counted)."""
        results = self.journal.round_folder(manifest.run, manifest.round) / "results"
        fan_in = self._merge_and_land(manifest, results)
        self.journal.record("fanned-in", run=manifest.run, round=manifest.round)
        self.listener.fanned_in(manifest, fan_in)
        return bool(fan_in.landed) or any(failure.counted for failure in fan_in.failed.values())

    def _merge_and_land(self, manifest: Manifest, results: Path) -> FanIn:
        verify = self._verify if self.settings.verify else None
        for _ in range(_LANDING_TRIES):
            head = self.repo.commit(f"refs/heads/{self.branch}")
            assert head is not None
            fan_in = pipeline.merge_batch(self.repo, manifest, results, head, verify=verify)
            if not fan_in.commits:
                return fan_in
            self.journal.record("landing", branch=self.branch, old=head, new=fan_in.tip)
            landing = self.repo.land(self.branch, head, fan_in.tip)
            if landing.landed:
                return fan_in
            if not landing.moved:
                self._wait_on_branch(fan_in, landing.obstacle)
                return fan_in
        raise EnvironmentBroken(
            f"{self.branch} moved {_LANDING_TRIES} times while the batch was merged",
            "the results are kept; run again when the branch is quiet",
        )

    def _wait_on_branch(self, fan_in: FanIn, obstacle: str) -> None:
        """Files in the way: the work goes to a branch of its own and later batches build on that."""
        waiting = f"fanin/{self.run}"
        if not self.repo.set_ref(f"refs/heads/{waiting}", fan_in.tip):
            raise EnvironmentBroken(
                f"cannot create the branch {waiting}", "the results are kept; mend it and run again"
            )
        self.journal.record("waiting", branch=self.branch, on=waiting)
        self.listener.note(
            f"{self.branch} cannot take the work, files are in the way:\n{obstacle}\n"
            f"it waits on {waiting}; move them away, then  git merge --ff-only {waiting}"
        )
        self.branch = waiting

    def _verify(self, commit: str, objects: Path) -> Failure | None:
        """Run the settings' verify command on a commit's files, in a checkout of its own."""
        command, timeout = self.settings.verify, self.settings.timeout
        assert command is not None
        failure = verify_commit(self.repo.origin, command, commit, objects, timeout, self._around)
        if failure is not None and not failure.counted:  # nobody's fault: the batch stays open for the next run
            raise Interrupted("interrupted while the merged work was verified; it is kept", "go on with  fanin run")
        return failure

    # -- what a crash or an obstacle left ---------------------------------------------------------------------

    def _finish_what_was_begun(self) -> None:
        """Finish the landing and the batch of a run that died; free work that waited for a clean tree."""
        state = self.journal.state()
        if state.waiting:
            self._free_waiting(state.waiting)
        if state.run is None:
            return
        self.listener.note(f"run {state.run} did not end; finishing what it began")
        if state.scratch:
            shutil.rmtree(state.scratch, ignore_errors=True)
        if state.landing:
            for path in self.repo.undo_interrupted(state.landing.branch, state.landing.old, state.landing.new):
                self.listener.note(f"{path} holds neither its old nor its new content; it is left as it is")
        if state.batch is not None:
            self._resume(*state.batch)
        self.journal.record("end", run=state.run)

    def _resume(self, run: str, round_number: int) -> None:
        """Fan in the batch of a dead run: what had finished lands, what had begun counts, nothing runs again."""
        manifest, results = self.journal.read_manifest(run, round_number)
        for attempt in artifacts.attempts(results):
            if attempt.cookie:
                process.end_cookie(attempt.cookie)
        if self.repo.commit(f"refs/heads/{manifest.branch}") is None:
            raise UsageProblem(
                f"run {run} was working on {manifest.branch}, which is gone",
                f"bring it back:  git branch {manifest.branch} {manifest.base}",
            )
        branch, self.branch = self.branch, manifest.branch
        self._fan_in(manifest)
        self.branch = branch if self.branch == manifest.branch else self.branch

    def _free_waiting(self, waiting: str) -> None:
        """Land a waiting branch if that is possible now. UsageProblem with the way out if it is not."""
        tip, head = self.repo.commit(f"refs/heads/{waiting}"), self.repo.commit(f"refs/heads/{self.branch}")
        if tip is not None and head is not None and not self.repo.is_ancestor(tip, head):
            if not self.repo.is_ancestor(head, tip) or not self.repo.land(self.branch, head, tip).landed:
                raise UsageProblem(
                    f"finished work waits on {waiting} and {self.branch} cannot take it as it is",
                    f"merge it:  git merge {waiting}    or drop it:  git branch -D {waiting}",
                )
            self.listener.note(f"{self.branch} has taken the work that waited on {waiting}")
        self.journal.record("freed", branch=waiting)


def target_branch(repo: Repository, settings: Settings) -> str:
    """The branch that work lands on, made from HEAD if it does not exist. UsageProblem if there is none."""
    branch = settings.branch or repo.current_branch()
    if branch is None:
        raise UsageProblem(
            "HEAD is detached, so there is no branch to land on", "git switch BRANCH, or give --branch NAME"
        )
    if repo.commit(f"refs/heads/{branch}") is None:
        head = repo.commit("HEAD")
        if head is None:
            raise UsageProblem(
                "the repository has no commit yet", "make a first one:  git add -A && git commit -m 'Start'"
            )
        if not repo.set_ref(f"refs/heads/{branch}", head, "0" * len(head)):
            raise UsageProblem(f"cannot create the branch {branch!r}", "give --branch a name that git accepts")
    return branch


def refuse_dirty(repo: Repository, branch: str) -> None:
    """UsageProblem if landing on `branch` would meet uncommitted changes of tracked files."""
    if repo.current_branch() != branch:
        return
    if dirty := repo.dirty_paths():
        named = ", ".join(dirty[:5]) + (f" and {len(dirty) - 5} more" if len(dirty) > 5 else "")
        raise UsageProblem(
            f"there are uncommitted changes in tracked files: {named}",
            "commit them, git stash, or let the work land elsewhere with  --branch NAME",
        )


@contextmanager
def _interruptible(cancel: threading.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks the run to end; a second one ends it at once."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Sequence[tuple[int, Callable[..., object] | int | None]] = [
        (number, signal.signal(number, ask)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
