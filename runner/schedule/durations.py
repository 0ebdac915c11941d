"""How long the attempts of a plan will take, and what they will cost, as far as anything
says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from runner.core.forecast import DurationSources
from runner.core.task import Status, Task
from runner.plan.progress import Progress
from runner.plan.records import Record

# Seconds of an attempt where nothing at all is known: agents work for minutes.
GUESS = 300.0


@dataclass(frozen=True)
class Durations:
    """Task id → seconds of one attempt, and where they come from."""

    seconds: Mapping[str, float]
    sources: DurationSources


def durations(
    tasks: Iterable[Task],
    progress: Progress,
    records: Iterable[Record],
    guess: float | None = None,
) -> Durations:
    """The durations of these tasks: of the last success, else the plan's estimate, else
    a guess.

    `guess` is in seconds; without one it is the median of what `records` say. A failed
    attempt says nothing about how long a successful one takes.
    """
    guess_from = "option"
    if guess is None:
        guess, guess_from = _guess(records)
    seconds: dict[str, float] = {}
    recorded = estimated = guessed = 0
    for task in tasks:
        taken = progress.record(task).seconds
        if taken:
            recorded += 1
            seconds[task.id] = taken
        elif task.estimate:
            estimated += 1
            seconds[task.id] = task.estimate
        else:
            guessed += 1
            seconds[task.id] = guess
    sources = DurationSources(
        recorded=recorded,
        estimated=estimated,
        guessed=guessed,
        guess=guess,
        guess_from=guess_from,
    )
    return Durations(seconds, sources)


def _guess(records: Iterable[Record]) -> tuple[float, str]:
    taken = [record.seconds for record in records if record.seconds]
    if taken:
        return round(median(taken), 3), "median"
    return GUESS, "assumption"


def cost_per_attempt(records: Iterable[Record]) -> float | None:
    """The median cost of an attempt in US dollars; None if none reports its cost."""
    costs = []
    for record in records:
        if record.cost_usd is not None and record.status is Status.COMPLETED:
            costs.append(record.cost_usd / max(1, record.attempts))
    return median(costs) if costs else None
