"""The rolling schedule: a task starts the moment its dependencies are merged and a slot
is free.

The same steps as batch by batch, with batches of one: each attempt is chosen for a free
slot, and its result is merged at once onto the run's own head, a ref of this run;
results that wait together are merged one after the other and made durable together.
What a result needs to be of use is made durable while its agent works. The branch gets
what is there as one commit when no task runs, at the latest after `max_concurrent`
accepted results, and at the end (`flushing`). After a crash the result folders are all
that is needed: accepted and open batches are fanned in anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from runner import pipeline
from runner.config.settings import Settings
from runner.core.errors import EnvironmentBroken
from runner.core.manifest import BatchEntry, Manifest
from runner.fan_in.batch_merge import FanIn
from runner.local.journal import Journal
from runner.local.landing import BranchLander
from runner.local.landing_queue import Accepted, LandingListener, LandingQueue
from runner.plan.snapshot import Snapshot
from runner.repo.repository import Repository

# The heads of rolling runs: they keep what is merged, and so every base, from being
# collected.
RUNS = "refs/fanin/runs"
# an agent ended; an attempt is done; (None, None) a landing is
Happened = tuple[Manifest | None, Future[None] | None]
# head, running, those of them whose agent has ended, number → a batch of one
Choose = Callable[
    [Snapshot, Sequence[Manifest], Sequence[Manifest], int], Manifest | None
]
# a batch and its fan-in → why nothing more may start
Settle = Callable[[Manifest, FanIn, Snapshot], str | None]


class Attempt(Protocol):
    """Runs one attempt to its end; `ended` is called when its programs have ended,
    `recorded` before its result is written.
    """

    def __call__(
        self,
        manifest: Manifest,
        entry: BatchEntry,
        ended: Callable[[], object],
        recorded: Callable[[], object],
        /,
    ) -> None: ...


class Rolling:
    """One run by the rolling schedule."""

    def __init__(
        self,
        repo: Repository,
        journal: Journal,
        settings: Settings,
        lander: BranchLander,
        told: LandingListener,
        snapshot: Snapshot,
        run: str,
    ) -> None:
        self.repo, self.journal, self.settings, self.lander, self.told = (
            repo,
            journal,
            settings,
            lander,
            told,
        )
        self.snapshot, self.run = snapshot, run
        self.flush = LandingQueue(repo, journal, settings, lander, told, snapshot)
        self._merged: list[Accepted] = []  # the last ones, with or without a commit
        # another one each time the branch moved: bases stay on the one before
        self._heads = [f"{RUNS}/{run}/head"]
        self.rounds = 0

    def __call__(
        self, attempt: Attempt, scratch: Path, choose: Choose, settle: Settle
    ) -> str | None:
        """Run until nothing is ready and nothing runs; why it stopped although tasks
        are ready, None if none is.
        """
        running: dict[str, Manifest] = {}  # until the result is merged
        # those of them whose agent is not at work any more
        ended: dict[str, Manifest] = {}
        happened: SimpleQueue[Happened] = SimpleQueue()
        waiting: list[Manifest] = []  # results to be merged
        recorded = _settled()
        stopped: str | None = None

        def start(manifest: Manifest) -> None:
            running[manifest.batch] = manifest
            # One at a time: the next one starts from what this one left.
            early = (
                partial(happened.put, (manifest, None))
                if self.settings.slots > 1
                else nobody
            )
            future = pool.submit(
                self._opened, aside, attempt, manifest, early, recorded
            )
            future.add_done_callback(lambda done: happened.put((manifest, done)))

        # half of them for attempts whose agent has ended
        slots = 2 * self.settings.slots
        with (
            ThreadPoolExecutor(slots, thread_name_prefix="fanin-open") as aside,
            ThreadPoolExecutor(slots, thread_name_prefix="fanin") as pool,
        ):
            self._move_to(self.snapshot)
            while True:
                with _told(recorded):
                    while (
                        stopped is None
                        and (manifest := self._next(choose, running, ended)) is not None
                    ):
                        start(manifest)
                    self._record(recorded)
                if not running:
                    if self._flush_all(aside, scratch):
                        continue
                    return stopped
                if self.flush.due and self._flush(
                    aside, scratch, partial(happened.put, (None, None))
                ):
                    continue
                if self._hear(happened, waiting, ended) or not waiting:
                    continue  # a slot that is free should not wait for a merge
                some = self._urgent(waiting)
                for manifest in some:
                    running.pop(manifest.batch)
                    ended.pop(manifest.batch, None)
                recorded = Future()
                for manifest, fan_in in zip(
                    some, self._accept(some, scratch), strict=True
                ):
                    stopped = settle(manifest, fan_in, self.snapshot) or stopped

    def _hear(
        self,
        happened: SimpleQueue[Happened],
        waiting: list[Manifest],
        ended: dict[str, Manifest],
    ) -> bool:
        """Take in all that has happened, waiting for it if there is nothing else to do;
        whether an agent has ended.
        """
        freed, wait = False, not waiting
        while wait or not happened.empty():
            manifest, done = happened.get()
            wait = False
            if manifest is None:
                self.flush.settle()
            elif done is None:
                ended[manifest.batch] = manifest
                freed = True
            else:
                done.result()
                waiting.append(manifest)
        return freed

    def _urgent(self, waiting: list[Manifest]) -> list[Manifest]:
        """Take the results to be merged together: those that others wait for, if there
        are any.

        No more than are flushed together, one where that takes long.
        """
        awaited = [
            manifest
            for manifest in waiting
            if self._is_awaited(manifest.entries[0].task.id)
        ]
        most = (
            1
            if waiting[0].verify
            else max(1, self.settings.max_concurrent - len(self.flush.accepted))
        )
        some = (awaited or waiting)[:most]
        taken = {manifest.batch for manifest in some}
        waiting[:] = [manifest for manifest in waiting if manifest.batch not in taken]
        return some

    def _is_awaited(self, task_id: str) -> bool:
        """Whether others wait for the task; a person may have taken it out of the plan
        while it ran.
        """
        graph = self.snapshot.graph
        return task_id in graph.tasks and bool(graph.dependents(task_id))

    def _next(
        self,
        choose: Choose,
        running: Mapping[str, Manifest],
        ended: Mapping[str, Manifest],
    ) -> Manifest | None:
        """A batch of one for a free slot."""
        manifest = choose(
            self.snapshot, list(running.values()), list(ended.values()), self.rounds + 1
        )
        if manifest is not None:
            self.rounds += 1
            self.told.batch(manifest)
        return manifest

    def _opened(
        self,
        aside: Executor,
        attempt: Attempt,
        manifest: Manifest,
        early: Callable[[], object],
        recorded: Future[None],
    ) -> None:
        """Open the batch and run its attempt.

        The disk must have the batch and its base before it has the result, or the
        result would be worth nothing. That it has them before the agent starts would
        help nobody: an agent does not survive the power either.
        """
        self.journal.open(manifest, synced=False)
        opened = aside.submit(self.journal.sync, manifest)

        def kept() -> None:
            recorded.result()
            opened.result()

        try:
            attempt(manifest, manifest.entries[0], early, kept)
        finally:
            kept()

    def _accept(self, some: Sequence[Manifest], scratch: Path) -> list[FanIn]:
        """Merge results onto the run's head; from then on their dependents may be
        chosen.
        """
        found: list[FanIn] = []
        kept: dict[str, str] = {}
        snapshot = self.snapshot
        with self.repo.quarantine() as quarantine:
            for manifest in some:
                results = (
                    self.journal.round_folder(manifest.run, manifest.round) / "results"
                )
                fan_in, more = pipeline.merge_into(
                    quarantine,
                    self.repo,
                    manifest,
                    results,
                    snapshot,
                    verify=self.lander.verify(manifest, scratch),
                    secrets=self.lander.secrets(manifest),
                )
                found.append(fan_in)
                kept |= more
                snapshot = fan_in.after if fan_in.commits and fan_in.after else snapshot
            tips = [] if snapshot is self.snapshot else [snapshot.commit]
            bases = dict.fromkeys(manifest.base for manifest in some)
            self.repo.adopt(
                quarantine, [*tips, *kept.values()], [self.snapshot.commit, *bases]
            )
        for ref, commit in kept.items():
            self.repo.set_ref(ref, commit)
        self.snapshot = snapshot
        self._merged = [Accepted(*one) for one in zip(some, found, strict=True)]
        self.flush.accepted += [one for one in self._merged if one.fan_in.commits]
        for one in self._merged:
            self.told.fanned_in(one.manifest, replace(one.fan_in, commits=()))
        return found

    def _record(self, recorded: Future[None]) -> None:
        """Make durable that what was merged last is in the run's head; who builds on
        that waits for `recorded`.
        """
        if recorded.done():
            return
        if any(one.fan_in.commits for one in self._merged):
            self._move_to(self.snapshot)
        self.journal.record_all(
            [
                {
                    "event": "accepted" if one.fan_in.commits else "closed",
                    "run": one.manifest.run,
                    "round": one.manifest.round,
                }
                for one in self._merged
            ]
        )
        recorded.set_result(None)

    def _move_to(self, after: Snapshot) -> None:
        if not self.repo.set_ref(self._heads[-1], after.commit):
            raise EnvironmentBroken(
                f"cannot move {self._heads[-1]}", "the results are kept; run again"
            )
        self.snapshot = after

    def _flush(
        self, aside: Executor, scratch: Path, over: Callable[[], object] = lambda: None
    ) -> bool:
        """Let what is accepted land. If the branch has moved, the run goes on from
        there; whether that is so.

        Then other tasks may be ready: what was completed may have failed there, and a
        person may have changed the plan.
        """
        after = self.flush.begin(self.snapshot, aside, over, scratch)
        if after is self.snapshot:
            return False
        self._heads.append(f"{RUNS}/{self.run}/head-{len(self._heads)}")
        self._move_to(after)
        return True

    def _flush_all(self, aside: Executor, scratch: Path) -> bool:
        """Land everything, and wait for it; whether the branch has moved. If not,
        nothing is left that the run's heads must keep.
        """
        self.flush.settle()
        moved = False
        while self.flush.accepted:
            moved = self._flush(aside, scratch) or moved
            self.flush.settle()
        if not moved:
            self.repo.delete_refs(self._heads)
        return moved


def _settled() -> Future[None]:
    """There is nothing to wait for."""
    done: Future[None] = Future()
    done.set_result(None)
    return done


@contextmanager
def _told(recorded: Future[None]) -> Iterator[None]:
    """Whoever waits for `recorded` hears of an error as well; else it would wait for
    ever.
    """
    try:
        yield
    except BaseException as error:
        if not recorded.done():
            recorded.set_exception(error)
        raise


def nobody() -> None:
    """Waits for nothing, and hears that a slot is free where that changes nothing."""
