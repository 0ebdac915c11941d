"""What a run reports at its start and at its end: its first and last event, and the
outcome that its caller gets.
"""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

from runner.config.settings import Settings, describe
from runner.core.errors import DecisionNeeded, Interrupted
from runner.core.events import RunEnded, RunLimits, RunStarted
from runner.core.plurals import pluralize
from runner.local.context import RunContext
from runner.local.journal_state import WaitingWork
from runner.plan.snapshot import Snapshot
from runner.schedule.budget import UsageTotal
from runner.schedule.task_choice import EVERY_TASK, TaskChoice, TasksForPerson


class RunOutcome(NamedTuple):
    """The outcome of a run: its last snapshot, and the branch that has the work.

    `waiting` is work that could not reach its own branch. `stop_reason` says
    why the run stopped although tasks are ready, `limit_reached` whether that is a usage
    limit. `usage` is what the attempts reported. `choice` is of the tasks that were
    allowed to start. `for_person` are those that wait for a person, if nothing else stopped
    the run.
    """

    snapshot: Snapshot
    branch: str
    run: str
    waiting: WaitingWork | None = None
    usage: UsageTotal = UsageTotal()
    stop_reason: str | None = None
    choice: TaskChoice = EVERY_TASK
    limit_reached: bool = False
    for_person: TasksForPerson = TasksForPerson()

    @property
    def waiting_branch(self) -> str | None:
        """The branch that has the work which waits."""
        return self.waiting.branch if self.waiting else None


class Ending(NamedTuple):
    """How a run ended, and why it did not complete."""

    outcome: Literal["completed", "stopped", "interrupted", "error"]
    reason: str | None = None
    waiting_branch: str | None = None
    limit_reached: bool = False


def ending_of(outcome: RunOutcome, interruption: str | None) -> Ending:
    """The ending of a run with this outcome. `interruption`: what a signal stopped, None
    if there was none.
    """
    branch = outcome.waiting_branch
    if interruption is not None:
        return Ending("interrupted", interruption, branch)
    if outcome.stop_reason is not None:
        return Ending("stopped", outcome.stop_reason, branch, outcome.limit_reached)
    if outcome.for_person:
        return Ending("stopped", "; ".join(outcome.for_person.sentences), branch)
    return Ending("completed", None, branch)


def ending_of_error(error: BaseException) -> Ending:
    """The ending of a run that raised the error."""
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return Ending("interrupted", str(error))
    if isinstance(error, DecisionNeeded):
        return Ending("stopped", str(error))
    return Ending("error", str(error))


def describe_interruption(landed: int, interrupted: int) -> str:
    """What a signal stopped: so many tasks had landed, so many were at work."""
    if not interrupted:
        return f"stopped: {landed} landed, and no attempt was lost"
    return f"stopped: {landed} landed, {interrupted} will run again"


def start_event(context: RunContext, snapshot: Snapshot) -> RunStarted:
    """The first event of a run that starts from the snapshot."""
    settings = context.settings
    return RunStarted(
        run=context.run,
        branch=context.lander.branch,
        plan=settings.plan.path,
        tasks=len(snapshot.plan.tasks),
        schedule=settings.schedule,
        settings=tuple(_decided(context, snapshot)),
        pid=os.getpid(),
        base=snapshot.commit,
        agent=settings.agent.label if settings.agent else "",
        max_concurrent=settings.slots,
        limits=_limits(settings),
    )


def _decided(context: RunContext, snapshot: Snapshot) -> list[str]:
    """What was decided for the run, one short line each."""
    lines = list(describe(context.settings))
    chosen = [task for task in snapshot.plan.tasks if task.id in context.choice]
    if len(chosen) < len(snapshot.plan.tasks):
        lines.insert(0, f"only {pluralize(len(chosen), 'task')}")
    if snapshot.plan.left_out:
        lines.insert(0, snapshot.plan.left_out_summary)
    if context.settings.sandbox.mode != "off":
        lines.append(context.attempt_context.walls.choice.sentence)
    if set_up := context.setup_record.sentence():
        lines.append(set_up)
    return lines


def _limits(settings: Settings) -> RunLimits:
    return RunLimits(
        max_attempts=settings.max_attempts,
        max_rounds=settings.limits.max_rounds,
        max_cost_usd=settings.limits.max_cost_usd,
    )


def end_event(context: RunContext, ending: Ending, usage: UsageTotal) -> RunEnded:
    """The last event of a run."""
    return RunEnded(
        run=context.run,
        branch=context.lander.branch,
        outcome=ending.outcome,
        reason=ending.reason,
        landed=len(context.observer.landed_tasks),
        waiting_branch=ending.waiting_branch,
        usage=usage.report,
        limit_reached=ending.limit_reached,
    )
