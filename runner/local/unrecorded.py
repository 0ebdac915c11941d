"""What the journal has and the branch lacks yet: its events, and the snapshot in which
both count together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runner.core.manifest import Manifest
from runner.core.task import PlanSettings, TaskRules
from runner.local.journal_state import State
from runner.plan.snapshot import Applied, Snapshot, read_snapshot, record_progress
from runner.repo.repository import Repository

# The models of changes are imported when there are some: most runs start without.
if TYPE_CHECKING:
    from runner.fan_in.outcome import FanIn
    from runner.plan.changes import Change, ChangeSet


def counted_snapshot(
    repo: Repository,
    state: State,
    branch: str,
    commit: str,
    plan: PlanSettings,
    progress_path: str,
    task_rules: TaskRules,
) -> Applied:
    """The plan and progress in the branch's `commit`, with what it has not recorded yet.

    Raises InvalidInput as `read_snapshot`.
    """
    snapshot = read_snapshot(repo, commit, plan, progress_path, task_rules)
    return with_unrecorded(snapshot, state, branch, progress_path)


def with_unrecorded(
    snapshot: Snapshot, state: State, branch: str | None, progress_path: str
) -> Applied:
    """The snapshot of the branch with what it has not recorded yet."""
    sets: list[ChangeSet] = []
    if branch is not None:
        sets = state.unrecorded_on(branch, progress_path)
    if not sets:
        return Applied(snapshot)
    from runner.plan.changes import apply_changes

    return apply_changes(snapshot, sets)


def commit_progress(
    repo: Repository,
    snapshot: Snapshot,
    progress_path: str,
    *,
    subject: str = "",
    run: str = "",
) -> str:
    """Commit the snapshot's progress, of which its commit lacks something.

    Returns the commit; no branch moves. `subject` is what it is made for, "" for the
    failed attempts.
    """
    from runner.fan_in.commit_message import record_message
    from runner.plan.changes import unrecorded_failures

    message = record_message(subject, unrecorded_failures(snapshot), run)
    return record_progress(repo, snapshot, progress_path, message)


def batch_failures(manifest: Manifest, fan_in: FanIn) -> ChangeSet:
    """The failed attempts of a batch in which nothing landed."""
    from runner.plan.changes import ChangeSet

    return ChangeSet(manifest.batch, fan_in.failed_attempts)


def failed_event(manifest: Manifest, branch: str, fan_in: FanIn) -> dict[str, Any]:
    """The journal's event for a batch that is over and in which nothing landed."""
    return {
        "event": "failed",
        "run": manifest.run,
        "round": manifest.round,
        "id": manifest.batch,
        "branch": branch,
        "plan": manifest.plan.model_dump(mode="json"),
        "progress": manifest.progress,
        "changes": _as_json(fan_in.failed_attempts),
    }


def requested_event(
    changes: ChangeSet, branch: str, plan: PlanSettings, progress_path: str
) -> dict[str, Any]:
    """The journal's event for a request that was decided."""
    return {
        "event": "requested",
        "id": changes.id,
        "branch": branch,
        "plan": plan.model_dump(mode="json"),
        "progress": progress_path,
        "changes": _as_json(changes.changes),
    }


def recorded_event(ids: Sequence[str]) -> dict[str, Any]:
    """The journal's event for changes that the branch has now."""
    return {"event": "recorded", "ids": list(ids)}


def _as_json(changes: Sequence[Change]) -> list[dict[str, Any]]:
    return [
        change.model_dump(mode="json", exclude_defaults=True) | {"kind": change.kind}
        for change in changes
    ]
