"""What the terminal shows for each event, as plain lines without a terminal."""

from __future__ import annotations

import errno
import io

import pytest
from rich.console import Console
from rich.text import Text

from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    AttemptStarted,
    BatchChosen,
    BatchMerged,
    ChosenTask,
    CommitLanded,
    Note,
    ResultMerged,
    ResultRefused,
    RunEvent,
    RunStarted,
    UsageReport,
    VerifyStarted,
    Waiting,
)
from runner.core.result import Failure, FailureKind
from runner.ui.terminal import TerminalView

COMMIT = "0123456789abcdef0123"


def shown(*events: RunEvent) -> list[str]:
    output = io.StringIO()
    with TerminalView(Console(file=output, highlight=False)) as view:
        for event in events:
            view.observe(event)
    return output.getvalue().splitlines()


def started(task: str = "A", attempt: int = 1) -> AttemptStarted:
    return AttemptStarted(
        batch="r.1", task=task, attempt=attempt, title="do it", agent="claude"
    )


def ended(failure: Failure | None = None, attempt: int = 1) -> AttemptEnded:
    return AttemptEnded(
        batch="r.1",
        task="A",
        attempt=attempt,
        title="do it",
        seconds=1.25,
        failure=failure,
    )


def refused(kind: FailureKind, message: str, kept: str | None = None) -> ResultRefused:
    failure = Failure(kind=kind, message=message)
    return ResultRefused(batch="r.1", task="A", attempt=1, failure=failure, kept=kept)


def run_started(schedule: str = "batch", tasks: int = 1) -> RunStarted:
    return RunStarted.model_validate(
        {
            "run": "r",
            "branch": "main",
            "plan": "tasks.yml",
            "tasks": tasks,
            "schedule": schedule,
            "settings": ("plan tasks.yml", "one at a time"),
        }
    )


def batch_chosen() -> BatchChosen:
    tasks = tuple(ChosenTask(task=t, title=t, attempt=1) for t in "AB")
    return BatchChosen(batch="r.2", round=2, base=COMMIT, tasks=tasks)


def test_the_start_of_a_run_names_its_settings_and_how_many_tasks_there_are() -> None:
    assert shown(run_started()) == ["plan tasks.yml · one at a time · 1 task"]
    assert shown(run_started(tasks=2))[0].endswith("· 2 tasks")


def test_a_batch_has_a_line_by_the_batch_schedule_only() -> None:
    assert shown(run_started(), batch_chosen())[1:] == ["batch 2  A, B"]
    assert shown(run_started("rolling"), batch_chosen())[1:] == []


def test_no_text_of_a_plan_or_an_agent_acts_on_the_terminal() -> None:
    hostile = "\x1b]52;c;eA==\x07\x9b2J\u202e[red]x[/]"
    event = AttemptStarted(
        batch="r.1", task=hostile, attempt=1, title=hostile, agent="claude"
    )
    failure = Failure(kind=FailureKind.AGENT_ERROR, message=hostile)
    lines = shown(
        event,
        ended(failure),
        refused(FailureKind.POLICY, hostile, kept="ref"),
        Note(message=hostile),
        Waiting(reason=hostile, seconds=1),
    )
    assert len(lines) == 5
    for line in lines:
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(line)
        assert "[red]x" in line


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (started(), "  ▶ A  do it"),
        (started(attempt=2), "  ▶ A  do it (attempt 2)"),
        (ended(), "  ✔ A  do it  1.2 s"),
        (ended(attempt=3), "  ✔ A  do it (attempt 3)  1.2 s"),
        (
            ended(Failure(kind=FailureKind.AGENT_ERROR, message="status 1\nmore")),
            "  ✘ A  status 1  1.2 s",
        ),
        (
            ended(Failure(kind=FailureKind.INTERRUPTED, message="interrupted")),
            "  ■ A stopped; costs no attempt  1.2 s",
        ),
        (
            refused(FailureKind.SCOPE, "a.txt is outside the task's files"),
            "  ✘ A not merged: a.txt is outside the task's files",
        ),
        (
            refused(FailureKind.AGENT_ERROR, "status 1", kept="refs/fanin/kept/1"),
            "  ✘ A not merged: status 1  its work is kept at refs/fanin/kept/1",
        ),
        (
            refused(FailureKind.INTERRUPTED, "stopped", kept="refs/fanin/kept/1"),
            "  ■ A: its work is kept at refs/fanin/kept/1",
        ),
        (
            CommitLanded(branch="main", commit=COMMIT, tasks=("A", "B")),
            "  → 0123456789  A, B",
        ),
        (
            CommitLanded(branch="main", commit=COMMIT, failed_tasks=("A",)),
            "  → 0123456789  nothing landed; 1 failed attempt recorded",
        ),
        (
            CommitLanded(branch="main", commit=COMMIT, failed_tasks=("A", "B")),
            "  → 0123456789  nothing landed; 2 failed attempts recorded",
        ),
        (
            BatchMerged(
                batch="r.1",
                usage=UsageReport(attempts=14, cost_usd=0.19, without_cost=12),
            ),
            "  cost: at least $0.19 (12 of 14 attempts report none)",
        ),
        (
            Waiting(seconds=4, reason="rate limit: waiting 4 s"),
            "! rate limit: waiting 4 s",
        ),
        (Note(message="[bold]as it is[/]"), "! [bold]as it is[/]"),
    ],
)
def test_each_event_has_its_line(event: RunEvent, line: str) -> None:
    assert shown(event) == [line]


@pytest.mark.parametrize(
    "event",
    [
        # its attempt's end has said it already
        refused(FailureKind.AGENT_ERROR, "status 1"),
        refused(FailureKind.INTERRUPTED, "stopped"),
        BatchMerged(batch="r.1", usage=UsageReport(attempts=2, without_cost=2)),
        AgentOutput(batch="r.1", task="A", attempt=1, last_line="working"),
        VerifyStarted(batch="r.1", commit=COMMIT, command="pytest"),
        ResultMerged(batch="r.1", task="A", attempt=1),
    ],
    ids=lambda event: event.event,
)
def test_what_says_nothing_new_has_no_line(event: RunEvent) -> None:
    assert shown(event) == []


def test_the_durations_of_all_attempts_are_added_up() -> None:
    view = TerminalView(Console(file=io.StringIO()))
    for event in (started(), ended(), ended()):
        view.observe(event)
    assert view.busy_seconds == 2.5


def test_a_table_shows_the_running_attempts_in_a_terminal() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80)
    with TerminalView(console) as view:
        view.observe(started("A"))
        view.observe(started("B", attempt=2))
        console.print(view._table())
    lines = Text.from_ansi(output.getvalue()).plain.splitlines()
    assert "  ▶  B  do it (attempt 2)  0 s" in lines


def test_a_terminal_that_is_closed_ends_nothing() -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    TerminalView(Console(file=Closed())).observe(Note(message="nobody reads this"))
