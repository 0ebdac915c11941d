"""The states of tasks while a run works on them, and after one was killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runner.core.run_view import AttemptState, AttemptView
from runner.local.run_history import PastRun
from runner.plan.view import TaskView

_WAITS = {
    AttemptState.FINISHED: "its agent is done; its work has not landed yet",
    AttemptState.VERIFYING: "its work is being verified",
    AttemptState.MERGED: "its work is merged and lands with the next commit",
}
# What the branch says of a task is newer than any attempt.
_SETTLED = {"completed", "held", "skipped"}


def with_run(
    views: Sequence[TaskView], past: PastRun | None, plan: str, open_run: str | None
) -> list[TaskView]:
    """The views with what the last run does to their tasks, or has left of them.

    `plan` is the path of their plan. `open_run` is the run that the journal has no end
    of: if its process is gone, the next run finishes its work.
    """
    if past is None or (past.view.start and past.view.start.plan != plan):
        return list(views)
    is_killed = not past.is_active and past.run == open_run
    if not (past.is_active or is_killed):
        return list(views)
    changed = []
    for view in views:
        task = past.view.tasks.get(view.task.id)
        attempt = task.last if task else None
        if attempt is not None and view.state not in _SETTLED:
            view = _with_attempt(view, attempt, is_killed=is_killed)
        changed.append(view)
    return changed


def _with_attempt(view: TaskView, attempt: AttemptView, *, is_killed: bool) -> TaskView:
    name = f"attempt {attempt.attempt}"
    if attempt.state is AttemptState.RUNNING:
        phase = attempt.phase or "starting"
        return replace(view, state="in_progress", reason=f"{name}: {phase}")
    if attempt.state in _WAITS:
        reason = _WAITS[attempt.state]
        if is_killed:
            reason = "its run was killed; the next fanin run lands its work"
        return replace(view, state="finished", reason=f"{name}: {reason}")
    if is_killed and attempt.state is AttemptState.INTERRUPTED and attempt.log:
        reason = f"{name}: its run was killed; the next fanin run goes on"
        return replace(view, state="interrupted", reason=reason)
    return view
