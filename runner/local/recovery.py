"""Finishes what a crashed run left behind: its processes, its landing, its batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from runner.agents.cookie import kill_by_cookie
from runner.attempt.verification import VerifyCommand
from runner.core import result_folder
from runner.core.errors import InvalidInput
from runner.core.folders import remove_folder
from runner.local.attempts import do_nothing
from runner.local.batches import BASES, RUN_HEADS, merge_batch
from runner.local.preparation import SCRATCH_PREFIX, scratch_folder
from runner.local.unlanded_work import undo_interrupted_landings
from runner.local.unrecorded import recorded_event

if TYPE_CHECKING:
    from runner.core.manifest import Manifest
    from runner.local.account import RunAccount
    from runner.local.context import RunContext
    from runner.local.journal_state import State


def recover(context: RunContext, account: RunAccount) -> None:
    """Finish what the last run began, and land work that waited on a branch, and what
    the journal has to record.

    Raises UsageProblem with the way out if waiting work cannot land.
    """
    state = context.journal.state()
    if state.run is not None:
        context.observer.note(f"run {state.run} did not end; finishing its work")
        _end_processes(context, state)
    context.journal.sweep()
    context.journal.restore()
    undo_interrupted_landings(context.repo, context.journal, context.observer.note)
    for waiting in state.waiting:
        context.lander.land_waiting_work(waiting)
    branch = context.lander.branch
    if state.run is not None:
        # What was merged first, and the others as they started: each comes after those
        # whose work it builds on.
        manifests = [
            manifest
            for run, round_number in (*state.accepted, *state.open)
            if (manifest := _usable_manifest(context, run, round_number)) is not None
        ]
        for together in batches_to_merge_together(manifests):
            context.lander.branch = context.journal.state().landing_branch(branch)
            _merge_batches_of_dead_run(context, account, together)
    _land_unrecorded(context)
    if state.run is not None:
        context.lander.branch = context.journal.state().landing_branch(branch)
        context.journal.record("end", run=state.run)
    _delete_refs_of_runs(context)


def _land_unrecorded(context: RunContext) -> None:
    """Record what the journal has, on the branches that it is for.

    What is for this run's own progress waits for its next landing, or for its end.
    """
    journal, lander, own_branch = context.journal, context.lander, context.lander.branch
    own = journal.state().unrecorded_on(own_branch, context.settings.progress)
    done = {changes.id for changes in own}
    for first in journal.state().unrecorded:
        if first.changes.id in done:
            continue
        together = [
            each.changes
            for each in journal.state().unrecorded
            if (each.branch, each.progress) == (first.branch, first.progress)
        ]
        ids = [changes.id for changes in together]
        done.update(ids)
        lander.branch = _branch_now(context, journal.state(), first.branch)
        try:
            lander.land_changes(context.run, first.plan, first.progress, together)
        except InvalidInput as error:
            context.observer.note(
                f"changes of the progress on {lander.branch} are recorded later: {error}"
            )
            continue
        # What is left follows attempts that somebody has taken back.
        journal.record_all([recorded_event(ids)])
    lander.branch = own_branch


def _end_processes(context: RunContext, state: State) -> None:
    """End the processes of a dead run, then remove their folders.

    In this order, because an agent that still writes would bring its folder back.
    """
    scratch = Path(state.scratch) if state.scratch else None
    cookies: list[str] = []
    # Of verify commands, which have no result folder.
    if scratch is not None:
        cookies += [file.read_text() for file in scratch.glob("*/cookie")]
    for run, round_number in state.open:
        results = context.journal.results_folder(run, round_number)
        for attempt in result_folder.attempts(results):
            if attempt.cookie:
                cookies.append(attempt.cookie)
    for cookie in cookies:
        kill_by_cookie(cookie)
    # The journal is a file that anyone may edit: remove no folder but one of ours.
    if scratch is not None and scratch.name.startswith(SCRATCH_PREFIX):
        remove_folder(scratch)


def _delete_refs_of_runs(context: RunContext) -> None:
    """Nothing is open, so nothing must be kept from being collected for it."""
    context.repo.remove_broken_refs(BASES)
    refs = [*context.repo.refs(BASES), *context.repo.refs(RUN_HEADS)]
    if refs:
        context.repo.delete_refs(refs)


def batches_to_merge_together(manifests: Iterable[Manifest]) -> list[list[Manifest]]:
    """The batches in their order, those that can be merged and verified as one tree in
    one list: each of them has one task.
    """

    def what_must_be_equal(manifest: Manifest) -> tuple[object, ...]:
        return (
            None if len(manifest.entries) == 1 else manifest.batch,
            manifest.branch,
            manifest.plan,
            manifest.progress,
            manifest.commit_strategy,
            VerifyCommand.of(manifest),
        )

    return [list(together) for _, together in groupby(manifests, what_must_be_equal)]


def _usable_manifest(
    context: RunContext, run: str, round_number: int
) -> Manifest | None:
    """The batch's manifest; None, with a note, if its results cannot be merged."""
    folder = context.journal.round_folder(run, round_number)
    try:
        manifest, _ = context.journal.read_manifest(run, round_number)
    except (OSError, ValueError):
        context.observer.note(
            f"the manifest of batch {run}.{round_number} is unreadable; "
            f"its results stay in {folder}"
        )
        return None
    if context.repo.commit(manifest.base) is None:
        context.observer.note(
            f"the base of batch {manifest.batch} is gone; its results stay in {folder}"
        )
        return None
    return manifest


def _merge_batches_of_dead_run(
    context: RunContext, account: RunAccount, manifests: Sequence[Manifest]
) -> None:
    """Merge what had finished, count what had started; nothing runs again."""
    for manifest in manifests:
        secrets = context.lander.secrets_of_agents(manifest)
        context.observer.add_secrets(secrets)
    run, chosen = manifests[0].run, manifests[0].branch
    context.lander.branch = _branch_now(context, context.journal.state(), chosen)
    with scratch_folder(context.journal, run, context.lander.branch) as scratch:
        if len(manifests) == 1:
            merge_batch(context, account, manifests[0], scratch)
        else:
            _merge_together(context, account, manifests, scratch)


def _merge_together(
    context: RunContext,
    account: RunAccount,
    manifests: Sequence[Manifest],
    scratch: Path,
) -> None:
    """Merge batches of one task and land them, as a rolling run does on a branch that
    has moved.
    """
    # For such a run alone: it is slow to import.
    from concurrent.futures import ThreadPoolExecutor

    from runner.local.landing_queue import LandingQueue

    lander = context.lander
    of_dead_run = _as_context_of(manifests[-1], context)
    for manifest in manifests:
        context.observer.merge_started(manifest)
    head = lander.head()
    queue = LandingQueue(of_dead_run, head)
    older = partial(lander.chosen_from, manifests[-1])
    merged, snapshot = queue.merge_on(head, manifests, older, scratch)
    for manifest, fan_in in merged:
        # The commits that land are others.
        shown = replace(fan_in, commits=())
        context.observer.batch_merged(manifest, shown, lander.branch)
        moved = fan_in.head != manifest.base
        account.account_for_batch(manifest, fan_in, moved=moved)
    with ThreadPoolExecutor(1, thread_name_prefix="fanin-land") as pool:
        while queue.accepted:
            snapshot = queue.start_landing(snapshot, pool, do_nothing, scratch)
            queue.wait_for_landing()


def _as_context_of(manifest: Manifest, context: RunContext) -> RunContext:
    """The context, with the settings that a batch of a dead run was chosen by."""
    settings = context.settings.model_copy(
        update={
            "plan": manifest.plan,
            "progress": manifest.progress,
            "commit_strategy": manifest.commit_strategy,
            "tasks": manifest.tasks,
            "protected": manifest.protected,
        }
    )
    return replace(context, run=manifest.run, settings=settings)


def _branch_now(context: RunContext, state: State, chosen: str) -> str:
    """The branch that what was chosen for a branch lands on: the same one, or, if that
    is gone, this run's.

    Another branch may have another plan. What does not follow from its plan and its
    progress is stale there, and kept.
    """
    branch = state.landing_branch_of_batch(chosen)
    if context.repo.commit(f"refs/heads/{branch}") is not None:
        return branch
    context.observer.note(
        f"the branch {branch} is gone; what was done for it is merged on "
        f"{context.lander.branch}"
    )
    return context.lander.branch
