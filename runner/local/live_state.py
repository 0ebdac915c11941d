"""The states of tasks while a run works on them, and after one was killed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from runner.core.result import Failure
from runner.core.run_view import AttemptState, AttemptView, RunView
from runner.local.run_history import PastRun
from runner.plan.view import TaskView

if TYPE_CHECKING:  # many models, of which nothing is needed here
    from runner.core.reports import Phase

_WAITS = {
    AttemptState.FINISHED: "its agent is done; its work has not landed yet",
    AttemptState.VERIFYING: "its work is being verified",
    AttemptState.MERGED: "its work is merged and lands with the next commit",
}
_PHASES: dict[AttemptState, Phase] = {
    AttemptState.VERIFYING: "verifying",
    AttemptState.MERGED: "merging",
}
# What the branch says of a task is newer than any attempt.
_SETTLED = {"completed", "held", "skipped"}


def with_run(
    views: Sequence[TaskView],
    past: PastRun | None,
    plan: str,
    branch: str | None,
    open_run: str | None,
    heir: str = "the next fanin run",
) -> list[TaskView]:
    """The views with what a run does to their tasks, or has left of them.

    `plan` is the path of their plan, `branch` the one that their work lands on, None if
    that is unknown. `open_run` is the run that the journal has no end of: if its process
    is gone, `heir` finishes its work.
    """
    if past is None or not _is_about(past.view, plan, branch):
        return list(views)
    if not (past.is_active or past.run == open_run):
        return list(views)
    end = "" if past.is_active else _how_it_ended(past.view)
    changed = []
    for view in views:
        task = past.view.tasks.get(view.task.id)
        attempt = task.last if task else None
        if attempt is not None and view.state not in _SETTLED:
            view = _with_attempt(view, attempt, end, heir)
        changed.append(view)
    return changed


def unrecorded_failure(view: TaskView, attempt: AttemptView) -> Failure | None:
    """Why the attempt failed, if the branch does not know of it yet."""
    if view.state in _SETTLED or attempt.attempt <= view.record.attempts:
        return None
    return attempt.failure


def _is_about(run: RunView, plan: str, branch: str | None) -> bool:
    if run.start is None:
        return True
    return run.start.plan == plan and branch in {None, run.start.branch}


def _how_it_ended(run: RunView) -> str:
    """A run that has left work tells of its end, unless it was killed."""
    return "its run was killed" if run.end is None else "its run was interrupted"


def _with_attempt(
    view: TaskView, attempt: AttemptView, end: str, heir: str
) -> TaskView:
    """The view with an attempt of a run that is at work, or how that ended."""
    name = f"attempt {attempt.attempt}"
    state = attempt.state
    if state is AttemptState.RUNNING:
        phase = cast("Phase", attempt.phase or "preparing")
        return view._replace(
            state="in_progress", reason=f"{name}: {phase}", phase=phase
        )
    # The next run has no event of the attempt before it merges what that has left.
    if state is AttemptState.CHOSEN and attempt.phase == "merging":
        state = AttemptState.FINISHED
    if state in _WAITS:
        if end:
            reason = f"{end}; {heir} lands its work"
            return view._replace(state="finished", reason=f"{name}: {reason}")
        phase_now, reason = _PHASES.get(state), _WAITS[state]
        if state is AttemptState.FINISHED and attempt.phase == "merging":
            phase_now, reason = "merging", "its work is being merged"
        return view._replace(
            state="finished", reason=f"{name}: {reason}", phase=phase_now
        )
    if end and state is AttemptState.INTERRUPTED and attempt.log:
        reason = f"{name}: {end}; {heir} goes on"
        return view._replace(state="interrupted", reason=reason)
    failure = unrecorded_failure(view, attempt)
    if failure is not None and state in {AttemptState.FAILED, AttemptState.ASKED}:
        first_line = (failure.message.splitlines() or [""])[0]
        return view._replace(reason=f"{name} {failure.verb}: {first_line}")
    return view
