"""The batch schedule: choose a batch, run it to its end, land it, choose the next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runner.core.plurals import pluralize
from runner.local.unrecorded import failed_event
from runner.schedule.ready_queue import ReadyQueue

if TYPE_CHECKING:
    from runner.attempt.pooled_workspaces import PooledWorkspaces
    from runner.attempt.workspace_pool import WorkspacePool
    from runner.core.manifest import Manifest
    from runner.core.task import Task
    from runner.local.account import RunAccount
    from runner.local.attempts import AttemptRunner
    from runner.local.context import RunContext
    from runner.plan.snapshot import Snapshot

# Those below keep the base of a run's batch from being collected while its results are
# on the way.
BASES = "refs/fanin/base"
# The heads of rolling runs: what `RunHead` has merged.
RUN_HEADS = "refs/fanin/runs"


class BatchSchedule:
    """One run, batch by batch."""

    def __init__(
        self,
        context: RunContext,
        account: RunAccount,
        attempts: AttemptRunner,
        workspaces: WorkspacePool | PooledWorkspaces,
        scratch: Path,
    ) -> None:
        self._context, self._account, self._attempts = context, account, attempts
        self._workspaces, self._scratch = workspaces, scratch
        self._ready = ReadyQueue(context.settings.max_attempts, context.choice)
        self._rounds = 0
        # those of limits.max_rounds: asking whether a limit has reset is not one
        self._counted_rounds = 0
        # one for all batches: a new ref takes three files and two folders
        self._base_ref = f"{BASES}/{context.run}"

    def run(self, snapshot: Snapshot) -> str | None:
        """Run batches from `snapshot` on; why it stopped although tasks may be ready.

        None: nothing can start now, or the run is to stop. May be called again after a
        pause (`RunAccount.pause`).
        """
        rounds = self._rounds
        stop_reason = self._run_batches(snapshot)
        if self._rounds > rounds:
            self._context.repo.delete_ref(self._base_ref)
        return stop_reason

    def _run_batches(self, snapshot: Snapshot) -> str | None:
        context, account = self._context, self._account
        limit = context.settings.limits.max_rounds
        while self._counted_rounds < limit:
            if context.draining.is_set() or account.holds_back():
                return None
            if context.must_change_files:
                return None
            snapshot, stop_reason = context.begin_round(snapshot)
            if stop_reason is not None:
                return stop_reason
            snapshot = context.take_requests(snapshot).snapshot
            if stop_reason := account.cost_limit_reached(snapshot, context.choice):
                return stop_reason
            manifest = self._next_batch(snapshot)
            if manifest is None:
                return None
            self._rounds += 1
            if stop_reason := self._run_batch(manifest):
                return stop_reason
            self._counted_rounds += not account.only_met_limits
            snapshot = context.snapshot()
        standings = context.choice.standings(snapshot, context.settings.max_attempts)
        if not snapshot.graph.ready(standings):
            return None
        return f"limits.max_rounds allows {pluralize(limit, 'round')}"

    def _next_batch(self, snapshot: Snapshot) -> Manifest | None:
        agents = self._account.choose_agents(snapshot.plan)
        self._ready.sync(snapshot, running=())

        def select_tasks(slots: int) -> list[Task]:
            return self._ready.pick_batch(slots, agents.may_start)

        return self._context.next_batch(
            snapshot,
            self._rounds + 1,
            slots=self._account.slots,
            budget=self._account.budget,
            select_tasks=select_tasks,
            agents=agents,
        )

    def _run_batch(self, manifest: Manifest) -> str | None:
        """Run and land one batch; why no other batch should start, or None."""
        context = self._context
        # Before the first agent starts: after a crash the journal says what to end.
        context.journal.open(manifest)
        context.repo.pin(self._base_ref, manifest.base)
        context.observer.batch_chosen(manifest)
        # The next batch is likely to have as many tasks.
        count = len(manifest.entries)
        more_come = self._ready.waiting > count
        self._workspaces.keep(count if more_come else 0)
        self._run_attempts(manifest)
        return merge_batch(context, self._account, manifest, self._scratch)

    def _run_attempts(self, manifest: Manifest) -> None:
        """Run every task of the batch to its end, whatever happens to the others."""
        entries = manifest.entries
        if len(entries) == 1:
            self._attempts.run(manifest, entries[0], self._attempts.take_slot())
            return
        # For these batches alone: it is slow to import.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(entries), thread_name_prefix="fanin") as pool:
            attempts = [
                pool.submit(
                    self._attempts.run, manifest, entry, self._attempts.take_slot()
                )
                for entry in entries
            ]
            for attempt in attempts:
                attempt.result()


def merge_batch(
    context: RunContext, account: RunAccount, manifest: Manifest, scratch: Path
) -> str | None:
    """Merge a batch and land it; why no other batch should start, or None.

    Merged trees are verified in checkouts below `scratch`.
    """
    results = context.results_folder(manifest)
    context.observer.merge_started(manifest)
    fan_in = context.lander.merge_and_land(manifest, results, scratch)
    context.drop_kept_work(manifest, fan_in)
    if fan_in.failed_attempts:
        event = failed_event(manifest, context.lander.branch, fan_in)
        context.journal.record_all([event])
    else:
        # Not durable at once: a batch that is merged again lands nothing, as its results
        # are stale then. The next batch, or the end of the run, makes it so.
        event = {"event": "fanned-in", "run": manifest.run, "round": manifest.round}
        context.journal.record_all([event], synced=False)
    context.observer.batch_merged(manifest, fan_in, context.lander.branch)
    if fan_in.commits:
        context.publish()
    moved = fan_in.head != manifest.base
    return account.account_for_batch(manifest, fan_in, moved=moved)
