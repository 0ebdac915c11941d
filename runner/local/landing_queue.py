"""How what the rolling schedule has merged reaches the branch: in few commits, made
beside the next merges.

One landing is on its way at a time. What is merged meanwhile waits for the next one; if
the branch moved, everything that has not landed is merged anew on where it is now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runner import pipeline
from runner.config.settings import Settings
from runner.core.manifest import Manifest
from runner.fan_in.batch_merge import FanIn
from runner.fan_in.commit_message import Landed, message
from runner.local.journal import Journal
from runner.local.landing import TRIES, BranchLander
from runner.plan.snapshot import Snapshot, read_snapshot
from runner.repo.repository import Repository


class LandingListener(Protocol):
    """The part of a listener that hears of batches."""

    def batch(self, manifest: Manifest) -> None: ...

    def fanned_in(self, manifest: Manifest, fan_in: FanIn) -> None: ...


@dataclass(frozen=True)
class Accepted:
    """A result that is in the run's head and not in the branch yet."""

    manifest: Manifest
    fan_in: FanIn


@dataclass(frozen=True)
class _Landing:
    """What is on its way from commit `head` of the branch to `tip`; the future tells
    whether it got there.
    """

    some: Sequence[Accepted]
    head: str
    tip: str
    landed: Future[bool]


class LandingQueue:
    """The accepted results of one run, and the landing that is on its way."""

    def __init__(
        self,
        repo: Repository,
        journal: Journal,
        settings: Settings,
        lander: BranchLander,
        told: LandingListener,
        snapshot: Snapshot,
    ) -> None:
        self.repo, self.journal, self.settings, self.lander, self.told = (
            repo,
            journal,
            settings,
            lander,
            told,
        )
        self.accepted: list[Accepted] = []
        # the branch's commit that the run's head builds on
        self._flushed = snapshot.commit
        self._landing: _Landing | None = None
        self._missed = 0

    @property
    def due(self) -> bool:
        """Whether as many results are accepted as are landed together."""
        return len(self.accepted) >= self.settings.max_concurrent

    def begin(
        self,
        snapshot: Snapshot,
        pool: Executor,
        over: Callable[[], object],
        scratch: Path,
    ) -> Snapshot:
        """Start to land all that is accepted, which is in `snapshot`; the snapshot that
        the run goes on from.

        `over` is called when it has ended, for better or worse: then `settle` takes it
        in. If the branch has moved, what is to land is verified anew, in checkouts
        below `scratch`.
        """
        self.settle()
        if not self.accepted:
            return snapshot
        head = self.lander.head()
        if head != self._flushed:
            snapshot = self._replayed(head, scratch)
        individual = self.settings.commit_strategy == "individual"
        tip = snapshot.commit if individual else self._one_commit(head, snapshot)
        some, self.accepted = self.accepted, []
        self._landing = _Landing(
            some, head, tip, pool.submit(self._land, head, tip, some)
        )
        self._landing.landed.add_done_callback(lambda _: over())
        return snapshot

    def settle(self) -> None:
        """Wait for the landing that is on its way, if there is one, and take in how it
        ended.
        """
        landing, self._landing = self._landing, None
        if landing is None:
            return
        if not landing.landed.result():
            self.accepted = [*landing.some, *self.accepted]
            self._missed += 1
            if self._missed >= TRIES:
                raise self.lander.restless()
            return
        self._flushed, self._missed = landing.tip, 0
        if landing.tip != landing.head:
            ids = tuple(
                task_id for one in landing.some for task_id in one.fan_in.landed
            )
            self.told.fanned_in(
                landing.some[-1].manifest, FanIn(landing.head, (landing.tip,), ids)
            )

    def _land(self, head: str, tip: str, some: Sequence[Accepted]) -> bool:
        run = some[0].manifest.run
        if tip != head and not self.lander.land(head, tip, run):
            return False
        self.journal.record(
            "flushed", run=run, rounds=[one.manifest.round for one in some]
        )
        return True

    def _replayed(self, head: str, scratch: Path) -> Snapshot:
        """The branch moved: merge every accepted result anew on its head. Conflicts
        become failures there.
        """
        again, tip = [], head
        for one in self.accepted:
            results = (
                self.journal.round_folder(one.manifest.run, one.manifest.round)
                / "results"
            )
            verify, secrets = (
                self.lander.verify(one.manifest, scratch),
                self.lander.secrets(one.manifest),
            )
            fan_in = pipeline.merge_batch(
                self.repo, one.manifest, results, tip, verify=verify, secrets=secrets
            )
            again.append(Accepted(one.manifest, fan_in))
            tip = fan_in.tip
        self._flushed, self.accepted = head, again
        return read_snapshot(self.repo, tip, self.settings.plan, self.settings.progress)

    def _one_commit(self, head: str, snapshot: Snapshot) -> str:
        """A commit on `head` with the files of the run's head."""
        tree = self.repo.tree(snapshot.commit)
        if tree == self.repo.tree(head):
            return head
        last = self.accepted[-1].manifest
        landed = [
            Landed(one.manifest.entries[0], _summary(one.fan_in))
            for one in self.accepted
            if one.fan_in.landed
        ]
        done = {item.entry.task.id for item in landed}
        failed = {
            k: f
            for one in self.accepted
            for k, f in one.fan_in.failed.items()
            if f.counted and k not in done
        }
        return self.repo.commit_tree(tree, [head], message(last, landed, failed), {})


def _summary(fan_in: FanIn) -> str | None:
    return fan_in.results[0].usage.summary if fan_in.results else None
