"""What `fanin simulate --json` prints: a table of simulated runs, and what it goes by."""

from typing import Literal

from runner.core.documents import Document

KneeName = Literal["batch", "rolling", "actions"]


class DurationSources(Document):
    """How many of the durations are recorded ones, estimates of the plan and guesses.

    `guess` is in seconds, `guess_from` says where it comes from: the option, the median
    of what is recorded in this plan, or fanin's own assumption.
    """

    recorded: int = 0
    estimated: int = 0
    guessed: int = 0
    guess: float
    guess_from: str


class ForecastRun(Document):
    """One simulated run: its length, and how long slots are idle, in seconds.

    `idle` is the idle part of all slots, 0 to 1. `batches` is None for the rolling
    schedule.
    """

    seconds: float
    idle_seconds: float
    idle: float
    batches: int | None = None


class ActionsRun(Document):
    """The run on GitHub Actions: with `job_starts` jobs that start one after the other."""

    seconds: float
    job_starts: int


class ForecastRow(Document):
    """The runs with so many agents at once; `actions` is None without a job's start."""

    max_concurrent: int
    batch: ForecastRun
    rolling: ForecastRun
    actions: ActionsRun | None = None


class Knee(Document):
    """The smallest number of agents within a tenth of the shortest run of the table.

    `schedule` is `actions` for the runs on GitHub Actions. `seconds` is the length of
    that run, `seconds_now` that of one with `now` agents.
    """

    schedule: KneeName
    max_concurrent: int
    seconds: float
    now: int
    seconds_now: float


class Chain(Document):
    """The longest chain of the tasks: no number of agents is faster than its seconds."""

    seconds: float
    tasks: tuple[str, ...]


class Forecast(Document):
    """What `fanin simulate` found out.

    - `tasks`: how many would run; `seconds`: all their attempts one after the other.
    - `schedule`, `max_concurrent`: what the settings say now.
    - `cost_usd`: of all attempts, at any number of agents; None if no attempt has
      reported one. `max_cost_usd`: the limit of the settings.
    - `rows`: by number of agents; more than `most_useful` change nothing. It is None if
      the table ends before.
    - `job_start`: seconds that a job on GitHub Actions takes to start, if given.
    - `notes`: what the figures leave out.
    """

    version: Literal[1] = 1
    plan: str
    tasks: int
    seconds: float
    schedule: Literal["batch", "rolling"]
    max_concurrent: int
    durations: DurationSources
    longest_chain: Chain
    cost_usd: float | None = None
    max_cost_usd: float | None = None
    job_start: float | None = None
    rows: tuple[ForecastRow, ...] = ()
    most_useful: int | None = None
    knees: tuple[Knee, ...] = ()
    notes: tuple[str, ...] = ()
