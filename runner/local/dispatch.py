"""Starts the tasks of a rolling run in free slots: it chooses the most urgent one and the
head that it starts from, and prepares checkouts for those that come next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Set
from concurrent.futures import Executor, Future
from functools import partial
from typing import TYPE_CHECKING

from runner.core.errors import InvalidInput
from runner.schedule.ready_queue import ReadyQueue
from runner.schedule.slot_choice import HeadToStartFrom, choose

if TYPE_CHECKING:
    from runner.attempt.early_workspaces import EarlyWorkspace
    from runner.attempt.pooled_workspaces import PooledWorkspaces
    from runner.attempt.slots import Slot
    from runner.attempt.verify_checkouts import PooledCheckouts, SpareCheckouts
    from runner.attempt.workspace_pool import WorkspacePool
    from runner.core.manifest import Manifest
    from runner.core.result import Result
    from runner.local.account import RunAccount
    from runner.local.attempts import AttemptRunner
    from runner.local.context import RunContext
    from runner.local.early_preparation import EarlyPreparation
    from runner.local.landing_queue import LandingQueue
    from runner.local.open_batches import OpenBatches
    from runner.local.run_head import RunHead
    from runner.plan.snapshot import Snapshot

AttemptOutcome = Future["Result | None"]


class Dispatcher:
    """Starts a batch of one task whenever a slot is free and a task is ready.

    `ready` are the tasks that may start from the run's head, `early` the workspaces for
    those that may if verify is green. `rounds` is the number of the last batch of the
    run. `invalid` is why no more can be chosen, if so.
    """

    def __init__(
        self,
        context: RunContext,
        account: RunAccount,
        attempts: AttemptRunner,
        workspaces: WorkspacePool | PooledWorkspaces,
        spares: SpareCheckouts | PooledCheckouts,
        early: EarlyPreparation,
        head: RunHead,
        batches: OpenBatches,
        landing_queue: LandingQueue,
        rounds: int,
        on_exit: Callable[[Manifest], object],
        on_done: Callable[[Manifest, AttemptOutcome], object],
    ) -> None:
        """`on_exit` is called when the programs of an attempt have ended, `on_done` when
        it has its result, or has failed by an error of fanin's own; from other threads.
        """
        self._context, self._account, self._attempts = context, account, attempts
        self._workspaces, self._spares = workspaces, spares
        self._head, self._batches = head, batches
        self._landing_queue = landing_queue
        self._on_exit, self._on_done = on_exit, on_done
        self._starts_after_merge = context.settings.start_after == "merge"
        self.ready = ReadyQueue(context.settings.max_attempts, context.choice)
        self.early, self.rounds = early, rounds
        self.invalid: InvalidInput | None = None

    def start_ready_tasks(self, agent_pool: Executor) -> None:
        """Start what may start now, and prepare checkouts for what comes next."""
        started = 0
        while True:
            self.invalid = None
            try:
                manifest = self._choose_task(started)
            except InvalidInput as error:
                self.invalid = error
                return
            if manifest is None:
                return
            started += 1
            self._start(manifest, agent_pool)

    def _start(self, manifest: Manifest, agent_pool: Executor) -> None:
        self.ready.mark_started(manifest.only_task.id)
        self.rounds += 1
        cancel = self._note_base(manifest)
        self._context.observer.batch_chosen(manifest)
        self._batches.start(manifest)
        agent_exited: Callable[[], object] | None = None
        settings = self._context.settings
        # With pooled checkouts the next task starts in the one that this task leaves.
        if settings.slots > 1 and settings.workspace == "fresh":
            agent_exited = partial(self._on_exit, manifest)
        early = self._claim_early(manifest)
        attempt = agent_pool.submit(
            self._run_attempt,
            manifest,
            # Here, so that the most urgent task has the first choice.
            early.slot if early else self._attempts.take_slot(),
            agent_exited,
            self._head.recorded,
            early,
            cancel,
        )
        attempt.add_done_callback(partial(self._on_done, manifest))

    def _take_requests(self) -> None:
        if self._context.draining.is_set():
            return
        snapshot, running = self._head.snapshot, self._batches.task_ids
        taken = self._context.take_requests(snapshot, running)
        self._head.snapshot = taken.snapshot
        self._landing_queue.unrecorded += taken.changes
        if self._batches.verifying is not None:
            self._batches.verifying.requested.extend(taken.changes)

    def _choose_task(self, started: int) -> Manifest | None:
        """A batch of one task for a free slot; None if no task may start now. So many have
        `started` just before.

        InvalidInput if the plan, or what it names, cannot be read any more.
        """
        if self._head.snapshot.problems:
            raise InvalidInput(self._head.snapshot.problems)
        if self._context.must_change_files:
            return None
        self._take_requests()
        context, snapshot = self._context, self._head.snapshot
        running_ids = self._batches.task_ids
        self.ready.sync(snapshot, running_ids)
        manifest = self._next_batch()
        if manifest is None:
            # All that can start has started: prepare what the next tasks need.
            slots = context.settings.slots
            self._workspaces.prewarm(
                self.ready.ready_after(running_ids, slots),
                snapshot.commit,
                # Those that have just started may not have taken theirs.
                min(slots, self.ready.waiting + started),
            )
            if context.settings.verify is not None:
                self._prewarm_for_verify(snapshot.commit)
        return manifest

    def _prewarm_for_verify(self, commit: str) -> None:
        at_once = self._context.settings.verify_concurrent
        if self._batches.at_work:
            self._spares.prewarm(at_once, commit)
        elif self._batches.verifying is not None and not self.ready.waiting:
            # What is verified now is most likely the last: one run has begun.
            self._spares.keep(at_once - 1)

    def _next_batch(self) -> Manifest | None:
        free = self._account.slots - self._batches.used_slots
        if self._context.draining.is_set() or free <= 0 or self._account.holds_back():
            return None
        if self._landing_queue.is_last_full:
            return None
        running = self._batches.manifests
        agents = self._account.choose_agents(
            self._head.snapshot.plan,
            [manifest.entries[0].agent for manifest in running],
        )
        settings = self._context.settings
        choice = choose(
            self._choices(),
            self._account.slots,
            agents.may_start,
            # Results may wait long for it: no slot waits for what they would free.
            waits_for_merges=settings.verify is None,
            # With one slot each task starts from what the one before has made.
            prefers_last=settings.slots == 1,
        )
        tasks = choice.tasks
        return self._context.next_batch(
            choice.head.snapshot,
            self.rounds + 1,
            slots=1,
            budget=self._account.reserve(running),
            select_tasks=lambda affordable: tasks[:affordable],
            agents=agents,
            # With a single share, the first task would reserve the whole budget and the
            # others would wait for it.
            budget_shares=min(free, choice.head.queue.ready),
        )

    # -- start from what verify has not decided --

    def _choices(self) -> list[HeadToStartFrom]:
        """The run's head, and with `start_after: merge` also all that is merged."""
        heads = [self._as_choice(self._head.snapshot, self.ready, set())]
        verifying = self._batches.verifying
        if verifying is None or not self._starts_after_merge:
            return heads
        snapshot = verifying.candidate_snapshot
        if snapshot is not None and not snapshot.problems:
            queue = self.ready.copy()
            # A failed attempt that waits behind a merge is not recorded yet: its task
            # does not start again before.
            queue.sync(snapshot, self._batches.task_ids)
            heads.append(self._as_choice(snapshot, queue, self._batches.in_verify))
        return heads

    def _as_choice(
        self, snapshot: Snapshot, queue: ReadyQueue, merged: Set[str]
    ) -> HeadToStartFrom:
        """A head in which these batches are merged."""
        return HeadToStartFrom(
            snapshot,
            queue,
            self._batches.tasks_without(merged),
            self._batches.exited_without(merged),
        )

    def _note_base(self, manifest: Manifest) -> threading.Event | None:
        """Take note of what the base has, and keep one that is not verified.

        Returns what ends the attempt on such a base once it is set.
        """
        verifying = self._batches.verifying
        unverified: list[str] = []
        if verifying is not None and manifest.base != self._head.snapshot.commit:
            unverified = [task.id for task in self._batches.tasks(verifying.batches)]
            verifying.quarantine.adopt(
                [manifest.base], [self._head.snapshot.commit], packed=True
            )
            self._head.keep_unverified(manifest.base)
        return self._context.bases.add(manifest, unverified)

    def _run_attempt(
        self,
        manifest: Manifest,
        slot: Slot,
        agent_exited: Callable[[], object] | None,
        head_recorded: Future[None],
        early: EarlyWorkspace | None,
        cancel: threading.Event | None,
    ) -> Result | None:
        """Open the batch and run its attempt.

        The batch and its base must be on the disk before the result, or the result
        would be useless after a power failure. The agent need not wait for that, because
        it would not survive the power failure either.
        """
        try:
            self._context.journal.open(manifest)
            return self._attempts.run(
                manifest,
                manifest.entries[0],
                slot,
                agent_exited=agent_exited,
                # the base, and the journal's event about it
                before_result=head_recorded.result,
                early=early,
                cancel=cancel,
            )
        finally:
            if early is not None:  # in case it has not run
                early.give_up()

    # -- prepare workspaces while verify runs --

    def _claim_early(self, manifest: Manifest) -> EarlyWorkspace | None:
        """The workspace that is being prepared for such a batch, if there is one."""
        if self._attempts.has_own_walls(manifest.only_task.id):
            return None
        return self.early.claim(manifest)

    def prepare_early(self, *, ends: bool) -> None:
        """Prepare workspaces for the tasks that can start if verify is green, and give up
        those for what it does not verify any more; all of them if the run `ends`.
        """
        if self._starts_after_merge:
            return  # their agents start instead
        verifying = self._batches.verifying
        if ends or verifying is None or not self._may_prepare:
            self.early.keep_for(())
            return
        self.early.keep_for(verifying.candidates)
        if not verifying.candidates:
            return
        self.early.prepare_for(
            verifying.candidates[-1],
            verifying.quarantine,
            self.ready,
            self._batches.tasks_without(verifying.batches),
            free=self._account.slots - self._batches.used_slots_if_green,
            at_work=len(self._batches.at_work),
        )

    @property
    def _may_prepare(self) -> bool:
        """Whether more tasks may start, as far as that is known before they are ready."""
        context = self._context
        if self.invalid is not None or context.draining.is_set():
            return False
        if context.must_change_files:
            return False
        if self._account.is_held_back or self._landing_queue.is_last_full:
            return False
        budget = self._account.reserve(self._batches.manifests)
        return budget.affordable(1) > 0
