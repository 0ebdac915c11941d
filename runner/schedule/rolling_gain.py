"""What the rolling schedule would have saved, from what the attempts of a run took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from runner.core.result import Failure, FailureKind
from runner.core.rough_time import is_worth_a_line, rough_saving
from runner.core.task import Task
from runner.plan.records import Record
from runner.plan.snapshot import Snapshot
from runner.schedule.simulation import ExpectedAttempt, Simulation
from runner.schedule.task_choice import TaskChoice

_FAILED = Failure.model_construct(kind=FailureKind.AGENT_ERROR, message="as in the run")


class PastAttempt(NamedTuple):
    """One attempt of a run: its seconds, and whether its work landed."""

    task: str
    seconds: float
    landed: bool


def rolling_gain(
    snapshot: Snapshot, attempts: Iterable[PastAttempt], slots: int
) -> str | None:
    """The sentence `rolling: about 19 min instead of 42` at the end of a batch run; None
    if rolling would have saved little.

    `snapshot` is the state after the run, `attempts` are those of the run in the order
    in which they started, `slots` is how many ran at once. Both times are simulated, so
    that they leave out the same: checkouts, merges and `verify`. A task that somebody
    has taken out of the plan is left out.
    """
    past: dict[str, list[PastAttempt]] = {}
    for attempt in attempts:
        if attempt.task in snapshot.graph.tasks:
            past.setdefault(attempt.task, []).append(attempt)

    def attempt_of(task: Task, number: int) -> ExpectedAttempt:
        seconds, landed = past[task.id][number - 1][1:]
        return ExpectedAttempt(seconds, None if landed else _FAILED)

    # As before the run: each task may try as often as it did, at no gate.
    unstarted = {
        task_id: Record(allowed=len(tried), gate=False)
        for task_id, tried in past.items()
    }
    progress = snapshot.progress.with_records(unstarted)
    before = snapshot._replace(
        progress=progress._replace(reopened=progress.reopened | past.keys()),
    )
    simulation = Simulation(before, 1, attempt_of, TaskChoice(frozenset(past)))
    batch = simulation.run("batch", slots).seconds
    rolling = simulation.run("rolling", slots).seconds
    if not is_worth_a_line(batch - rolling, batch):
        return None
    return f"rolling: {rough_saving(batch, rolling)}"
