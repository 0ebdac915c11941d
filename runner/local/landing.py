"""Lands a batch on a branch of this repository: merge, verify, move the branch and its
files. Work that cannot land now waits on a branch of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from runner import pipeline
from runner.agents.environment import steering_of_person
from runner.attempt.context import AttemptContext
from runner.attempt.verification import VerifyCommand, verify_commit
from runner.attempt.verify_checkouts import NewCheckouts, VerifyCheckouts
from runner.core.cancellation import Cancellation
from runner.core.errors import (
    EnvironmentBroken,
    FaninError,
    Interrupted,
    UsageProblem,
)
from runner.core.events import CommitLanded
from runner.core.result import Failure, FailureKind
from runner.fan_in import merge_events
from runner.local.checkout_watch import CheckoutWatch
from runner.local.journal import Journal
from runner.local.journal_state import WaitingWork
from runner.local.known_secrets import known_secrets
from runner.local.result_seals import ResultSeals
from runner.local.unlanded_work import has_unlanded_work
from runner.local.unrecorded import commit_progress, recorded_event, with_unrecorded
from runner.local.verdict_key import key_of
from runner.plan.snapshot import (
    NO_RULES,
    Snapshot,
    is_as_read,
    read_for_recording,
    read_snapshot,
)
from runner.repo import ref_update, work_tree

# What merges and verifies is imported when there is something: the first agent of a run
# starts before that.
if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.core.manifest import Manifest
    from runner.core.task import PlanSettings
    from runner.fan_in.inputs import BatchResults, RunVerify, VerifyStep
    from runner.fan_in.landed_changes import MergedBatch
    from runner.fan_in.outcome import FanIn
    from runner.local.observer import MaskingObserver
    from runner.local.verdicts import Verdicts
    from runner.plan.changes import ChangeSet
    from runner.plan.progress import Progress
    from runner.policy.redaction import Secrets
    from runner.repo.ref_update import RefUpdate
    from runner.repo.repository import Repository

# The branch moves when somebody commits meanwhile; each try merges on its new head.
TRIES = 20
_NO_LONGER_NEEDED = Failure.model_construct(
    kind=FailureKind.INTERRUPTED,
    message="no longer needed: another tree has decided it",
)


class BranchLander:
    """Lands on `branch`, which changes when files are in the way of the first one."""

    def __init__(
        self,
        repo: Repository,
        journal: Journal,
        settings: Settings,
        attempt_context: AttemptContext,
        observer: MaskingObserver,
        branch: str,
        verdicts: Verdicts,
    ) -> None:
        self.branch, self._verdicts = branch, verdicts
        has_walls = attempt_context.walls.stand
        steering = steering_of_person(attempt_context.environ)
        self.watch = CheckoutWatch(
            repo, journal, observer, has_walls=has_walls, others=steering
        )
        self.seals = ResultSeals()
        self._repo, self._journal, self._settings = repo, journal, settings
        self._attempt_context, self._observer = attempt_context, observer
        # with checkouts that are made in advance, while a run is under way
        self.checkouts: VerifyCheckouts = NewCheckouts()
        # what the last run of `verify` took that was not ended; None before it
        self._verify_seconds: float | None = None
        # the run that landed the last batch, and what its branch says since
        self._landed: tuple[str, Snapshot] | None = None
        # the commit of it whose plan need not be read anew
        self._read_as = ""

    @property
    def verify_seconds(self) -> float | None:
        """About how many seconds a run of `verify` takes; None if there was none yet."""
        return self._verify_seconds

    def head(self) -> str:
        """The branch's commit. Raises UsageProblem if the branch is gone."""
        head = self._repo.commit(f"refs/heads/{self.branch}")
        if head is None:
            raise UsageProblem(
                f"the branch {self.branch} is gone; finished work is kept",
                f"restore it ( git branch {self.branch} COMMIT ), "
                "or choose another with  --branch NAME",
            )
        return head

    def merge_and_land(self, manifest: Manifest, results: Path, scratch: Path) -> FanIn:
        """Merge the batch on the branch's head and land it, with what the branch has not
        recorded yet. If nothing lands, its failures stay to be recorded.

        Again from the new head if the branch moved meanwhile; EnvironmentBroken if it
        moved TRIES times.
        """
        for _ in range(TRIES):
            head = self.head()
            snapshot = self.landed_snapshot(manifest.run, head) or read_for_recording(
                self._repo,
                head,
                manifest.plan,
                manifest.progress,
                manifest.task_rules,
                partial(self.chosen_from, manifest),
            )
            counted = with_unrecorded(
                snapshot, self._journal.state(), self.branch, manifest.progress
            )
            fan_in = pipeline.merge_batch(
                self._repo,
                self.batch_results(manifest, results),
                head,
                verification=self.verification(manifest, scratch),
                snapshot=counted.snapshot,
            )
            batches = [(manifest, results, fan_in)]
            self.watch.check(batches)
            if not fan_in.commits:
                return fan_in
            assert fan_in.snapshot is not None
            progress = fan_in.snapshot.progress
            if self.land_batches(batches, progress, head, fan_in.commits):
                self._note_recorded(counted.ids)
                self._landed = manifest.run, fan_in.snapshot
                if fan_in.landed:
                    self._note_landed(manifest, fan_in.tip)
                return fan_in
        raise self.moved_too_often()

    def landed_snapshot(self, run: str, head: str) -> Snapshot | None:
        """What the branch says at its head, if the last batch of this run has made it.

        Its plan is the one that was read before, of which only the run's own marks, and
        texts of completed tasks, are others now, and the records say the same. Reading it
        anew for each landing would take longer than the landing. None: the commit must be
        read.
        """
        if self._landed is None:
            return None
        landed_by, snapshot = self._landed
        if landed_by != run or snapshot.commit != head:
            return None
        # What is reopened is not in the files, and an unreadable plan may be another.
        if snapshot.progress.reopened or snapshot.problems:
            return None
        if self._read_as != head and not is_as_read(self._repo, snapshot):
            return None
        self._read_as = head
        return snapshot

    def chosen_from(self, manifest: Manifest) -> Snapshot:
        """What the batch was chosen from."""
        return read_snapshot(
            self._repo,
            manifest.base,
            manifest.plan,
            manifest.progress,
            manifest.task_rules,
        )

    def land_changes(
        self,
        run: str,
        plan: PlanSettings,
        progress_path: str,
        changes: Sequence[ChangeSet],
        older: Snapshot | None = None,
    ) -> None:
        """Commit changes of the plan's progress that are in the journal alone.

        InvalidInput if the progress on the branch cannot be read, or the plan, unless
        there is an `older` one.
        """
        if not changes:
            return
        from runner.plan.changes import apply_changes, requests_subject

        for _ in range(TRIES):
            head = self.head()
            snapshot = self._read(head, plan, progress_path, older)
            applied = apply_changes(snapshot, changes)
            subject = requests_subject(changes)
            if self._land_progress(run, applied.snapshot, progress_path, subject):
                self._note_recorded(applied.ids)
                return
        raise self.moved_too_often()

    def _read(
        self,
        head: str,
        plan: PlanSettings,
        progress_path: str,
        older: Snapshot | None,
    ) -> Snapshot:
        if older is None:
            return read_snapshot(self._repo, head, plan, progress_path, NO_RULES)
        return read_for_recording(
            self._repo, head, plan, progress_path, NO_RULES, lambda: older
        )

    def _land_progress(
        self, run: str, snapshot: Snapshot, progress_path: str, subject: str
    ) -> bool:
        """Commit the snapshot's progress; False if the branch has moved meanwhile."""
        if snapshot.recorded is None:
            return True
        from runner.plan.changes import unrecorded_failures

        failures = unrecorded_failures(snapshot)
        commit = commit_progress(
            self._repo, snapshot, progress_path, subject=subject, run=run
        )
        if not self.land(snapshot.commit, commit, run):
            return False
        self._observer.observe(
            CommitLanded(
                branch=self.branch, commit=commit, failed_tasks=tuple(failures)
            )
        )
        return True

    def _note_recorded(self, ids: Sequence[str]) -> None:
        if ids:
            self._journal.record_all([recorded_event(ids)])

    def land_batches(
        self,
        batches: Sequence[MergedBatch],
        progress: Progress,
        head: str,
        commits: Sequence[str],
    ) -> bool:
        """Move the branch from commit `head` to the last of the commits, which bring these
        batches and this progress; False if it has moved meanwhile.
        """
        from runner.fan_in.landed_changes import record_landing

        # Before they land, so that no crash comes between.
        refs = record_landing(self._repo, batches, progress, head, commits)
        if self.land(head, commits[-1], batches[-1][0].run):
            for _, _, fan_in in batches:
                self.watch.recorded(fan_in.tree_warnings)
            return True
        if refs:
            self._repo.delete_refs(refs)
        return False

    def land(self, head: str, tip: str, run: str) -> bool:
        """Move the branch from commit `head` to `tip`; False if it has moved meanwhile.

        If files are in the way, the work goes to a branch of its own.
        """
        update = self._move_branch(head, tip)
        if update.refused:
            self._move_to_waiting_branch(tip, run, update)
        return not update.moved

    def _move_branch(self, head: str, tip: str) -> RefUpdate:
        with self.watch.landing(self.branch, tip) as dirty:
            landing = work_tree.plan_landing(self._repo, self.branch, head, tip, dirty)
            # Before the files change, so that a crash can be undone.
            self._journal.record("landing", **landing._asdict())
            return work_tree.land(self._repo, landing)

    def moved_too_often(self) -> EnvironmentBroken:
        return EnvironmentBroken(
            f"{self.branch} moved {TRIES} times while the batch was merged",
            "the results are kept; run again when nobody else commits to the branch",
        )

    def secrets_of_agents(self, manifest: Manifest) -> Secrets:
        """The secrets that must not be in the work of the batch's agents."""
        chosen = [entry.agent for entry in manifest.entries]
        return known_secrets(
            chosen,
            self._attempt_context.environ,
            manifest.setup_env,
            manifest.include,
            self._repo.origin,
            manifest.env.values(),
        )

    def batch_results(self, manifest: Manifest, folder: Path) -> BatchResults:
        """The batch's results in `folder`, and the secrets that must not be in them."""
        from runner.fan_in.inputs import BatchResults

        secrets = self.secrets_of_agents(manifest)
        return BatchResults(
            manifest,
            folder,
            secrets=secrets,
            defers_failures=True,
            notices=self.watch.notices,
            checks=self.seals.checks(manifest.batch),
        )

    def verification(self, manifest: Manifest, scratch: Path) -> RunVerify | None:
        """The verification of the batch's merged tree, in a checkout below `scratch`.

        None if the batch has no verify command.
        """
        from runner.fan_in.inputs import RunVerify

        verify = VerifyCommand.of(manifest)
        if verify is None:
            return None
        return RunVerify(
            partial(self.run_verify, manifest.batch, verify, scratch),
            self._settings.verify_concurrent,
        )

    def run_verify(
        self,
        batch: str,
        verify: VerifyCommand,
        scratch: Path,
        step: VerifyStep,
    ) -> Failure | None:
        """Return why the command fails on the tree, None if it succeeds, or has
        succeeded on an equal one lately.

        Its failure does not count if `step.cancel` has ended it. Raises Interrupted if
        the run is to stop before the command has ended.
        """
        if self._is_stopping:
            raise _not_verified()
        if step.cancel.is_set():
            return _NO_LONGER_NEEDED
        key = self._verdict_key(verify, step.tree)
        if (age := self._verdicts.green_since(key)) is not None:
            self._observer.inform(f"verify is not run: this tree was green {age} ago")
            return None
        began = time.monotonic()
        failure = merge_events.verified(
            batch,
            step,
            verify.command,
            partial(self._verify_commit, verify, step, scratch),
            self._observer.observe,
        )
        if failure is not None and not failure.counted:
            # No task is to blame: the batch stays open for the next run.
            if self._is_stopping:
                raise _not_verified()
            return failure
        self._verify_seconds = time.monotonic() - began
        if key == self._verdict_key(verify, step.tree):
            self._verdicts.record(key, verify.command, failure)
        return failure

    @property
    def _is_stopping(self) -> bool:
        cancel = self._attempt_context.cancel
        return cancel is not None and cancel.is_set()

    def _verify_commit(
        self, verify: VerifyCommand, step: VerifyStep, scratch: Path
    ) -> Failure | None:
        """`run_verify` without a look at earlier verdicts."""
        context = self._attempt_context
        cancel = Cancellation(step.cancel, context.cancel)
        try:
            failure = verify_commit(
                verify,
                self._repo.origin,
                step.commit,
                step.objects,
                scratch,
                replace(context, cancel=cancel),
                checkouts=self.checkouts,
            )
        except FaninError:
            # The preparation of its checkout was broken off.
            if not step.cancel.is_set():
                raise
            return _NO_LONGER_NEEDED
        if step.cancel.is_set() and failure is not None and not failure.counted:
            return _NO_LONGER_NEEDED
        return failure

    def _verdict_key(self, verify: VerifyCommand, tree: str) -> str:
        context = self._attempt_context
        return key_of(tree, verify, self._repo.origin, context.environ, context.walls)

    def _note_landed(self, manifest: Manifest, commit: str) -> None:
        """Keep that the commit is green, as it brings a tree that was verified and the
        marks of its tasks.
        """
        verify = VerifyCommand.of(manifest)
        if verify is None:
            return
        from runner.fan_in.verify_runs import verified_tree

        with self._repo.quarantine() as quarantine:
            tree = verified_tree(quarantine, commit, manifest.progress)
        self._verdicts.record(self._verdict_key(verify, tree), verify.command, None)

    def _move_to_waiting_branch(self, tip: str, run: str, refusal: RefUpdate) -> None:
        """Put the work on a branch of its own, on which later batches build."""
        target, waiting_branch = self.branch, self._create_waiting_branch(tip, run)
        self._record_waiting(WaitingWork(target, waiting_branch), refusal)
        self._observer.note(
            f"{target} cannot take the work now; continuing on {waiting_branch}. "
            f"Git says:\n{refusal.text}"
        )
        if not refusal.undone:
            self._observer.note(
                f"files of that work may be left in the work tree of {target}; "
                "the next run removes them"
            )
        self.branch = waiting_branch
        self.watch.move_to(waiting_branch, tip)

    def _record_waiting(self, waiting: WaitingWork, refusal: RefUpdate) -> None:
        # the next run undoes what could not be undone now
        self._journal.record(
            "waiting",
            branch=waiting.target,
            on=waiting.branch,
            undone=refusal.undone,
        )

    def _create_waiting_branch(self, tip: str, run: str) -> str:
        # Late: nearly all work reaches its own branch.
        from runner.delivery.choice import is_own

        # Git refuses fanin/… where a branch is named fanin.
        names = [f"fanin/{run}", f"fanin-{run}"]
        if is_own(self.branch):
            # The first may be this very branch, and is the name of what is delivered.
            names = names[1:]
        refusal: str | None = None
        for name in names:
            ref = f"refs/heads/{name}"
            refusal = self._repo.ref_refusal(ref, tip)
            if refusal is None:
                self._repo.sync_refs([ref])
                return name
        raise EnvironmentBroken(
            f"cannot create the branch {names[-1]}: {refusal}",
            "the results are kept; run again",
        )

    def land_waiting_work(self, waiting: WaitingWork) -> None:
        """Land work that waited for this branch; work for another branch may wait on.

        Raises UsageProblem with the way out if the branch cannot take it.
        """
        repo = self._repo
        if waiting.target == self.branch and has_unlanded_work(repo, waiting):
            tip, head = repo.commit(f"refs/heads/{waiting.branch}"), self.head()
            assert tip is not None  # or there would be no unlanded work
            follows_head = repo.is_ancestor(head, tip)
            update = ref_update.MOVED
            if follows_head:
                update = self._move_branch(head, tip)
            if not update.landed:
                self._record_waiting(waiting, update)
                raise _not_landed(waiting, update)
            self._observer.note(
                f"the work that waited on {waiting.branch} landed on {self.branch}"
            )
        if not has_unlanded_work(repo, waiting):
            self._journal.record("freed", branch=waiting.branch)


def _not_verified() -> Interrupted:
    return Interrupted(
        "stopped before the merged work was verified; the work is kept",
        "continue with  fanin run",
    )


def _not_landed(waiting: WaitingWork, update: RefUpdate) -> UsageProblem:
    """Why the waiting work did not land, and the way out."""
    remedy = (
        f"merge it:  git merge {waiting.branch}    "
        f"or drop it:  git branch -D {waiting.branch}"
    )
    what = f"finished work waits on {waiting.branch}"
    if update.refused:
        # Until then, a merge by hand is refused for the same reason.
        return UsageProblem(
            f"{what}, and {waiting.target} cannot take it. Git says:\n{update.text}",
            f"move or commit what is in the way, then {remedy}",
        )
    return UsageProblem(
        f"{what} and {waiting.target} cannot be fast-forwarded to it",
        remedy,
    )
