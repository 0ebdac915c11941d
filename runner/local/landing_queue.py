"""Lands what the rolling schedule has merged, in few commits, while it merges more.

Only one landing is in progress at a time; what is merged in the meantime waits for the
next one. If the branch moved, everything that has not landed is merged again on its new
head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

from runner import pipeline
from runner.core.events import CommitLanded
from runner.core.manifest import Manifest
from runner.core.result import Failure
from runner.fan_in.batch_merge import FanIn
from runner.fan_in.commit_message import LandedTask, commit_message
from runner.local.context import RunContext
from runner.local.landing import TRIES
from runner.plan.snapshot import Snapshot, read_snapshot


@dataclass(frozen=True)
class Accepted:
    """A result that is in the run's own head and not on the branch yet."""

    manifest: Manifest
    fan_in: FanIn


@dataclass(frozen=True)
class _Landing:
    """A move of the branch from commit `head` to `tip`, in progress.

    `succeeded` becomes False if the branch was not at `head` any more.
    """

    accepted: Sequence[Accepted]
    head: str
    tip: str
    succeeded: Future[bool]


class LandingQueue:
    """The accepted results of one run, and the landing that is in progress."""

    def __init__(self, context: RunContext, base: str) -> None:
        """`base` is the branch's commit that the run's own head builds on."""
        self.accepted: list[Accepted] = []
        self._context = context
        self._base = base
        self._landing: _Landing | None = None
        self._failed_landings = 0

    @property
    def is_due(self) -> bool:
        """Whether as many results are accepted as are landed together."""
        return len(self.accepted) >= self._context.settings.max_concurrent

    def start_landing(
        self,
        snapshot: Snapshot,
        pool: Executor,
        on_done: Callable[[], object],
        scratch: Path,
    ) -> Snapshot:
        """Start to land everything accepted; return the snapshot to continue from.

        `snapshot` contains everything accepted. `on_done` is called when the landing has
        ended, successful or not; then call `wait_for_landing`. If the branch has moved,
        everything is merged and verified again first, in checkouts below `scratch`.
        """
        self.wait_for_landing()
        if not self.accepted:
            return snapshot
        context = self._context
        head = context.lander.head()
        # A person or another program has moved the branch since the last landing.
        if head != self._base:
            snapshot = self._merge_again(head, scratch)
        if context.settings.commit_strategy == "individual":
            tip = snapshot.commit
        else:
            tip = self._as_one_commit(head, snapshot)
        accepted, self.accepted = self.accepted, []
        succeeded = pool.submit(self._land, head, tip, accepted)
        self._landing = _Landing(accepted, head, tip, succeeded)
        succeeded.add_done_callback(lambda _: on_done())
        return snapshot

    def wait_for_landing(self) -> None:
        """Wait for the landing in progress, if any; what failed to land is tried again."""
        landing, self._landing = self._landing, None
        if landing is None:
            return
        if not landing.succeeded.result():
            self.accepted = [*landing.accepted, *self.accepted]
            self._failed_landings += 1
            if self._failed_landings >= TRIES:
                raise self._context.lander.moved_too_often()
            return
        self._base, self._failed_landings = landing.tip, 0
        if landing.tip != landing.head:
            self._report(landing)

    def _report(self, landing: _Landing) -> None:
        landed: list[str] = []
        for accepted in landing.accepted:
            landed += accepted.fan_in.landed
        failures = _counted_failures(landing.accepted, landed)
        self._context.observer.observe(
            CommitLanded(
                branch=self._context.lander.branch,
                commit=landing.tip,
                tasks=tuple(landed),
                failed_tasks=tuple(failures),
            )
        )

    def _land(self, head: str, tip: str, accepted: Sequence[Accepted]) -> bool:
        context = self._context
        if tip != head and not context.lander.land(head, tip, context.run):
            return False
        # Before the journal says that it is over, so that a crash leaves none behind.
        for each in accepted:
            context.drop_kept_work(each.manifest, each.fan_in)
        rounds = [each.manifest.round for each in accepted]
        context.journal.record("flushed", run=context.run, rounds=rounds)
        return True

    def _merge_again(self, head: str, scratch: Path) -> Snapshot:
        """Merge every accepted result on the branch's new head.

        Conflicts with what is there now become failures, which are reported: until now
        these results were merged.
        """
        context = self._context
        merged, tip = [], head
        for accepted in self.accepted:
            manifest = accepted.manifest
            fan_in = pipeline.merge_batch(
                context.repo,
                context.batch_results(manifest),
                tip,
                verification=context.lander.verification(manifest, scratch),
            )
            merged.append(Accepted(manifest, fan_in))
            anew = fan_in.failed.keys() & accepted.fan_in.landed
            context.observer.results_refused(manifest, fan_in, anew)
            tip = fan_in.tip
        self._base, self.accepted = head, merged
        settings = context.settings
        return read_snapshot(
            context.repo, tip, settings.plan, settings.progress, settings.task_rules
        )

    def _as_one_commit(self, head: str, snapshot: Snapshot) -> str:
        """A commit on `head` with the files of the run's head; `head` if it has them."""
        repo = self._context.repo
        tree = repo.tree(snapshot.commit)
        if tree == repo.tree(head):
            return head
        landed = []
        for accepted in self.accepted:
            if accepted.fan_in.landed:
                entry = accepted.manifest.entries[0]
                landed.append(LandedTask(entry, _summary(accepted.fan_in)))
        ids = [work.entry.task.id for work in landed]
        failures = _counted_failures(self.accepted, ids)
        warnings = [
            warning
            for accepted in self.accepted
            for warning in accepted.fan_in.tree_warnings
        ]
        text = commit_message(self.accepted[-1].manifest, landed, failures, warnings)
        return repo.commit_tree(tree, [head], text)


def _counted_failures(
    accepted: Sequence[Accepted], landed: Sequence[str]
) -> dict[str, Failure]:
    """The last counted failure of each task that has not landed after all."""
    failures: dict[str, Failure] = {}
    for each in accepted:
        failures |= {
            task_id: failure
            for task_id, failure in each.fan_in.failed.items()
            if failure.counted and task_id not in landed
        }
    return failures


def _summary(fan_in: FanIn) -> str | None:
    return fan_in.results[0].usage.summary if fan_in.results else None
