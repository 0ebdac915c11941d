"""The documents that commands print with `--json`.

A field of these is never renamed or removed; a reader ignores those that it does not
know.
"""

from typing import Literal

from runner.core.documents import Document, Text
from runner.core.result import Failure, FailureKind, Question

# What an attempt is doing.
Phase = Literal["preparing", "working", "verifying", "merging"]


class RequestReport(Document):
    """The output of `fanin retry`, `skip`, `hold`, `approve`, `reply`, `undo` and `accept`
    with `--json`.

    `outcome` is `done`; `recorded`, if the run in progress applies it later; `nothing`, if
    nothing was to be done; or `dry_run`: what would be done now. `tasks` are ids, `paths`
    the files that change beside the progress file and the plan's marks. `commit` is the
    one that was made on `branch`, None if there is none. `left_out` are sentences on
    changes of accepted work that are not in it.
    """

    version: Literal[1] = 1
    command: str
    outcome: Literal["done", "recorded", "nothing", "dry_run"]
    branch: str
    tasks: tuple[str, ...]
    paths: tuple[Text, ...]
    left_out: tuple[Text, ...] = ()
    commit: str | None


class KeptRow(Document):
    """Work of an attempt that did not land, kept by `ref` as one `commit`.

    `reason` is why it did not land, "" if all but a part of it did. `time` is in seconds
    since 1970. `look` and `take` are commands of a shell.
    """

    task: Text
    attempt: int
    ref: Text
    commit: str
    reason: Text
    time: int
    look: Text
    take: Text


class KeptReport(Document):
    """The output of `fanin kept --json`, the oldest work first."""

    version: Literal[1] = 1
    kept: tuple[KeptRow, ...]


class AttemptRow(Document):
    """An attempt that a run on this machine knows.

    `state` is one of `core.run_view.AttemptState`. `log` is the path of its log, `kept`
    the ref that keeps its work. None is unknown, or that there is none.
    """

    attempt: int
    run: str
    state: str
    agent: Text
    seconds: float | None
    tokens: int | None
    cost_usd: float | None
    failure: Failure | None
    log: Text | None
    kept: Text | None


class TaskReport(Document):
    """The output of `fanin show ID --json`.

    `state`, `reason` are as in `fanin status`, and so are `job`, `job_url`, `artifact`.
    `depends_on` maps each id to its state. `attempt_count` is how many attempts the
    branch has recorded, `attempts` are those that are known on this machine, the oldest
    first. `commit` is the one that it landed with, `kept` is its work that did not land,
    `error` the last recorded failure. `questions` are what its agents have asked, the
    oldest first; one without an answer (null) waits for it, "" lets the task go on.
    """

    version: Literal[1] = 1
    id: str
    title: Text
    state: str
    reason: Text
    depends_on: dict[str, str]
    prompt: Text
    attempt_count: int
    attempts: tuple[AttemptRow, ...]
    kept: tuple[KeptRow, ...]
    commit: str | None
    error: Failure | None
    job: str | None
    job_url: str | None
    artifact: Text | None
    questions: tuple[Question, ...] = ()


class TaskRow(Document):
    """A task of the plan: where it is defined, its state and what keeps it.

    `path` is left out unless the plan is a folder of files; lines count from 1. `files`
    is None if the task does not declare them.
    """

    id: str
    title: Text
    line: int
    path: Text = ""
    state: str
    attempts: int
    reason: Text
    depends_on: tuple[str, ...]
    files: tuple[Text, ...] | None


class GraphReport(Document):
    """The output of `fanin graph --format json`.

    `waves` are the tasks that could run at the same time, one wave after the other.
    """

    version: Literal[1]
    tasks: tuple[TaskRow, ...]
    waves: tuple[tuple[str, ...], ...]
    critical_path: tuple[str, ...]


class PlanRow(Document):
    """The plan as it was read; `source` is its format."""

    path: Text
    source: str
    options: dict[str, str]


class PartRow(Document):
    """One of the plans that a plan is made of, with the ids of its tasks.

    `name` is left out if it is the only one.
    """

    name: Text = ""
    path: Text
    source: str
    tasks: tuple[str, ...]


class ProblemRow(Document):
    """A mistake in the plan or the settings, and what to do about it."""

    path: Text
    line: int | None
    what: Text
    remedy: Text


class CheckReport(GraphReport):
    """The output of `fanin check --json`.

    - `edges`: the number of dependencies.
    - `batches`: what the graph still allows, `width` the size of the largest.
    - `scheduled_batches`: those of a run by `schedule: batch` as the settings are.
    - `counts`: state → number of tasks.
    - `left_out`: records of the plan that cannot be read.
    """

    plan: PlanRow
    plans: tuple[PartRow, ...]
    edges: int
    batches: tuple[tuple[str, ...], ...]
    width: int
    scheduled_batches: tuple[tuple[str, ...], ...]
    counts: dict[str, int]
    left_out: tuple[ProblemRow, ...]
    notes: tuple[Text, ...]
    problems: tuple[ProblemRow, ...]


class UnreadablePlan(Document):
    """The output of `fanin check --json` if the plan or the settings cannot be read."""

    version: Literal[1]
    problems: tuple[ProblemRow, ...]


class StatusRow(TaskRow):
    """A task as `fanin status --json` shows it.

    - `seconds`: how long its last recorded attempt took; `cost_usd` and `tokens` of all
      of them, None if one did not tell; `agent` that of the last.
    - `failure`: the kind of the last failure, if no success came after it.
    - `branch`: where finished work waits for a person.
    - `phase`: what is being done for it now; `elapsed`: seconds that its attempt at
      work has taken. Both are None while nothing is.
    - `log`: the path of its last attempt's log on this machine.
    - `kept`: the ref that keeps its newest work that did not land.
    - `job`: `RUN/JOB` of its last recorded attempt on GitHub, `job_url` that job's page,
      None if the remote `origin` does not tell where; `artifact` has its log.
    - `question`: what its agent asks, until a person has answered.
    """

    agent: Text | None
    seconds: float | None
    cost_usd: float | None
    tokens: int | None
    failure: FailureKind | None
    branch: Text | None
    phase: Phase | None
    elapsed: float | None
    log: Text | None
    kept: Text | None
    job: str | None
    job_url: str | None
    artifact: Text | None
    question: Text | None = None


class RetryRow(Document):
    """A request for one more attempt that no run has taken yet."""

    branch: Text
    tasks: tuple[str, ...]
    kind: Literal["retry"]
    redo: bool
    failed: bool
    message: Text


class SkipRow(Document):
    """A request to skip tasks that no run has taken yet."""

    branch: Text
    tasks: tuple[str, ...]
    kind: Literal["skip"]
    satisfied: bool


class HoldRow(Document):
    """A request to hold tasks that no run has taken yet."""

    branch: Text
    tasks: tuple[str, ...]
    kind: Literal["hold"]


class ApproveRow(Document):
    """A request to approve tasks that no run has taken yet."""

    branch: Text
    tasks: tuple[str, ...]
    kind: Literal["approve"]


class ReplyRow(Document):
    """An answer to a task's question that no run has taken yet."""

    branch: Text
    tasks: tuple[str, ...]
    kind: Literal["reply"]
    answer: Text


class UndoRow(Document):
    """A request to take tasks out that no run has taken yet."""

    branch: Text
    tasks: tuple[str, ...]
    kind: Literal["undo"]
    with_dependents: bool


class AcceptRow(Document):
    """A request to let the work of a task land that no run has taken yet.

    `commit` has the work, `allow` are protected paths that it may change.
    """

    branch: Text
    tasks: tuple[str, ...]
    kind: Literal["accept"]
    commit: str
    allow: tuple[Text, ...]
    unverified: bool


RequestRow = RetryRow | SkipRow | HoldRow | ApproveRow | ReplyRow | UndoRow | AcceptRow


class RunRow(Document):
    """The last run on this machine. `active`: its process is at work now.

    `started` is ISO 8601. None is unknown: the run was killed before it began.
    """

    run: str
    active: bool
    started: str | None
    plan: Text | None
    branch: Text | None


class DeliveryRow(Document):
    """The work on a run's own `branch` that its `base` lacks, and its pull request.

    `pull_request` is its address, `state` what it is now; both are None if it has none,
    or if GitHub does not say.
    """

    branch: Text
    base: Text
    pull_request: Text | None
    state: Literal["draft", "open", "merged", "closed"] | None


class StatusReport(GraphReport):
    """The output of `fanin status --json`; `counts` maps states to numbers of tasks."""

    tasks: tuple[StatusRow, ...]
    counts: dict[str, int]
    requests: tuple[RequestRow, ...]
    run: RunRow | None
    delivery: DeliveryRow | None = None
