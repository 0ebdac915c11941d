"""What the end of a run says of its failed tasks and of its time."""

from __future__ import annotations

from runner.core import kept_commands
from runner.core.fanin_commands import typed
from runner.core.result import REFUSED, FailureKind
from runner.core.rough_time import is_worth_a_line, rough_saving
from runner.core.run_view import AttemptView, RunView
from runner.ui.attempt_text import duration
from runner.ui.run_lines import log_lines, more_lines
from runner.ui.shown_text import Line, lines_of, one_line

_MAX_LOG_LINES = 10
# How an attempt ends with work that a person may let land as it is.
_ACCEPTABLE = REFUSED | {FailureKind.CONFLICT, FailureKind.QUESTION}


def failure_details(
    view: RunView, task_id: str, *, own_branch: bool = False
) -> list[Line]:
    """The rest of a task's failure, below its first line: the whole reason, the end of
    its log, and how to look at its work and take it. [] if it has not failed now.

    `own_branch`: work lands on a branch that no person has checked out.
    """
    task = view.tasks.get(task_id)
    attempt = task.last if task else None
    if attempt is None or attempt.failure is None:
        return []
    lines = []
    if attempt.failure.kind is not FailureKind.QUESTION:  # its line has the beginning
        lines = more_lines(lines_of(attempt.failure.message)[1:])
    lines += log_lines(attempt.failure, _MAX_LOG_LINES)
    return lines + _kept(attempt, own_branch=own_branch)


def _kept(attempt: AttemptView, *, own_branch: bool) -> list[Line]:
    if attempt.kept is None:
        return []
    ids = [one_line(attempt.task)]
    look = Line.of(f"    to look at its work:  {typed('diff', ids)}")
    failure = attempt.failure
    if failure is not None and failure.kind in _ACCEPTABLE and attempt.acceptable:
        return [look, Line.of(f"    to let it land:       {typed('accept', ids)}")]
    if own_branch and not attempt.acceptable:
        return [look]
    ref = one_line(attempt.kept)
    take = kept_commands.take(ref, one_line(attempt.task), own_branch=own_branch)
    purpose = "to let it land:" if own_branch else "to take it:    "
    return [look, Line.of(f"    {purpose}       {take}")]


def seconds_of_task(view: RunView, task_id: str) -> float:
    """How long the attempts of a task took in this run, one after another."""
    task = view.tasks.get(task_id)
    if task is None:
        return 0.0
    return sum(attempt.seconds or 0.0 for attempt in task.attempts)


def pooled_gain(view: RunView) -> str | None:
    """The sentence `pooled workspaces: preparing about 1 min instead of 6` for a run with
    fresh ones; None if they would have saved little.

    As many attempts as run at once would have prepared a checkout.
    """
    if view.start is None:
        return None
    attempts = [each for task in view.tasks.values() for each in task.attempts]
    attempts.sort(key=lambda each: each.started or 0.0)
    preparing = [each.preparing for each in attempts]
    before, after = sum(preparing), sum(preparing[: max(1, view.start.max_concurrent)])
    if not is_worth_a_line(before - after, view.busy_seconds):
        return None
    return f"pooled workspaces: preparing {rough_saving(before, after)}"


def time_line(view: RunView, chain_seconds: float, now: float) -> str:
    """The time of the run, beside that of one task at a time and of the longest chain
    of dependencies, which no number of agents makes shorter, and the time of verify,
    which is in neither. "" if nothing has run.
    """
    texts = [duration(view.elapsed(now)), duration(view.busy_seconds)]
    if view.start is None or not all(texts):
        return ""
    chain = duration(chain_seconds)
    end = f", longest chain {chain}" if chain else ""
    verify = duration(view.verify_seconds)
    end += f"; verify {verify}" if verify else ""
    return f"time: {texts[0]}; one task at a time {texts[1]}{end}"
