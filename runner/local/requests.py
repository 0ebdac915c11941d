"""Applies requests: those that a run finds when it chooses tasks, and those for a branch
on which no run works.

A request leaves its folder only when its changes are durable in the journal or on the
branch. Killed in between, it is not applied twice: its changes follow a number of
attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from runner.core.errors import UsageProblem
from runner.local.preparation import refuse_unfinished
from runner.local.request_context import RequestContext, TakenRequests
from runner.local.request_outcome import Outcome, request_outcome
from runner.local.unlanded_work import has_unlanded_work, waiting_sentence
from runner.local.unrecorded import (
    counted_snapshot,
    recorded_event,
    requested_event,
)
from runner.plan.changes import ChangeSet, apply_changes
from runner.plan.requests import (
    FileRequest,
    Request,
    decide,
    describe,
)
from runner.repo import work_tree

if TYPE_CHECKING:
    from runner.local.journal import Journal
    from runner.local.journal_state import State
    from runner.plan.snapshot import Snapshot
    from runner.repo.landing import Landing
    from runner.repo.repository import Repository


def take_requests(
    journal: Journal,
    snapshot: Snapshot,
    branch: str,
    progress_path: str,
    max_attempts: int,
    running: Collection[str] = (),
) -> TakenRequests:
    """Move the requests for the branch and its plan to the journal. Only under the lock.

    `snapshot` is that of the branch, with what the journal has already. A request for a
    task whose attempt is `running` stays, because what it asks for depends on the
    result, and so do later ones for the same tasks. A request that changes files stays
    until nothing runs (`apply_file_requests`).
    """
    requests = journal.requests.read()
    if not requests:
        return TakenRequests(snapshot)
    state = journal.state()
    in_journal = {each.changes.id for each in state.unrecorded}
    done, events = [], []
    sets: list[ChangeSet] = []
    notes: list[str] = []
    busy = set(running)
    for request_id, request in requests.items():
        target = state.landing_branch_of_batch(request.branch)
        if target != branch or request.progress != progress_path:
            continue
        if isinstance(request, FileRequest) or not busy.isdisjoint(request.tasks):
            busy.update(request.tasks)
            continue
        done.append(request_id)
        if request_id in in_journal:
            continue
        decision = decide(request, snapshot, max_attempts)
        tasks = tuple(change.task for change in decision.changes)
        outcome = Outcome(tasks, decision.refused, already=decision.done)
        notes += _notes(request, outcome)
        if not decision.changes:
            continue
        changes = ChangeSet(request_id, decision.changes)
        snapshot = apply_changes(snapshot, [changes]).snapshot
        sets.append(changes)
        events.append(requested_event(changes, branch, request.plan, progress_path))
    if events:
        journal.record_all(events)
    journal.requests.remove(done)
    return TakenRequests(snapshot, tuple(sets), tuple(notes))


def _notes(request: Request, outcome: Outcome) -> list[str]:
    notes = [f"not done, as asked for: {reason}" for reason in outcome.refused]
    if outcome.tasks:
        done = f"as asked for: {describe(request, outcome.tasks)}"
        if isinstance(request, FileRequest) and outcome.commit:
            done += f", in {outcome.commit[:10]}"
        notes.insert(0, done)
    if outcome.already:
        notes.append(outcome.already)
    return notes


def file_requests(
    journal: Journal, branch: str, deferred: Collection[str]
) -> dict[str, FileRequest]:
    """The requests for the branch that change files, but those that must wait."""
    requests = journal.requests.read()
    if not any(isinstance(request, FileRequest) for request in requests.values()):
        return {}
    state = journal.state()
    return {
        request_id: request
        for request_id, request in requests.items()
        if isinstance(request, FileRequest)
        and request_id not in deferred
        and state.landing_branch_of_batch(request.branch) == branch
    }


def apply_file_requests(
    context: RequestContext,
    journal: Journal,
    branch: str,
    deferred: set[str],
    note: Callable[[str], object],
) -> None:
    """Apply the requests for the branch that change files. Only while nothing runs, and
    under the lock. Those that cannot be applied now are `deferred`, with a note.
    """
    for request_id, request in file_requests(journal, branch, deferred).items():
        if not _try_to_apply(context, journal, request_id, request, note):
            deferred.add(request_id)


def apply_left_requests(
    context: RequestContext,
    journal: Journal,
    note: Callable[[str], object],
) -> None:
    """Apply what is left in the folder, on branches where no run works. Only under the
    lock. What cannot be applied now stays, with a note.
    """
    for request_id, request in journal.requests.read().items():
        _try_to_apply(context, journal, request_id, request, note)


def _try_to_apply(
    context: RequestContext,
    journal: Journal,
    request_id: str,
    request: Request,
    note: Callable[[str], object],
) -> bool:
    """Apply a request of the folder; False, with a note, if it must wait."""
    try:
        outcome = apply_request(context, journal, request_id, request)
    except UsageProblem as problem:
        note(f"{describe(request)} on {request.branch} must wait: {problem}")
        return False
    journal.requests.remove([request_id])
    for text in _notes(request, outcome):
        note(text)
    return True


def apply_request(
    context: RequestContext,
    journal: Journal,
    request_id: str,
    request: Request,
) -> Outcome:
    """Commit what the request changes, on its branch, and what that lacks besides. Only
    under the lock.

    Raises UsageProblem if the branch is gone, cannot be updated, or has other work to
    land first.
    """
    repo, state, branch = context.repo, journal.state(), request.branch
    rules = context.settings.task_rules
    head = repo.commit(f"refs/heads/{branch}")
    if head is None:
        raise UsageProblem(
            f"the branch {branch} is gone", f"restore it:  git branch {branch} COMMIT"
        )
    refuse_unfinished(repo, branch)
    _refuse_waiting_work(repo, state, branch)
    counted = counted_snapshot(
        repo, state, branch, head, request.plan, request.progress, rules
    )
    try:
        outcome = request_outcome(context, counted.snapshot, request_id, request)
    except UsageProblem as problem:
        if not isinstance(request, FileRequest):
            raise
        return Outcome(refused=(f"{describe(request)}: {problem}",))
    commit = outcome.commit or head
    if commit != head:
        _land(repo, journal, work_tree.plan_landing(repo, branch, head, commit))
    if counted.ids:
        journal.record_all([recorded_event(counted.ids)])
    if outcome.landed_refs:
        repo.delete_refs(outcome.landed_refs)
    return outcome


def _land(repo: Repository, journal: Journal, landing: Landing) -> None:
    """Land a commit on its branch. Raises UsageProblem if that cannot take it."""
    # Before the files change, so that a crash can be undone.
    journal.record("landing", **landing._asdict())
    update = work_tree.land(repo, landing)
    if update.landed or update.undone:
        journal.record("flushed", rounds=[])
    if not update.landed:
        raise UsageProblem(
            f"{landing.branch} could not be updated: {update.text or 'it has moved'}",
            "fix that and try again",
        )


def _refuse_waiting_work(repo: Repository, state: State, branch: str) -> None:
    for waiting in state.waiting:
        if waiting.target == branch and has_unlanded_work(repo, waiting):
            sentence = waiting_sentence(waiting, repo.current_branch())
            raise UsageProblem(sentence, "then try again")
