"""What a request changes now, as a commit. Nothing moves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runner.core.clock import timestamp
from runner.core.errors import UsageProblem
from runner.core.task import TaskRules
from runner.fan_in import kept_refs
from runner.local import accept, undo
from runner.local.request_context import RequestContext
from runner.local.unrecorded import commit_progress
from runner.plan.changes import ChangeSet, apply_changes, requests_subject
from runner.plan.requests import (
    AcceptRequest,
    FileRequest,
    ProgressRequest,
    Request,
    decide,
)
from runner.plan.snapshot import Snapshot, read_snapshot
from runner.repo.repository import Repository


@dataclass(frozen=True)
class Outcome:
    """What a request has changed: tasks, and paths beside the progress and the plan's
    marks, by a `commit`, None if it is the branch's head already.

    `refused` says why it left other tasks as they are, `already` which needed no change.
    `landed_refs` keep work that is of no more use with the commit, `left_out` are
    sentences on what of the work is not in it.
    """

    tasks: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    commit: str | None = None
    paths: tuple[str, ...] = ()
    landed_refs: tuple[str, ...] = ()
    already: str = ""
    left_out: tuple[str, ...] = ()


def request_outcome(
    context: RequestContext,
    snapshot: Snapshot,
    request_id: str,
    request: Request,
    *,
    verified: bool = True,
) -> Outcome:
    """What the request changes in the snapshot, as a commit; no branch moves. Unless it is
    to be `verified`, no command of the settings is run.

    Raises UsageProblem if its commit would not say so, and if files cannot be changed
    as asked for.
    """
    repo, settings = context.repo, context.settings
    rules = settings.task_rules
    if isinstance(request, AcceptRequest):
        return _accepted(context, snapshot, request, verified=verified)
    if isinstance(request, FileRequest):
        change = undo.undo(
            repo,
            snapshot,
            request.chosen(snapshot),
            request.progress,
            settings.max_attempts,
            rules,
        )
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


def _accepted(
    context: RequestContext,
    snapshot: Snapshot,
    request: AcceptRequest,
    *,
    verified: bool,
) -> Outcome:
    repo, settings = context.repo, context.settings
    change = accept.accept(
        repo,
        settings,
        context.environ,
        snapshot,
        request,
        timestamp(),
        verified=verified and not request.unverified,
    )
    path = accept.plan_path(settings, snapshot)
    refs: list[str] = []
    for task in change.tasks:
        refs += repo.refs(f"{kept_refs.folder(request.branch, path, task)}/")
    return Outcome(
        change.tasks,
        commit=change.commit,
        paths=change.paths,
        landed_refs=tuple(refs),
        left_out=change.left_out,
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
