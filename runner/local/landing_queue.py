"""Lands what the rolling schedule has merged, in few commits, while it merges more.

Only one landing is in progress at a time; what is merged in the meantime waits for the
next one. If the branch moved, everything that has not landed is merged again on its new
head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.core.events import CommitLanded
from runner.fan_in.commit_message import LandedTask, commit_message
from runner.local.joint_merge import adopt, merge_together
from runner.local.landing import TRIES
from runner.local.unrecorded import (
    batch_failures,
    commit_progress,
    failed_event,
    recorded_event,
)
from runner.plan.changes import (
    ChangeSet,
    FailedAttempt,
    requests_subject,
)
from runner.plan.snapshot import Snapshot, read_for_recording, with_progress_file

if TYPE_CHECKING:
    from runner.core.manifest import Manifest
    from runner.core.result import Failure, FailureKind
    from runner.fan_in.outcome import FanIn
    from runner.local.context import RunContext
    from runner.plan.progress import Progress


class Merged(NamedTuple):
    """A batch whose result has been merged, or refused."""

    manifest: Manifest
    fan_in: FanIn

    def event(self, branch: str) -> dict[str, Any]:
        """The event of the journal that the batch is over, for `branch`."""
        if self.fan_in.failed_attempts:
            return failed_event(self.manifest, branch, self.fan_in)
        return {
            "event": "accepted" if self.fan_in.commits else "closed",
            "run": self.manifest.run,
            "round": self.manifest.round,
        }


class _Landing(NamedTuple):
    """A move of the branch from commit `head` to `tip`, in progress.

    It brings what was `accepted`, and records the changes that were `unrecorded`.
    `succeeded` becomes False if the branch was not at `head` any more.
    """

    accepted: Sequence[Merged]
    unrecorded: Sequence[ChangeSet]
    head: str
    tip: str
    succeeded: Future[bool]


class LandingQueue:
    """The accepted results of one run, and the landing that is in progress.

    `accepted` are in the run's own head and not on the branch yet. `unrecorded` are
    changes in the run's progress that the branch does not have: they alone are no reason
    to land.
    """

    def __init__(
        self, context: RunContext, base: str, earlier_landings: int = 0
    ) -> None:
        """`base` is the branch's commit that the run's own head builds on. So many
        landings were in earlier parts of the run.
        """
        self.accepted: list[Merged] = []
        # Also what an earlier part of the run has left, or came before it.
        self.unrecorded: list[ChangeSet] = context.journal.state().unrecorded_on(
            context.lander.branch, context.settings.progress
        )
        # How results have failed that were merged, once they were merged on a new head.
        self.failed_again: set[FailureKind] = set()
        self._context = context
        self._base = base
        self._landing: _Landing | None = None
        self._failed_landings = 0
        self._finished_landings = earlier_landings

    @property
    def is_due(self) -> bool:
        """Whether as many results are accepted as are landed together."""
        return len(self.accepted) >= self._context.settings.max_concurrent

    @property
    def landings(self) -> int:
        """How many landings of the run have moved the branch, with one that is in
        progress.
        """
        landing = self._landing
        in_progress = landing is not None and landing.tip != landing.head
        return self._finished_landings + in_progress

    @property
    def landings_left(self) -> int:
        """How many more limits.max_rounds allows."""
        return self._context.settings.limits.max_rounds - self.landings

    @property
    def may_land(self) -> bool:
        """Whether to land now; the last landing is for everything that has started."""
        return self.is_due and self.landings_left > 1

    @property
    def is_last_full(self) -> bool:
        """Whether nothing more may start: the last landing is full, or over."""
        left = self.landings_left
        return left <= 0 or (left == 1 and self.is_due)

    def lands(self, commit: str) -> bool:
        """Whether a landing of just this commit is in progress."""
        return self._landing is not None and self._landing.tip == commit

    def add(self, merged: Merged) -> None:
        """Take what a merge has added to the run's own head or progress."""
        if merged.fan_in.commits:
            self.accepted.append(merged)
            return
        self._context.bases.discard(merged.manifest.batch)
        if merged.fan_in.failed_attempts:
            self.unrecorded.append(batch_failures(merged.manifest, merged.fan_in))

    def start_landing(
        self,
        snapshot: Snapshot,
        pool: Executor,
        on_done: Callable[[], object],
        scratch: Path,
        *,
        keeps_head: bool = False,
    ) -> Snapshot:
        """Start to land everything accepted; return the snapshot to continue from.

        `snapshot` contains everything accepted. `on_done` is called when the landing has
        ended, successful or not; then call `wait_for_landing`. If the branch has moved,
        everything is merged and verified again first, in checkouts below `scratch`.
        With `keeps_head`, nothing is landed where that or another commit of the run's
        progress would replace the run's own head.
        """
        self.wait_for_landing()
        if not self.accepted:
            return snapshot
        context = self._context
        head = context.lander.head()
        if keeps_head and (head != self._base or not context.lands_together):
            return snapshot
        # A person or another program has moved the branch since the last landing.
        if head != self._base:
            snapshot = self._merge_again(head, snapshot, scratch)
            if not self.accepted:
                return snapshot
        if not context.lands_together:
            snapshot = self._with_progress_file(snapshot)
        commits = self._commits(head, snapshot)
        tip = commits[-1] if commits else head
        accepted, self.accepted = self.accepted, []
        unrecorded, self.unrecorded = self.unrecorded, []
        succeeded = pool.submit(
            self._land, head, commits, snapshot.progress, accepted, unrecorded
        )
        self._landing = _Landing(accepted, unrecorded, head, tip, succeeded)
        succeeded.add_done_callback(lambda _: on_done())
        return snapshot

    def wait_for_landing(self) -> None:
        """Wait for the landing in progress, if any; what failed to land is tried again."""
        landing, self._landing = self._landing, None
        if landing is None:
            return
        if not landing.succeeded.result():
            self.accepted = [*landing.accepted, *self.accepted]
            self.unrecorded = [*landing.unrecorded, *self.unrecorded]
            self._failed_landings += 1
            if self._failed_landings >= TRIES:
                raise self._context.lander.moved_too_often()
            return
        for each in landing.accepted:
            self._context.bases.discard(each.manifest.batch)
        self._base, self._failed_landings = landing.tip, 0
        if landing.tip != landing.head:
            self._finished_landings += 1
            self._report(landing)

    def _report(self, landing: _Landing) -> None:
        landed: list[str] = []
        for accepted in landing.accepted:
            landed += accepted.fan_in.landed
        failures = _last_failures(landing.unrecorded, landed)
        self._context.observer.observe(
            CommitLanded(
                branch=self._context.lander.branch,
                commit=landing.tip,
                tasks=tuple(landed),
                failed_tasks=tuple(failures),
            )
        )
        self._context.publish()

    def _land(
        self,
        head: str,
        commits: Sequence[str],
        progress: Progress,
        accepted: Sequence[Merged],
        unrecorded: Sequence[ChangeSet],
    ) -> bool:
        context = self._context
        batches = [
            (each.manifest, context.results_folder(each.manifest), each.fan_in)
            for each in accepted
        ]
        if commits and not context.lander.land_batches(
            batches, progress, head, commits
        ):
            return False
        # Before the journal says that it is over, so that a crash leaves none behind.
        for each in accepted:
            context.drop_kept_work(each.manifest, each.fan_in)
        rounds = [each.manifest.round for each in accepted]
        events = [
            {"event": "flushed", "run": context.run, "rounds": rounds},
            recorded_event([changes.id for changes in unrecorded]),
        ]
        # With the next fsync of the journal: what is merged or recorded again by then is
        # on the branch.
        context.journal.record_all(events, synced=False)
        return True

    def _with_progress_file(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with a commit that has all of its progress."""
        context = self._context
        if snapshot.recorded is None:
            return snapshot
        commit = commit_progress(
            context.repo,
            snapshot,
            context.settings.progress,
            subject=requests_subject(self.unrecorded),
            run=context.run,
        )
        return snapshot._replace(commit=commit, recorded=None, marked=None)

    def _merge_again(self, head: str, before: Snapshot, scratch: Path) -> Snapshot:
        """Merge every accepted result on the branch's new head.

        Conflicts with what is there now become failures, which are reported: until now
        these results were merged. `before` is the run's own snapshot.
        """
        landed = {each.manifest.batch: each.fan_in.landed for each in self.accepted}
        manifests = [each.manifest for each in self.accepted]
        merged, snapshot = self.merge_on(head, manifests, lambda: before, scratch)
        for each in merged:
            anew = each.fan_in.failed.keys() & landed[each.manifest.batch]
            self._context.observer.results_refused(each.manifest, each.fan_in, anew)
            self.failed_again |= {each.fan_in.failed[task_id].kind for task_id in anew}
        return snapshot

    def merge_on(
        self,
        head: str,
        manifests: Sequence[Manifest],
        older: Callable[[], Snapshot],
        scratch: Path,
    ) -> tuple[list[Merged], Snapshot]:
        """Merge these batches on the branch's commit `head`, to land them instead of what
        was accepted. They are verified in checkouts below `scratch`.

        Each batch with what became of it, and the head with all of them. `older` is a
        snapshot for where the plan in `head` cannot be read.
        """
        context, settings = self._context, self._context.settings
        snapshot = read_for_recording(
            context.repo,
            head,
            settings.plan,
            settings.progress,
            settings.task_rules,
            older,
        )
        with context.repo.quarantine() as quarantine:
            # Some of what is unrecorded follows attempts that this merge brings.
            together = merge_together(
                context, quarantine, snapshot, scratch, manifests, self.unrecorded
            )
            adopted = adopt(context, quarantine, head, together)
        merged = [Merged(*each) for each in adopted]
        over = [each for each in merged if not each.fan_in.commits]
        # Before the journal says that they are over, so that a crash leaves none behind.
        for each in over:
            context.drop_kept_work(each.manifest, each.fan_in)
        branch = context.lander.branch
        context.journal.record_all([each.event(branch) for each in over])
        self._base, self.accepted = head, []
        for each in merged:
            self.add(each)
        return merged, together.snapshot

    def _commits(self, head: str, snapshot: Snapshot) -> list[str]:
        """The commits on `head` that bring what is accepted; none if it has all of it."""
        tip = snapshot.commit
        if self._context.settings.commit_strategy != "individual":
            tip = self._as_one_commit(head, snapshot)
        elif tip != head:
            argv = ["rev-list", "--reverse", f"{head}..{tip}"]
            return self._context.repo.git.text(argv).split()
        return [tip] if tip != head else []

    def _as_one_commit(self, head: str, snapshot: Snapshot) -> str:
        """A commit on `head` with the files of the run's head, and its progress; `head` if
        it has them.
        """
        repo = self._context.repo
        with repo.quarantine() as quarantine:
            tree = quarantine.tree(snapshot.commit)
            if snapshot.recorded is not None:
                progress_path = self._context.settings.progress
                tree = with_progress_file(quarantine, snapshot, progress_path)
            if tree == repo.tree(head):
                return head
            text = self._message()
            # that of a single result, as it was merged
            if repo.is_commit(snapshot.commit, tree, head, text):
                return snapshot.commit
            commit = quarantine.commit_tree(tree, [head], text)
            quarantine.adopt([commit], [head], packed=True)
        return commit

    def _message(self) -> str:
        """The message of the commit that brings what is accepted."""
        landed = []
        for accepted in self.accepted:
            if accepted.fan_in.landed:
                entry = accepted.manifest.entries[0]
                landed.append(LandedTask(entry, _summary(accepted.fan_in)))
        ids = [work.entry.task.id for work in landed]
        failures = _last_failures(self.unrecorded, ids)
        warnings = [
            warning
            for accepted in self.accepted
            for warning in accepted.fan_in.tree_warnings
        ]
        # Of results that were merged one by one, each has the same notices.
        warnings = list(dict.fromkeys(warnings))
        return commit_message(self.accepted[-1].manifest, landed, failures, warnings)


def _last_failures(
    unrecorded: Sequence[ChangeSet], landed: Sequence[str]
) -> dict[str, Failure]:
    """The last failure of each task that has not landed after all."""
    failures: dict[str, Failure] = {}
    for changes in unrecorded:
        for change in changes.changes:
            if isinstance(change, FailedAttempt) and change.task not in landed:
                failures[change.task] = change.failure
    return failures


def _summary(fan_in: FanIn) -> str | None:
    return fan_in.results[0].usage.summary if fan_in.results else None
