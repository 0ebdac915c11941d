"""The rolling schedule: a task starts the moment its dependencies are merged and a slot
is free.

The steps are those of `batches`, with one task per batch. A task is chosen when a slot
is free (`dispatch`), and its result is merged at once onto the run's own head, a ref of
this run. Until then its batch is one of the `open_batches`.

Writing to the disk is slow, so results that are merged one after another are made
durable together, and a batch is made durable while its agent works. Verifying takes
longer still: it has a thread of its own, and tasks start meanwhile from the head that
was verified last. For those that become ready if it is green, workspaces are prepared
while it runs; no agent starts in one before (`early_workspaces`). With
`start_after: merge` they start from the work that is being verified (`batch_bases`).
Merged work lands on the branch as one commit when no task runs, at the latest after
`max_concurrent` accepted results (`landing_queue`). After a crash, accepted and open
batches are merged again from their result folders (`recovery`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from runner.core.plurals import pluralize
from runner.core.result import FailureKind, Result
from runner.local.dispatch import Dispatcher
from runner.local.early_preparation import EarlyPreparation
from runner.local.joint_merge import (
    MergedResult,
    MergedResults,
    VerifiedMerge,
    adopt,
    merge_together,
)
from runner.local.landing_queue import LandingQueue, Merged
from runner.local.open_batches import OpenBatches
from runner.local.run_head import RunHead

if TYPE_CHECKING:
    from runner.attempt.pooled_workspaces import PooledWorkspaces
    from runner.attempt.verify_checkouts import PooledCheckouts, SpareCheckouts
    from runner.attempt.workspace_pool import WorkspacePool
    from runner.core.manifest import Manifest
    from runner.fan_in.outcome import FanIn
    from runner.local.account import RunAccount
    from runner.local.attempts import AttemptRunner
    from runner.local.context import RunContext
    from runner.plan.snapshot import Snapshot
    from runner.repo.quarantine import Quarantine

# Seconds between two looks for requests while a slot is free.
REQUEST_INTERVAL = 1.0


class AgentExited(NamedTuple):
    """An attempt's programs have ended; its work is still to be captured."""

    manifest: Manifest


class AttemptDone(NamedTuple):
    """An attempt has its result; `outcome` raises what went wrong with fanin itself."""

    manifest: Manifest
    outcome: Future[Result | None]


@dataclass(frozen=True)
class LandingDone:
    """A landing has ended, successful or not."""


@dataclass(frozen=True)
class VerifyDone:
    """The results that were verified together are merged, or sent back."""


LoopEvent = AgentExited | AttemptDone | LandingDone | VerifyDone


class RollingSchedule:
    """One run by the rolling schedule, or its part between two pauses. `run` is called
    once.

    Threads of two pools only put events into a queue; all else happens in one thread.
    """

    def __init__(
        self,
        context: RunContext,
        account: RunAccount,
        attempts: AttemptRunner,
        workspaces: WorkspacePool | PooledWorkspaces,
        spares: SpareCheckouts | PooledCheckouts,
        scratch: Path,
        snapshot: Snapshot,
        rounds: int = 0,
        landings: int = 0,
    ) -> None:
        """`rounds` and `landings` are those of earlier parts of the run."""
        self._context, self._account, self._scratch = context, account, scratch
        self._head = RunHead(context, snapshot)
        self._landing_queue = LandingQueue(context, snapshot.commit, landings)
        self._events: SimpleQueue[LoopEvent] = SimpleQueue()
        self._batches = OpenBatches(context, self._landing_queue)
        self._starts_after_merge = context.settings.start_after == "merge"
        self._dispatcher = Dispatcher(
            context,
            account,
            attempts,
            workspaces,
            spares,
            EarlyPreparation(context, workspaces, scratch),
            self._head,
            self._batches,
            self._landing_queue,
            rounds,
            on_exit=lambda manifest: self._events.put(AgentExited(manifest)),
            on_done=lambda manifest, outcome: self._events.put(
                AttemptDone(manifest, outcome)
            ),
        )
        self._stop_reason: str | None = None

    def run(self) -> str | None:
        """Run until no task can start and none runs.

        Returns why it stopped although tasks are ready, or None if none can start now
        (`RunAccount.pause`) or the run was cancelled. InvalidInput, once all that had
        started has landed, if a person has made the plan or a template invalid.
        """
        # Half of the threads are for attempts whose agent has exited.
        threads = 2 * self._context.settings.slots
        at_once = self._context.settings.verify_concurrent
        with (
            ThreadPoolExecutor(1, thread_name_prefix="fanin-land") as landing_pool,
            ThreadPoolExecutor(threads, thread_name_prefix="fanin") as agent_pool,
            ThreadPoolExecutor(
                at_once, thread_name_prefix="fanin-verify"
            ) as verify_pool,
            self._ends_merge(),
        ):
            self._head.move_ref()
            while True:
                with self._head.passes_errors():
                    if self._stop_reason is None:
                        self._dispatcher.start_ready_tasks(agent_pool)
                    self._dispatcher.prepare_early(ends=self._stop_reason is not None)
                self._head.record(lands_now=self._landing_queue.may_land)
                if self._batches.is_empty:
                    if self._land_everything(landing_pool):
                        continue
                    break
                if self._landing_queue.may_land and self._start_landing(landing_pool):
                    continue
                agent_exited = self._take_events()
                # A slot that is free should not wait for a merge.
                merges = not agent_exited or self._batches.merges_lag_behind
                if merges and self._batches.to_merge(self._head.snapshot):
                    self._merge_results(verify_pool)
        if self._dispatcher.invalid is not None:
            raise self._dispatcher.invalid
        if self._stop_reason is not None:
            return self._stop_reason
        snapshot = self._context.snapshot()
        # Where nothing could start, no batch was accounted for.
        return self._account.cost_limit_reached(
            snapshot, self._context.choice
        ) or self._landing_limit_reached(snapshot)

    @property
    def rounds(self) -> int:
        """Of the run so far."""
        return self._dispatcher.rounds

    @property
    def landings(self) -> int:
        """Of the run so far."""
        return self._landing_queue.landings

    def _landing_limit_reached(self, snapshot: Snapshot) -> str | None:
        """The message that limits.max_rounds stops all ready tasks, or None."""
        context = self._context
        if self._landing_queue.landings_left > 0 or context.draining.is_set():
            return None
        standings = context.choice.standings(snapshot, context.settings.max_attempts)
        if not snapshot.graph.ready(standings):
            return None
        limit = context.settings.limits.max_rounds
        return f"limits.max_rounds allows {pluralize(limit, 'landing')}"

    @contextmanager
    def _ends_merge(self) -> Iterator[None]:
        """Leave no quarantine behind, nor a workspace that no attempt has claimed,
        whatever ends the run.
        """
        try:
            yield
        finally:
            self._dispatcher.early.close()
            if self._batches.verifying is not None:
                self._batches.verifying.close()

    # -- take in what has happened --

    def _take_events(self) -> bool:
        """Handle all events, and wait for one if nothing can be merged now, at most
        until the end of a pause, or a moment where a request may be for a free slot.

        Returns whether an agent has exited.
        """
        agent_exited = False
        must_wait = not self._batches.to_merge(self._head.snapshot)
        while must_wait or not self._events.empty():
            event = self._context.clock.take(self._events, self._longest_wait)
            if event is None:
                return agent_exited
            must_wait = False
            match event:
                case AgentExited(manifest):
                    self._batches.leave_slot(manifest)
                    agent_exited = True
                case AttemptDone(manifest, outcome):
                    result = outcome.result()
                    # before anything else starts that would meet the same limit
                    self._account.note_limit(manifest, result)
                    self._batches.add_result(manifest, result)
                case LandingDone():
                    self._landing_queue.wait_for_landing()
                case VerifyDone():
                    if self._batches.verifying is not None:
                        self._take_verified()
                    return agent_exited
        return agent_exited

    @property
    def _longest_wait(self) -> float | None:
        """Seconds; None to wait for the next event."""
        waits = [self._account.seconds_of_pause]
        has_free_slot = len(self._batches) < self._account.slots
        if has_free_slot and self._stop_reason is None:
            waits.append(REQUEST_INTERVAL)
        if self._batches.has_room:
            waits.append(self._batches.unmerged.seconds_left)
        return min((each for each in waits if each is not None), default=None)

    # -- merge results --

    def _merge_results(self, verify_pool: Executor) -> None:
        """Merge what is to be merged now and account for it; where that takes a run of
        `verify`, begin it.
        """
        manifests = self._batches.to_merge(self._head.snapshot)
        self._batches.unmerged.remove(manifests)
        for manifest in manifests:
            self._context.observer.merge_started(manifest)
        if manifests[0].verify is None:
            with self._context.repo.quarantine() as quarantine:
                merged = merge_together(
                    self._context,
                    quarantine,
                    self._head.snapshot,
                    self._scratch,
                    manifests,
                )
                self._take_in(quarantine, merged)
            return
        if self._starts_after_merge:  # with one slot, too
            for manifest in manifests:
                self._batches.leave_slot(manifest)
        if self._batches.verifying is None:
            self._batches.verifying = VerifiedMerge(
                self._context,
                self._head.snapshot,
                self._scratch,
                verify_pool,
                partial(self._events.put, VerifyDone()),
            )
        self._batches.verifying.add(manifests)
        # Work that does not merge is decided at once.
        self._take_verified()

    def _take_verified(self) -> None:
        """Take in what verify has decided."""
        verifying = self._batches.verifying
        assert verifying is not None
        merged = verifying.take()
        if merged.results:
            self._take_in(verifying.quarantine, merged)
        if verifying.is_over:
            self._batches.verifying = None
            # Workspaces may be made of the objects in its quarantine.
            self._dispatcher.early.when_at_rest(verifying.close)

    def _take_in(self, quarantine: Quarantine, merged: MergedResults) -> None:
        """Take over what was merged in the quarantine, and account for it."""
        context = self._context
        context.lander.watch.check(
            [
                (each.manifest, context.results_folder(each.manifest), each.fan_in)
                for each in merged.results
            ]
        )
        for result in merged.results:
            self._batches.close(result.manifest)
            is_merged = bool(result.fan_in.landed)
            context.bases.decide(result.manifest, merged=is_merged)
        self._stop_dependents(merged.results)
        for each in self._accept(quarantine, merged):
            stop_reason = self._account_for_result(each.manifest, each.fan_in)
            self._stop_reason = stop_reason or self._stop_reason

    def _stop_dependents(self, results: Sequence[MergedResult]) -> None:
        """End the attempts that started on work which is sent back."""
        context = self._context
        sent_back = [
            each.manifest.only_task.id for each in results if not each.fan_in.landed
        ]
        if not sent_back or not context.bases.has_unverified_starts:
            return
        # What may become the head now does not build on what is sent back.
        self._head.keep_others()
        graph = self._head.snapshot.graph
        for stopped, needed in context.bases.send_back(sent_back, graph):
            context.observer.note(
                f"{stopped} will start again: {needed}, which it needs, was sent back"
            )

    def _accept(self, quarantine: Quarantine, merged: MergedResults) -> list[Merged]:
        """Move the run's head to the results; then their dependents may be chosen."""
        context = self._context
        adopted = adopt(context, quarantine, self._head.snapshot.commit, merged)
        last_merged = [Merged(*each) for each in adopted]
        self._head.advance(merged.snapshot, last_merged)
        for each in last_merged:
            self._landing_queue.add(each)
            # Its commits are the run's own: the branch gets others.
            context.observer.batch_merged(
                each.manifest,
                replace(each.fan_in, commits=()),
                context.lander.branch,
            )
        return last_merged

    def _account_for_result(self, manifest: Manifest, fan_in: FanIn) -> str | None:
        """Return why nothing more should start after this result, or None."""
        account = self._account
        self._dispatcher.ready.mark_done(
            manifest.only_task.id, self._head.snapshot.progress
        )
        # A result is stale only where a person has moved the branch meanwhile.
        moved = any(
            failure.kind is FailureKind.STALE for failure in fan_in.failed.values()
        )
        stop_reason = account.account_for_batch(manifest, fan_in, moved=moved)
        if stop_reason is None:
            stop_reason = account.cost_limit_reached(
                self._head.snapshot, self._context.choice
            )
        return stop_reason

    # -- land what is merged --

    def _start_landing(self, landing_pool: Executor) -> bool:
        """Start to land what is accepted; return whether the run's own head has moved.

        Then other tasks may be ready: merged work may have failed on the branch's new
        head, and somebody may have changed the plan.
        """
        # The queue returns the same snapshot unless it had to merge again, or to commit
        # failures that came after the last merge.
        before = self._head.snapshot
        after = self._landing_queue.start_landing(
            before,
            landing_pool,
            partial(self._events.put, LandingDone()),
            self._scratch,
            # What is being verified builds on it.
            keeps_head=self._batches.verifying is not None,
        )
        self._stop_reason = self._stop_reason or self._account.red_branch(
            self._context.lander.branch, self._landing_queue.failed_again
        )
        if after is before:
            if not self._landing_queue.lands(before.commit):
                self._head.keep()
            return False
        self._head.replace(after)
        return True

    def _land_everything(self, landing_pool: Executor) -> bool:
        """Land everything, wait for it, and return whether the run's head has moved.

        If not, nothing remains that the run's heads must keep.
        """
        self._landing_queue.wait_for_landing()
        moved = False
        while self._landing_queue.accepted:
            moved = self._start_landing(landing_pool) or moved
            self._landing_queue.wait_for_landing()
        if not moved:
            self._head.delete_refs()
        return moved


class RollingRun:
    """One run by the rolling schedule, part after part: nothing runs in a pause."""

    def __init__(
        self,
        context: RunContext,
        account: RunAccount,
        attempts: AttemptRunner,
        workspaces: WorkspacePool | PooledWorkspaces,
        spares: SpareCheckouts | PooledCheckouts,
        scratch: Path,
    ) -> None:
        self._context, self._account, self._attempts = context, account, attempts
        self._workspaces, self._spares = workspaces, spares
        self._scratch = scratch
        self._rounds = self._landings = 0

    def run(self, snapshot: Snapshot) -> str | None:
        """Run from the branch's `snapshot` to the next pause or the end; as
        `RollingSchedule.run`.
        """
        snapshot, stop_reason = self._context.begin_round(snapshot)
        if stop_reason is not None:
            return stop_reason
        part = RollingSchedule(
            self._context,
            self._account,
            self._attempts,
            self._workspaces,
            self._spares,
            self._scratch,
            snapshot,
            self._rounds,
            self._landings,
        )
        stop_reason = part.run()
        self._rounds, self._landings = part.rounds, part.landings
        return stop_reason
