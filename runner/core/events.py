"""The events of a run, typed, and the observer that receives them.

Every field is a plain JSON value or a document of such values, so that an event can be
written as one line of JSON: `event.model_dump_json()`. `event` names its type.
"""

from typing import Literal, Protocol

from pydantic import Field

from runner.core.clock import timestamp
from runner.core.documents import Document, Instant, Text
from runner.core.outside_changes import OutsideChange, RunningAttempt
from runner.core.result import Failure, Usage

# Of the events' schema.
VERSION = 1


class Event(Document):
    """Something that happened at `time`: ISO 8601, UTC, whole milliseconds.

    `event` names what happened.
    """

    time: Instant = Field(default_factory=timestamp)
    # Here for its place in a line: readers find it behind the time.
    event: str = ""


class UsageReport(Document):
    """The usage that attempts reported; `without_cost` attempts reported no cost."""

    attempts: int = 0
    cost_usd: float = 0.0
    tokens: int = 0
    without_cost: int = 0


class RunLimits(Document):
    """The limits of a run: attempts of a task, rounds, US dollars (None: no limit)."""

    max_attempts: int = 0
    max_rounds: int = 0
    max_cost_usd: float | None = None


class RunStarted(Event):
    """A run begins to work on a plan of so many `tasks`.

    - `version` is that of the events' schema. Fields and events may be added to one version.
    - `settings` describes what was decided, one short line each.
    - `pid` is fanin's process, `base` the branch's commit at the start.
    - `agent` is the default agent, "" if there is none.
    - `max_concurrent` is how many agents may run at once.
    """

    event: Literal["run_started"] = "run_started"
    version: int = VERSION
    run: str
    branch: Text
    plan: Text
    tasks: int
    schedule: Literal["batch", "rolling"]
    settings: tuple[Text, ...] = ()
    pid: int = 0
    base: str = ""
    agent: Text = ""
    max_concurrent: int = 1
    limits: RunLimits = RunLimits.model_construct()


class PlannedTask(Document):
    """A task of the plan as it stands when the run starts.

    `state` is one of those of `fanin status`. `chosen`: the run may start it.
    `expected_seconds` is its estimate, or how long its last success took, or a guess.
    """

    task: str
    title: Text
    state: str
    depends_on: tuple[str, ...] = ()
    attempts: int = 0
    chosen: bool = True
    expected_seconds: float = 0.0


class PlanRead(Event):
    """The plan at the commit `base`, in its order. Follows `run_started`."""

    event: Literal["plan_read"] = "plan_read"
    run: str
    base: str
    tasks: tuple[PlannedTask, ...]


class ChosenTask(Document):
    """A task of a batch, and which attempt of it this is (from 1).

    `depends_on` are all tasks that it has waited for. `timeout` is in seconds.
    """

    task: str
    title: Text
    attempt: int
    agent: Text = ""
    depends_on: tuple[str, ...] = ()
    timeout: float = 0.0


class BatchChosen(Event):
    """The tasks that run now, side by side, on top of the commit `base`."""

    event: Literal["batch_chosen"] = "batch_chosen"
    batch: str
    round: int
    base: str
    tasks: tuple[ChosenTask, ...]


class AttemptEvent(Event):
    """Something that happened to one attempt of a task.

    `batch` is the run's id, a dot, and the batch's round.
    """

    batch: str
    task: str
    attempt: int


class AttemptStarted(AttemptEvent):
    """An attempt begins: its checkout is made, then `agent` starts.

    `slot` is the attempt's FANIN_SLOT, a whole number from 0; the next attempt may have
    it before this one is merged. `log` is the path of the agent's log, from the
    folder that the events are in.
    """

    event: Literal["attempt_started"] = "attempt_started"
    title: Text
    agent: Text
    slot: int = 0
    log: str = ""


# preparing: the checkout is made and set up. working: the agent runs. verifying: the
# task's own verify command runs. merging: the result is merged with those of others,
# and the merged tree is verified.
Phase = Literal["preparing", "working", "verifying", "merging"]


class PhaseChanged(AttemptEvent):
    """An attempt enters a phase of its life."""

    event: Literal["phase_changed"] = "phase_changed"
    phase: Phase


class AgentOutput(AttemptEvent):
    """The last line that the agent has written, at most four times a second.

    `tokens`, `cost_usd` (US dollars) and `tool_calls` are what it has used so far, None
    where it does not tell.
    """

    event: Literal["agent_output"] = "agent_output"
    last_line: Text
    tokens: int | None = None
    cost_usd: float | None = None
    tool_calls: int | None = None


class AttemptEnded(AttemptEvent):
    """An attempt is over after `seconds`; without a `failure` its work can be merged.

    `slot` and `log` are as in `attempt_started`.
    """

    event: Literal["attempt_ended"] = "attempt_ended"
    title: Text
    seconds: float
    failure: Failure | None = None
    usage: Usage = Usage.model_construct()
    agent: Text = ""
    slot: int = 0
    log: str = ""


class VerifyEvent(Event):
    """The verify command on a merged tree of a batch, as `commit`.

    `tasks` are those whose work is in the tree, () for the branch's head alone. `step`
    counts the commands of one merge, from 1. `bisecting`: the tree of all the work has
    failed, and this one helps to find the task at fault. `repeated`: the same tree has
    failed before, and the command is tried again.
    """

    batch: str
    commit: str
    tasks: tuple[str, ...] = ()
    step: int = 1
    bisecting: bool = False
    repeated: bool = False


class VerifyStarted(VerifyEvent):
    """A merged tree is about to be verified."""

    event: Literal["verify_started"] = "verify_started"
    command: Text


class VerifyEnded(VerifyEvent):
    """Verifying `commit` took `seconds`; None as `failure` means that it passed."""

    event: Literal["verify_ended"] = "verify_ended"
    seconds: float
    failure: Failure | None = None


class ResultMerged(AttemptEvent):
    """The work of an attempt is in the merged tree, and lands with its next commit.

    `kept` is the ref that keeps what did not land with the rest, None if all did.
    """

    event: Literal["result_merged"] = "result_merged"
    kept: Text | None = None


class ResultRefused(AttemptEvent):
    """The attempt failed, or its work was not merged. `kept` is the ref that keeps it.

    `acceptable` is false if nobody may let it land as it is: it has a name, a link or a
    file that may enter no tree. `final`: the task has failed for good. `log` is as in
    `attempt_started`.
    """

    event: Literal["result_refused"] = "result_refused"
    failure: Failure
    kept: Text | None = None
    acceptable: bool = True
    final: bool = False
    log: str = ""


class BatchMerged(Event):
    """Every result of a batch is merged or refused; `usage` sums up its attempts."""

    event: Literal["batch_merged"] = "batch_merged"
    batch: str
    usage: UsageReport


class CommitLanded(Event):
    """`branch` has a new commit with the work of `tasks`.

    It also records the failed attempts of `failed_tasks`.
    """

    event: Literal["commit_landed"] = "commit_landed"
    branch: Text
    commit: str
    tasks: tuple[str, ...] = ()
    failed_tasks: tuple[str, ...] = ()


class CheckoutChanged(Event):
    """Somebody else has changed the repository since the run last looked.

    `changes` are the first of `count`. `attempts` are those that ran meanwhile, one of
    which may have done it.
    """

    event: Literal["checkout_changed"] = "checkout_changed"
    changes: tuple[OutsideChange, ...]
    count: int
    attempts: tuple[RunningAttempt, ...] = ()


class Waiting(Event):
    """Nothing starts for so many `seconds`, for the reason given.

    After a usage limit, `until` is the time at which the run goes on.
    """

    event: Literal["waiting"] = "waiting"
    seconds: float
    reason: Text
    until: Instant | None = None


class Note(Event):
    """Something that a person should know. `warning`: it is not as it should be."""

    event: Literal["note"] = "note"
    message: Text
    warning: bool = True


class RunEnded(Event):
    """A run is over: nothing is ready, or `reason` says why it stopped before that.

    `landed` counts the tasks whose work landed. `waiting_branch` holds work that could
    not land on its own branch. `limit_reached`: the reason is a usage limit.
    """

    event: Literal["run_ended"] = "run_ended"
    run: str
    branch: Text
    outcome: Literal["completed", "stopped", "interrupted", "error"]
    reason: Text | None = None
    landed: int = 0
    waiting_branch: Text | None = None
    usage: UsageReport = UsageReport.model_construct()
    limit_reached: bool = False


RunEvent = (
    RunStarted
    | PlanRead
    | BatchChosen
    | AttemptStarted
    | PhaseChanged
    | AgentOutput
    | AttemptEnded
    | VerifyStarted
    | VerifyEnded
    | ResultMerged
    | ResultRefused
    | BatchMerged
    | CommitLanded
    | CheckoutChanged
    | Waiting
    | Note
    | RunEnded
)


class RunObserver(Protocol):
    """Hears what happens in a run. Called from several threads."""

    def observe(self, event: RunEvent, /) -> None: ...
