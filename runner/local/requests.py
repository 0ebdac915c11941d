"""Applies requests: those that a run finds when it chooses tasks, and those for a branch
on which no run works.

A request leaves its folder only when its changes are durable in the journal or on the
branch. Killed in between, it is not applied twice: its changes follow a number of
attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass

from runner.config.settings import Settings
from runner.core.errors import UsageProblem
from runner.core.task import TaskRules
from runner.local import undo
from runner.local.journal import Journal, State
from runner.local.preparation import refuse_unfinished
from runner.local.undo import FileChange
from runner.local.unlanded_work import has_unlanded_work
from runner.local.unrecorded import (
    commit_progress,
    counted_snapshot,
    recorded_event,
    requested_event,
)
from runner.plan.changes import ChangeSet, apply_changes, requests_subject
from runner.plan.requests import (
    FileRequest,
    ProgressRequest,
    Request,
    decide,
    describe,
)
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


@dataclass(frozen=True)
class Outcome:
    """What a request has changed: tasks, and paths beside the progress and the plan's
    marks, by a `commit`, None if it is the branch's head already.

    `refused` says why it left other tasks as they are, `already` which needed no change.
    """

    tasks: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    commit: str | None = None
    paths: tuple[str, ...] = ()
    already: str = ""


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
    repo: Repository,
    journal: Journal,
    settings: Settings,
    branch: str,
    deferred: set[str],
    note: Callable[[str], object],
) -> None:
    """Apply the requests for the branch that change files. Only while nothing runs, and
    under the lock. Those that cannot be applied now are `deferred`, with a note.
    """
    for request_id, request in file_requests(journal, branch, deferred).items():
        if not _try_to_apply(repo, journal, settings, request_id, request, note):
            deferred.add(request_id)


def apply_left_requests(
    repo: Repository,
    journal: Journal,
    settings: Settings,
    note: Callable[[str], object],
) -> None:
    """Apply what is left in the folder, on branches where no run works. Only under the
    lock. What cannot be applied now stays, with a note.
    """
    for request_id, request in journal.requests.read().items():
        _try_to_apply(repo, journal, settings, request_id, request, note)


def _try_to_apply(
    repo: Repository,
    journal: Journal,
    settings: Settings,
    request_id: str,
    request: Request,
    note: Callable[[str], object],
) -> bool:
    """Apply a request of the folder; False, with a note, if it must wait."""
    try:
        outcome = apply_request(repo, journal, settings, request_id, request)
    except UsageProblem as problem:
        note(f"{describe(request)} on {request.branch} must wait: {problem}")
        return False
    journal.requests.remove([request_id])
    for text in _notes(request, outcome):
        note(text)
    return True


def apply_request(
    repo: Repository,
    journal: Journal,
    settings: Settings,
    request_id: str,
    request: Request,
) -> Outcome:
    """Commit what the request changes, on its branch, and what that lacks besides. Only
    under the lock.

    Raises UsageProblem if the branch is gone, cannot be updated, or has other work to
    land first.
    """
    state = journal.state()
    rules, branch = settings.task_rules, request.branch
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
        outcome = request_outcome(repo, settings, counted.snapshot, request_id, request)
    except UsageProblem as problem:
        if not isinstance(request, FileRequest):
            raise
        return Outcome(refused=(f"{describe(request)}: {problem}",))
    commit = outcome.commit or head
    if commit != head:
        _land(repo, journal, work_tree.plan_landing(repo, branch, head, commit))
    if counted.ids:
        journal.record_all([recorded_event(counted.ids)])
    return outcome


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


def request_outcome(
    repo: Repository,
    settings: Settings,
    snapshot: Snapshot,
    request_id: str,
    request: Request,
) -> Outcome:
    """What the request changes in the snapshot, as a commit; no branch moves.

    Raises UsageProblem if its commit would not say so, and if files cannot be changed
    as asked for.
    """
    rules = settings.task_rules
    if isinstance(request, FileRequest):
        change = _file_change(repo, settings, snapshot, request)
        reopened = snapshot.progress.reopened | set(change.tasks)
        _refuse_what_stays_completed(repo, request, change.commit, reopened, rules)
        return Outcome(change.tasks, (), change.commit, change.paths)
    decision = decide(request, snapshot, settings.max_attempts)
    changes = ChangeSet(request_id, decision.changes)
    commit = _commit(repo, snapshot, request, changes, rules)
    tasks = tuple(change.task for change in decision.changes)
    is_new = commit != snapshot.commit
    return Outcome(
        tasks,
        decision.refused,
        commit if is_new else None,
        already=decision.done,
    )


def _file_change(
    repo: Repository, settings: Settings, snapshot: Snapshot, request: FileRequest
) -> FileChange:
    return undo.undo(
        repo,
        snapshot,
        request.chosen(snapshot),
        request.progress,
        settings.max_attempts,
        settings.task_rules,
    )


def _commit(
    repo: Repository,
    snapshot: Snapshot,
    request: ProgressRequest,
    changes: ChangeSet,
    rules: TaskRules,
) -> str:
    """The commit of the changes; no branch moves. The snapshot's if nothing changes."""
    changed = apply_changes(snapshot, [changes]).snapshot
    if changed.recorded is None:
        return snapshot.commit
    subject = requests_subject([changes])
    commit = commit_progress(repo, changed, request.progress, subject=subject)
    reopened = changed.progress.reopened
    _refuse_what_stays_completed(repo, request, commit, reopened, rules)
    return commit


def _refuse_what_stays_completed(
    repo: Repository,
    request: Request,
    commit: str,
    reopened: Iterable[str],
    rules: TaskRules,
) -> None:
    """Raises UsageProblem if the plan in the commit marks a task as completed in a way
    that fanin cannot clear.

    Such as a closed issue, or a file in a folder of completed tasks.
    """
    after = read_snapshot(repo, commit, request.plan, request.progress, rules)
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
