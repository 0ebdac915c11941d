"""What a run of the open tasks would take with 1, 2, … agents at once, by both schedules.

A table of simulated runs (`core.forecast`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.core import gc_pause
from runner.core.forecast import (
    ActionsRun,
    Chain,
    Forecast,
    ForecastRow,
    ForecastRun,
    Knee,
    KneeName,
)
from runner.core.task import Standing, Task
from runner.plan.records import Record
from runner.plan.snapshot import Snapshot
from runner.schedule.durations import cost_per_attempt, durations
from runner.schedule.simulation import (
    ExpectedAttempt,
    ScheduleName,
    SimulatedRun,
    Simulation,
)
from runner.schedule.task_choice import EVERY_TASK, TaskChoice, TasksForPerson

# A further agent is worth it while the run is longer than this times the shortest one.
ENOUGH = 1.1
# Rows of a table where nobody asks for a number.
_ROWS = 16
# Of plans with more tasks than this, only some rows are simulated: each takes about a
# second.
_LARGE = 10_000
# Jobs that start one after the other in each round on GitHub Actions: task and merge,
# and verify between them. A run of the workflow begins with job `next`; one that goes
# on with another is followed by job `continue`.
_JOBS_OF_A_ROUND, _JOB_OF_VERIFY, _JOBS_BETWEEN_RUNS = 2, 1, 2


@dataclass(frozen=True)
class ForecastOptions:
    """What to simulate.

    `now` is how many agents run at once by the settings, `up_to` the largest number of
    the table, None for one that suits the plan. `guess` and `job_start` are seconds.
    `rounds_per_run` is how many rounds one run of the workflow has. `whole_plan`: as if
    nothing was completed.
    """

    now: int
    schedule: ScheduleName
    max_attempts: int
    max_rounds: int
    up_to: int | None = None
    guess: float | None = None
    job_start: float | None = None
    rounds_per_run: int = 1
    verify: bool = False
    max_cost_usd: float | None = None
    whole_plan: bool = False
    choice: TaskChoice = EVERY_TASK


def forecast(snapshot: Snapshot, options: ForecastOptions) -> Forecast:
    """The table of simulated runs, in which every attempt succeeds."""
    recorded = snapshot.progress
    if options.whole_plan:
        snapshot = _unstarted(snapshot)
    tasks = _tasks_to_run(snapshot, options)
    records = [recorded.record(task) for task in snapshot.plan.tasks]
    expected = durations(tasks, recorded, records, options.guess)

    attempts = {
        task_id: ExpectedAttempt(seconds)
        for task_id, seconds in expected.seconds.items()
    }

    def attempt_of(task: Task, _attempt: int) -> ExpectedAttempt:
        return attempts[task.id]

    chosen = TaskChoice(frozenset(expected.seconds))
    simulation = Simulation(snapshot, options.max_attempts, attempt_of, chosen)
    rows: list[ForecastRow] = []
    most_useful: int | None = None
    for slots in _numbers(len(tasks), options):
        # The row of the settings is shown even if fewer agents would do.
        if most_useful is not None and slots != options.now:
            continue
        with gc_pause.paused():
            batch = simulation.run("batch", slots)
            # With one slot they are the same.
            rolling = simulation.run("rolling", slots) if slots > 1 else batch
        rows.append(_row(slots, batch, rolling, options))
        most = max(batch.most_at_once, rolling.most_at_once)
        if most_useful is None and most < slots:
            most_useful = most
    cost = cost_per_attempt(records)
    return Forecast(
        plan=snapshot.plan.path,
        tasks=len(tasks),
        seconds=sum(expected.seconds.values()),
        schedule=options.schedule,
        max_concurrent=options.now,
        durations=expected.sources,
        longest_chain=_longest_chain(snapshot, expected.seconds),
        cost_usd=None if cost is None else cost * len(tasks),
        max_cost_usd=options.max_cost_usd,
        job_start=options.job_start,
        rows=tuple(rows),
        most_useful=most_useful,
        knees=_knees(rows, options.now),
        notes=tuple(_notes(rows, options, _for_person(snapshot, options))),
    )


def _unstarted(snapshot: Snapshot) -> Snapshot:
    """The snapshot as if no task had run; what was skipped or held stays so, and gates
    are as they are.
    """
    records: dict[str, Record] = {}
    reopened = set(snapshot.graph.tasks)
    for task in snapshot.plan.tasks:
        record = snapshot.progress.record(task)
        if record.skipped or record.held:
            records[task.id] = record
            reopened.remove(task.id)
        elif record.gate is not None:
            records[task.id] = Record(gate=record.gate)
    progress = snapshot.progress._replace(records=records, reopened=frozenset(reopened))
    return snapshot._replace(progress=progress)


def _tasks_to_run(snapshot: Snapshot, options: ForecastOptions) -> list[Task]:
    """The open tasks that are chosen and wait for no task that never runs, nor for a
    person.
    """
    graph = snapshot.graph
    standings = options.choice.standings(snapshot, options.max_attempts)
    waiting = {
        *graph.blocked(standings),
        *graph.blocked(standings, by=Standing.GATED),
        *graph.blocked(standings, by=Standing.ASKING),
    }
    return [
        task
        for task in snapshot.plan.tasks
        if standings[task.id] is Standing.OPEN and task.id not in waiting
    ]


def _for_person(snapshot: Snapshot, options: ForecastOptions) -> TasksForPerson:
    """The chosen tasks that wait for a person, whatever comes first."""
    standings = options.choice.standings(snapshot, options.max_attempts)
    gated = [each for each in standings if standings[each] is Standing.GATED]
    asking = [each for each in standings if standings[each] is Standing.ASKING]
    return TasksForPerson(tuple(gated), tuple(asking))


def _numbers(tasks: int, options: ForecastOptions) -> list[int]:
    """The numbers of agents to simulate, with that of the settings."""
    if options.up_to is not None:
        numbers = set(range(1, options.up_to + 1))
    elif tasks > _LARGE:
        numbers = {1, 4, 16}
    else:
        numbers = set(range(1, _ROWS + 1))
    return sorted(numbers | {options.now})


def _row(
    slots: int, batch: SimulatedRun, rolling: SimulatedRun, options: ForecastOptions
) -> ForecastRow:
    batches = batch.batch_count
    actions = None
    if options.job_start is not None:
        starts = job_starts(
            batches, verify=options.verify, rounds_per_run=options.rounds_per_run
        )
        seconds = batch.seconds + starts * options.job_start
        actions = ActionsRun(seconds=_rounded(seconds), job_starts=starts)
    return ForecastRow(
        max_concurrent=slots,
        batch=_run(batch, batches),
        rolling=_run(rolling),
        actions=actions,
    )


def _run(run: SimulatedRun, batches: int | None = None) -> ForecastRun:
    seconds, idle = run.seconds, run.idle_seconds
    return ForecastRun(
        seconds=_rounded(seconds),
        idle_seconds=_rounded(idle),
        idle=_rounded(idle / (run.slots * seconds)) if seconds else 0.0,
        batches=batches,
    )


def _rounded(number: float) -> float:
    # Sums of floats end in digits that mean nothing.
    return round(number, 3)


def job_starts(rounds: int, *, verify: bool, rounds_per_run: int) -> int:
    """How many jobs start one after the other on GitHub Actions for so many rounds."""
    if rounds == 0:
        return 1
    each = _JOBS_OF_A_ROUND + (_JOB_OF_VERIFY if verify else 0)
    changes = (rounds - 1) // rounds_per_run
    return 1 + rounds * each + changes * _JOBS_BETWEEN_RUNS


def _longest_chain(snapshot: Snapshot, seconds: Mapping[str, float]) -> Chain:
    path = snapshot.graph.critical_path(lambda task: seconds.get(task.id, 0.0))
    tasks = tuple(task_id for task_id in path if task_id in seconds)
    total = sum(seconds[task_id] for task_id in tasks)
    return Chain(seconds=_rounded(total), tasks=tasks)


def _knees(rows: Sequence[ForecastRow], now: int) -> tuple[Knee, ...]:
    lengths: dict[KneeName, dict[int, float]] = {
        "batch": {row.max_concurrent: row.batch.seconds for row in rows},
        "rolling": {row.max_concurrent: row.rolling.seconds for row in rows},
    }
    actions = {row.max_concurrent: row.actions.seconds for row in rows if row.actions}
    if actions:
        lengths["actions"] = actions
    knees = []
    for name, seconds in lengths.items():
        shortest = min(seconds.values())
        best = min(n for n, each in seconds.items() if each <= ENOUGH * shortest)
        knees.append(
            Knee(
                schedule=name,
                max_concurrent=best,
                seconds=seconds[best],
                now=now,
                seconds_now=seconds[now],
            )
        )
    return tuple(knees)


def _notes(
    rows: Sequence[ForecastRow], options: ForecastOptions, for_person: TasksForPerson
) -> list[str]:
    notes = [
        f"{sentence}; without what waits for that in these times"
        for sentence in for_person.sentences
    ]
    most_batches = options.max_rounds
    for row in rows:
        batches = row.batch.batches or 0
        if row.max_concurrent == options.now and batches > most_batches:
            notes.append(
                f"limits.max_rounds ends a run by batches after {most_batches} of its "
                f"{batches} batches"
            )
    if options.verify:
        notes.append("verify is not in these times; rolling runs it more often")
    return notes
