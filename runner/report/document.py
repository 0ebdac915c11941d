"""The data of a report, as the page reads them.

Times are seconds after the beginning of the run. A field that has its default is left
out of the file.
"""

from typing import Literal

from runner.core.documents import Document, Text


class ReportSpan(Document):
    """A time in which something waited, and for what."""

    start: float
    end: float
    why: Text


class ReportVerify(Document):
    """The verify command on a merged tree; `failure` is "" if it passed."""

    start: float
    seconds: float
    tasks: tuple[str, ...] = ()
    bisecting: bool = False
    failure: Text = ""


class ReportPhase(Document):
    """A phase of an attempt; it lasts until the next one, or until the agent's end."""

    phase: str
    start: float


class ReportAttempt(Document):
    """An attempt of a task. `state` is one of `core.run_view.AttemptState`.

    `start` and `lane`, its row of the timeline, are None for an attempt of another run.
    `failure` is the first line of the reason. `waits` is why it did not start earlier.
    """

    attempt: int
    run: str
    state: str
    agent: Text = ""
    lane: int | None = None
    start: float | None = None
    seconds: float | None = None
    cost_usd: float | None = None
    tokens: int | None = None
    failure: Text = ""
    kept: Text = ""
    commit: str = ""
    phases: tuple[ReportPhase, ...] = ()
    waits: tuple[ReportSpan, ...] = ()


class ReportTask(Document):
    """A task. `depends_on` are places in the list of tasks.

    `state` and `reason` are those of `fanin status`. `critical`: it is on the longest
    chain. `text` is a `TaskText`, as `texts.packed` writes it.
    """

    id: str
    title: Text
    state: str
    reason: Text = ""
    depends_on: tuple[int, ...] = ()
    critical: bool = False
    seconds: float = 0.0
    attempts: tuple[ReportAttempt, ...] = ()
    text: str = ""


class FailureText(Document):
    """Why an attempt failed, in full. `place` is the attempt's in the list, `kind` is ""
    if the message begins with it.
    """

    place: int
    kind: str = ""
    message: Text
    log_tail: Text = ""
    look: Text = ""
    take: Text = ""


class TaskText(Document):
    """The long texts of a task. A `…_note` says what is left out and where it is."""

    prompt: Text = ""
    prompt_note: Text = ""
    log: Text = ""
    log_note: Text = ""
    diff: Text = ""
    diff_note: Text = ""
    failures: tuple[FailureText, ...] = ()


class ReportRun(Document):
    """The run. `facts` are pairs of a name and a value, for people."""

    id: Text
    title: Text
    outcome: Text
    facts: tuple[tuple[Text, Text], ...] = ()
    lane_name: str = "slot"


class Report(Document):
    """All data of a report. `columns` are the places of the tasks, as they are drawn.

    `end` is the end of the timeline.
    """

    version: Literal[1] = 1
    run: ReportRun
    columns: tuple[tuple[int, ...], ...]
    tasks: tuple[ReportTask, ...]
    lanes: int = 0
    end: float = 0.0
    chain: tuple[int, ...] = ()
    verifies: tuple[ReportVerify, ...] = ()
    pauses: tuple[ReportSpan, ...] = ()
    notes: tuple[Text, ...] = ()
