"""The rolling schedule: a task starts the moment its dependencies are merged and a slot is free.

The same steps as batch by batch, with batches of one: each attempt is chosen for a free slot, and its result is merged
at once onto the run's own head, a ref of this run; results that wait together are merged one after the other and made
durable together. What the disk must have before an agent starts is written while its workspace is made. The branch
gets what is there as one commit when no task runs, at the latest after `max_concurrent` accepted results, and at the
end. After a crash the result folders are all that is
needed: accepted and open batches are fanned in anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from runner import pipeline
from runner.config import Settings
from runner.errors import EnvironmentBroken
from runner.fan_in import FanIn
from runner.gitrepo import Repository
from runner.journal import Journal
from runner.landing import TRIES, Lander
from runner.merge import Landed, message
from runner.models import BatchEntry, Manifest
from runner.snapshot import Snapshot, read_snapshot

BASE = "refs/fanin/base"  # keeps a batch's base from being collected while its results are on the way
RUNS = "refs/fanin/runs"
# head, running, those of them whose agent has ended, number → a batch of one
Choose = Callable[[Snapshot, Sequence[Manifest], Sequence[Manifest], int], Manifest | None]
Settle = Callable[[Manifest, FanIn, Snapshot], str | None]  # a batch and its fan-in → why nothing more may start


class Attempt(Protocol):
    """Runs one attempt to its end; `ready` is called before its agent starts, `ended` when its programs have ended."""

    def __call__(
        self, manifest: Manifest, entry: BatchEntry, ready: Callable[[], object], ended: Callable[[], object], /
    ) -> None: ...


class Told(Protocol):
    """The part of a listener that hears of batches."""

    def batch(self, manifest: Manifest) -> None: ...

    def fanned_in(self, manifest: Manifest, fan_in: FanIn) -> None: ...


@dataclass(frozen=True)
class Accepted:
    """A result that is in the run's head and not in the branch yet."""

    manifest: Manifest
    fan_in: FanIn


def open_batch(repo: Repository, journal: Journal, manifest: Manifest) -> None:
    """Make a batch durable before its first agent starts: the manifest, its pinned base, the journal's line."""
    journal.write_manifest(manifest)
    repo.set_ref(f"{BASE}/{manifest.batch}", manifest.base)
    journal.record("batch", run=manifest.run, round=manifest.round)


class Rolling:
    """One run by the rolling schedule."""

    def __init__(
        self,
        repo: Repository,
        journal: Journal,
        settings: Settings,
        lander: Lander,
        told: Told,
        snapshot: Snapshot,
        run: str,
    ) -> None:
        self.repo, self.journal, self.settings, self.lander, self.told = repo, journal, settings, lander, told
        self.snapshot, self.run = snapshot, run
        self._head = f"{RUNS}/{run}/head"  # keeps what the branch has not got from being collected
        self.flushed = snapshot.commit  # the branch's commit that the run's head builds on
        self.accepted: list[Accepted] = []
        self._merged: list[Accepted] = []  # the last ones, with or without a commit
        self.rounds = 0

    def __call__(self, attempt: Attempt, scratch: Path, choose: Choose, settle: Settle) -> str | None:
        """Run until nothing is ready and nothing runs; why it stopped although tasks are ready, None if none is."""
        running: dict[str, Manifest] = {}  # until the result is merged
        ended: dict[str, Manifest] = {}  # those of them whose agent is not at work any more
        happened: SimpleQueue[tuple[Manifest, Future[None] | None]] = SimpleQueue()
        waiting: deque[Manifest] = deque()  # results to be merged
        recorded = _settled()
        stopped: str | None = None

        def start(manifest: Manifest) -> None:
            running[manifest.batch] = manifest
            # One at a time: the next one starts from what this one left.
            early = partial(happened.put, (manifest, None)) if self.settings.slots > 1 else nobody
            future = pool.submit(self._opened, aside, attempt, manifest, early, recorded)
            future.add_done_callback(lambda done: happened.put((manifest, done)))

        slots = 2 * self.settings.slots  # half of them for attempts whose agent has ended
        with (
            ThreadPoolExecutor(slots, thread_name_prefix="fanin-open") as aside,
            ThreadPoolExecutor(slots, thread_name_prefix="fanin") as pool,
        ):
            while True:
                with _told(recorded):
                    while stopped is None and (manifest := self._next(choose, running, ended)) is not None:
                        start(manifest)
                    self._record(recorded)
                if not running or len(self.accepted) >= self.settings.max_concurrent:
                    self.flush()
                if not running:
                    self.repo.delete_ref(self._head)
                    return stopped
                if self._hear(happened, waiting, ended):
                    continue  # a slot that is free should not wait for a merge
                some = [waiting.popleft() for _ in range(min(len(waiting), self._at_once(waiting[0])))]
                for manifest in some:
                    running.pop(manifest.batch)
                    ended.pop(manifest.batch, None)
                recorded = Future()
                for manifest, fan_in in zip(some, self._accept(some, scratch), strict=True):
                    stopped = settle(manifest, fan_in, self.snapshot) or stopped

    def _hear(
        self,
        happened: SimpleQueue[tuple[Manifest, Future[None] | None]],
        waiting: deque[Manifest],
        ended: dict[str, Manifest],
    ) -> bool:
        """Take in all that has happened, waiting for it if there is nothing else to do; whether an agent has ended."""
        freed, wait = False, not waiting
        while wait or not happened.empty():
            manifest, done = happened.get()
            wait = False
            if done is None:
                ended[manifest.batch] = manifest
                freed = True
            else:
                done.result()
                waiting.append(manifest)
        return freed

    def _at_once(self, first: Manifest) -> int:
        """How many results may be merged together: no more than are flushed together, one where that takes long."""
        return 1 if first.verify else max(1, self.settings.max_concurrent - len(self.accepted))

    def _next(self, choose: Choose, running: Mapping[str, Manifest], ended: Mapping[str, Manifest]) -> Manifest | None:
        """A batch of one for a free slot."""
        manifest = choose(self.snapshot, list(running.values()), list(ended.values()), self.rounds + 1)
        if manifest is not None:
            self.rounds += 1
            self.told.batch(manifest)
        return manifest

    def _opened(
        self, aside: Executor, attempt: Attempt, manifest: Manifest, early: Callable[[], object], recorded: Future[None]
    ) -> None:
        """Open the batch and run its attempt, whose agent starts when the disk has the batch and the base's record."""
        opened = aside.submit(open_batch, self.repo, self.journal, manifest)

        def ready() -> None:
            recorded.result()
            opened.result()

        try:
            attempt(manifest, manifest.entries[0], ready, early)
        finally:
            ready()

    def _accept(self, some: Sequence[Manifest], scratch: Path) -> list[FanIn]:
        """Merge results onto the run's head; from then on their dependents may be chosen."""
        found: list[FanIn] = []
        kept: dict[str, str] = {}
        snapshot = self.snapshot
        with self.repo.quarantine() as quarantine:
            for manifest in some:
                results = self.journal.round_folder(manifest.run, manifest.round) / "results"
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
            self.repo.adopt(quarantine, [*tips, *kept.values()], [self.snapshot.commit, *bases])
        for ref, commit in kept.items():
            self.repo.set_ref(ref, commit)
        self.snapshot = snapshot
        self._merged = [Accepted(*one) for one in zip(some, found, strict=True)]
        self.accepted += [one for one in self._merged if one.fan_in.commits]
        for one in self._merged:
            self.told.fanned_in(one.manifest, replace(one.fan_in, commits=()))
        return found

    def _record(self, recorded: Future[None]) -> None:
        """Make durable that what was merged last is in the run's head; who builds on that waits for `recorded`."""
        if recorded.done():
            return
        if any(one.fan_in.commits for one in self._merged):
            self._move_to(self.snapshot)
        for one in self._merged:
            what = "accepted" if one.fan_in.commits else "fanned-in"
            self.journal.record(what, run=one.manifest.run, round=one.manifest.round)
        if gone := [f"{BASE}/{one.manifest.batch}" for one in self._merged if not one.fan_in.commits]:
            self.repo.delete_refs(gone)
        recorded.set_result(None)

    def _move_to(self, after: Snapshot | None) -> None:
        assert after is not None
        if not self.repo.set_ref(self._head, after.commit):
            raise EnvironmentBroken(f"cannot move {self._head}", "the results are kept; run again")
        self.snapshot = after

    def flush(self) -> None:
        """Land what is accepted on the branch: as one commit, or one a result with `individual`."""
        for _ in range(TRIES if self.accepted else 0):
            head = self.lander.head()
            if head != self.flushed:
                self._replay(head)
            tip = self.snapshot.commit if self.settings.commit_strategy == "individual" else self._one_commit(head)
            if tip == head or self.lander.land(head, tip, self.run):
                self._landed(head, tip)
                return
        if self.accepted:
            raise self.lander.restless()

    def _replay(self, head: str) -> None:
        """The branch moved: merge every accepted result anew on its head. Conflicts become failures there."""
        again, tip = [], head
        for one in self.accepted:
            results = self.journal.round_folder(one.manifest.run, one.manifest.round) / "results"
            secrets = self.lander.secrets(one.manifest)
            fan_in = pipeline.merge_batch(self.repo, one.manifest, results, tip, secrets=secrets)
            again.append(Accepted(one.manifest, fan_in))
            tip = fan_in.tip
        self.flushed, self.accepted = head, again
        self._move_to(read_snapshot(self.repo, tip, self.settings.plan, self.settings.progress))

    def _one_commit(self, head: str) -> str:
        """A commit on `head` with the files of the run's head."""
        tree = self.repo.tree(self.snapshot.commit)
        if tree == self.repo.tree(head):
            return head
        last = self.accepted[-1].manifest
        landed = [Landed(one.manifest.entries[0], _summary(one.fan_in)) for one in self.accepted if one.fan_in.landed]
        done = {item.entry.task.id for item in landed}
        failed = {k: f for one in self.accepted for k, f in one.fan_in.failed.items() if f.counted and k not in done}
        return self.repo.commit_tree(tree, [head], message(last, landed, failed), {})

    def _landed(self, head: str, tip: str) -> None:
        last = self.accepted[-1].manifest
        ids = tuple(task_id for one in self.accepted for task_id in one.fan_in.landed)
        self.journal.record("flushed", run=self.run)
        self.repo.delete_refs([f"{BASE}/{one.manifest.batch}" for one in self.accepted])
        self.accepted, self.flushed = [], tip
        self._move_to(replace(self.snapshot, commit=tip))  # the same files, as another commit
        if tip != head:
            self.told.fanned_in(last, FanIn(head, (tip,), ids))


def _settled() -> Future[None]:
    """There is nothing to wait for."""
    done: Future[None] = Future()
    done.set_result(None)
    return done


@contextmanager
def _told(recorded: Future[None]) -> Iterator[None]:
    """Whoever waits for `recorded` hears of an error as well; else it would wait for ever."""
    try:
        yield
    except BaseException as error:
        if not recorded.done():
            recorded.set_exception(error)
        raise


def nobody() -> None:
    """Waits for nothing, and hears that a slot is free where that changes nothing."""


def _summary(fan_in: FanIn) -> str | None:
    return fan_in.results[0].usage.summary if fan_in.results else None
