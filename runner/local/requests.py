"""Applies requests: those that a run finds when it chooses tasks, and those for a branch
on which no run works.

A request leaves its folder only when its changes are durable in the journal or on the
branch. Killed in between, it is not applied twice: its changes follow a number of
attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass

from runner.core.errors import UsageProblem
from runner.core.task import TaskRules
from runner.local.journal import Journal, State
from runner.local.preparation import refuse_unfinished
from runner.local.unlanded_work import has_unlanded_work
from runner.local.unrecorded import (
    commit_progress,
    counted_snapshot,
    recorded_event,
    requested_event,
)
from runner.plan.changes import ChangeSet, apply_changes, requests_subject
from runner.plan.requests import Decision, Request, decide, describe
from runner.plan.snapshot import Snapshot, read_snapshot
from runner.repo import work_tree
from runner.repo.repository import Repository
from runner.repo.work_tree import Landing


@dataclass(frozen=True)
class TakenRequests:
    """The snapshot with what was asked for, the changes, and what people should know."""

    snapshot: Snapshot
    changes: tuple[ChangeSet, ...] = ()
    notes: tuple[str, ...] = ()


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
    result, and so do later ones for the same tasks.
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
        if not busy.isdisjoint(request.tasks):
            busy.update(request.tasks)
            continue
        done.append(request_id)
        if request_id in in_journal:
            continue
        decision = decide(request, snapshot, max_attempts)
        notes += _notes(request, decision)
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


def _notes(request: Request, decision: Decision) -> list[str]:
    notes = [f"not done, as asked for: {reason}" for reason in decision.refused]
    if decision.changes:
        ids = [change.task for change in decision.changes]
        notes.insert(0, f"as asked for: {describe(request, ids)}")
    if decision.done:
        notes.append(decision.done)
    return notes


def apply_left_requests(
    repo: Repository,
    journal: Journal,
    max_attempts: int,
    rules: TaskRules,
    note: Callable[[str], object],
) -> None:
    """Apply what is left in the folder, on branches where no run works. Only under the
    lock. What cannot be applied now stays, with a note.
    """
    for request_id, request in journal.requests.read().items():
        try:
            decision = apply_request(
                repo, journal, request_id, request, max_attempts, rules
            )
        except UsageProblem as problem:
            what = describe(request)
            note(f"{what} on {request.branch} must wait: {problem}")
            continue
        journal.requests.remove([request_id])
        for text in _notes(request, decision):
            note(text)


def apply_request(
    repo: Repository,
    journal: Journal,
    request_id: str,
    request: Request,
    max_attempts: int,
    rules: TaskRules,
) -> Decision:
    """Commit what the request changes, on its branch, and what that lacks besides. Only
    under the lock.

    Raises UsageProblem if the branch is gone, cannot be updated, or has other work to
    land first.
    """
    state = journal.state()
    branch = request.branch
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
    decision = decide(request, counted.snapshot, max_attempts)
    changes = ChangeSet(request_id, decision.changes)
    commit = _commit(repo, counted.snapshot, request, changes, rules)
    if commit != head:
        _land(repo, journal, work_tree.plan_landing(repo, branch, head, commit))
    if counted.ids:
        journal.record_all([recorded_event(counted.ids)])
    return decision


def _land(repo: Repository, journal: Journal, landing: Landing) -> None:
    """Land a commit on its branch. Raises UsageProblem if that cannot take it."""
    # Before the files change, so that a crash can be undone.
    journal.record("landing", **asdict(landing))
    update = work_tree.land(repo, landing)
    if update.landed or update.undone:
        journal.record("flushed", rounds=[])
    if not update.landed:
        raise UsageProblem(
            f"{landing.branch} could not be updated: {update.text or 'it has moved'}",
            "fix that and try again",
        )


def check_commit(
    repo: Repository,
    snapshot: Snapshot,
    request: Request,
    max_attempts: int,
    rules: TaskRules,
) -> None:
    """Raises UsageProblem if a commit of what the request changes in the snapshot would
    not say so.
    """
    changes = decide(request, snapshot, max_attempts).changes
    _commit(repo, snapshot, request, ChangeSet("", changes), rules)


def _commit(
    repo: Repository,
    snapshot: Snapshot,
    request: Request,
    changes: ChangeSet,
    rules: TaskRules,
) -> str:
    """The commit of the changes; no branch moves. The snapshot's if nothing changes."""
    changed = apply_changes(snapshot, [changes]).snapshot
    if changed.recorded is None:
        return snapshot.commit
    subject = requests_subject([changes])
    commit = commit_progress(repo, changed, request.progress, subject=subject)
    after = read_snapshot(repo, commit, request.plan, request.progress, rules)
    _refuse_what_stays_completed(after, changed.progress.reopened)
    return commit


def _refuse_what_stays_completed(after: Snapshot, reopened: Iterable[str]) -> None:
    """Raises UsageProblem if the plan marks a task in a way that fanin cannot clear.

    Such as a closed issue, or a file in a folder of completed tasks.
    """
    tasks = [after.graph.tasks[task_id] for task_id in reopened]
    completed = [task.id for task in tasks if after.progress.has_landed(task)]
    if completed:
        raise UsageProblem(
            f"the plan marks {', '.join(completed)} as completed",
            f"reopen it there, in {after.plan.path}, then try again",
        )


def _refuse_waiting_work(repo: Repository, state: State, branch: str) -> None:
    for waiting in state.waiting:
        if waiting.target == branch and has_unlanded_work(repo, waiting):
            raise UsageProblem(
                f"finished work waits on {waiting.branch}; to take it:  "
                f"git merge --ff-only {waiting.branch}",
                "then try again",
            )
