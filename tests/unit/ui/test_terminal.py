"""What the terminal shows for each event, as plain lines without a terminal."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
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
    PhaseChanged,
    ResultMerged,
    ResultRefused,
    RunEvent,
    RunStarted,
    UsageReport,
    VerifyEnded,
    VerifyStarted,
    Waiting,
)
from runner.core.result import Failure, FailureKind, Usage
from runner.ui import terminal
from runner.ui.console import RunConsole
from runner.ui.run_lines import Verbosity
from runner.ui.screen import Screen
from runner.ui.terminal import TerminalView

COMMIT = "0123456789abcdef0123"


class Terminal(io.StringIO):
    """Standard output that says it is a terminal, of 80 columns and 24 rows."""

    def isatty(self) -> bool:
        return True


def shown(
    *events: RunEvent, verbosity: Verbosity = Verbosity.NORMAL, times: bool = False
) -> list[str]:
    """The lines of these events without a terminal, without their times."""
    output = io.StringIO()
    with TerminalView(RunConsole(output), verbosity) as view:
        for event in events:
            view.observe(event)
    lines = output.getvalue().splitlines()
    return lines if times else [line[len("00:00:00 ") :] for line in lines]


def on_terminal(*events: RunEvent, environ: Mapping[str, str] | None = None) -> str:
    output = Terminal()
    with TerminalView(RunConsole(output), environ=environ or {}) as view:
        for event in events:
            view.observe(event)
    return output.getvalue()


def started(task: str = "A", attempt: int = 1) -> AttemptStarted:
    return AttemptStarted(
        batch="r.1", task=task, attempt=attempt, title="do it", agent="claude"
    )


def ended(
    failure: Failure | None = None,
    attempt: int = 1,
    usage: Usage = Usage(),  # noqa: B008  immutable
) -> AttemptEnded:
    return AttemptEnded(
        batch="r.1",
        task="A",
        attempt=attempt,
        title="do it",
        seconds=1.25,
        failure=failure,
        usage=usage,
    )


def refused(kind: FailureKind, message: str, kept: str | None = None) -> ResultRefused:
    failure = Failure(kind=kind, message=message)
    return ResultRefused(batch="r.1", task="A", attempt=1, failure=failure, kept=kept)


def output(line: str) -> AgentOutput:
    return AgentOutput(batch="r.1", task="A", attempt=1, last_line=line)


def verify_started(**step: Any) -> VerifyStarted:
    of_tasks = {"tasks": ("A",), **step}
    return VerifyStarted(batch="r.1", commit=COMMIT, command="pytest", **of_tasks)


def verify_ended(failure: Failure | None = None) -> VerifyEnded:
    same = {"batch": "r.1", "commit": COMMIT, "tasks": ("A",)}
    return VerifyEnded(**same, seconds=2.5, failure=failure)


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
    ("prepared", "told"),
    [(0.9, ""), (1.0, " (preparing 1.0 s)"), (1.2, " (preparing 1.2 s)")],
)
@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (None, "  • A  agent finished  1.2 s"),
        (Failure(kind=FailureKind.AGENT_ERROR, message="red"), "  ✘ A  red  1.2 s"),
    ],
)
def test_the_end_of_an_attempt_says_what_of_its_time_came_before_its_agent(
    prepared: float, told: str, failure: Failure | None, text: str
) -> None:
    begun = started().model_copy(update={"time": "2026-01-01T00:00:00.000Z"})
    working = PhaseChanged(
        time=f"2026-01-01T00:00:{prepared:06.3f}Z",
        batch="r.1",
        task="A",
        attempt=1,
        phase="working",
    )
    assert shown(begun, working, ended(failure))[1:] == [text + told]


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (started(), ["  ▶ A  do it"]),
        (started(attempt=2), ["  ▶ A  do it (attempt 2)"]),
        (ended(), ["  • A  agent finished  1.2 s"]),
        (ended(attempt=3), ["  • A  agent finished (attempt 3)  1.2 s"]),
        (
            ended(usage=Usage(cost_usd=0.02, tokens=5)),
            ["  • A  agent finished  1.2 s  $0.02"],
        ),
        (
            ended(usage=Usage(tokens=1234)),
            ["  • A  agent finished  1.2 s  1,234 tokens"],
        ),
        (
            ended(Failure(kind=FailureKind.AGENT_ERROR, message="status 1\nmore")),
            ["  ✘ A  status 1  1.2 s", "    more"],
        ),
        (
            ended(
                Failure(
                    kind=FailureKind.TIMEOUT,
                    message="too long",
                    log_tail="one\ntwo\n\nthree\nfour\n",
                )
            ),
            ["  ✘ A  too long  1.2 s", "    │ two", "    │ three", "    │ four"],
        ),
        (
            ended(Failure(kind=FailureKind.INTERRUPTED, message="interrupted")),
            ["  ■ A stopped; costs no attempt  1.2 s"],
        ),
        (
            refused(FailureKind.SCOPE, "a.txt is outside the task's files"),
            ["  ✘ A not merged: a.txt is outside the task's files"],
        ),
        (
            refused(FailureKind.CONFLICT, "conflict", kept="refs/fanin/kept/1"),
            ["  ✘ A not merged: conflict  its work is kept at refs/fanin/kept/1"],
        ),
        (
            refused(FailureKind.SCOPE, "two may not:\n- a\n- b", kept="refs/1"),
            [
                "  ✘ A not merged: two may not:",
                "    - a",
                "    - b",
                "    its work is kept at refs/1",
            ],
        ),
        (
            # its attempt's end has said why
            refused(FailureKind.AGENT_ERROR, "status 1", kept="refs/fanin/kept/1"),
            ["  ✘ A: its work is kept at refs/fanin/kept/1"],
        ),
        (
            refused(FailureKind.INTERRUPTED, "stopped", kept="refs/fanin/kept/1"),
            ["  ■ A: its work is kept at refs/fanin/kept/1"],
        ),
        (verify_started(), ["  … verify  pytest"]),
        (verify_ended(), ["  • verify is green  2.5 s"]),
        (
            verify_ended(
                Failure(kind=FailureKind.VERIFY, message="status 1", log_tail="E  no")
            ),
            ["  ✘ verify is red: status 1  2.5 s", "    │ E  no"],
        ),
        (
            verify_ended(
                Failure(
                    kind=FailureKind.VERIFY,
                    message="verify is red (exit status 1): cd src\n\npytest",
                    log_tail="E  no",
                )
            ),
            ["  ✘ verify is red (exit status 1): cd src …  2.5 s", "    │ E  no"],
        ),
        (
            verify_ended(Failure(kind=FailureKind.INTERRUPTED, message="stopped")),
            ["  ■ verify stopped: stopped  2.5 s"],
        ),
        (
            verify_started(bisecting=True, step=3, tasks=("A", "B")),
            ["  … verify step 3 (A, B)  pytest"],
        ),
        (verify_started(repeated=True), ["  … verify once more  pytest"]),
        (verify_started(tasks=()), ["  … verify of the base  pytest"]),
        (
            CommitLanded(branch="main", commit=COMMIT, tasks=("A", "B")),
            ["  ✔ A  do it  0123456789", "  ✔ B  0123456789"],
        ),
        (
            CommitLanded(branch="fanin/r", commit=COMMIT, tasks=("A",)),
            ["  ‖ A  do it  waits on fanin/r"],
        ),
        (
            CommitLanded(branch="main", commit=COMMIT, failed_tasks=("A",)),
            ["  → 0123456789  nothing landed; failed attempts of 1 task recorded"],
        ),
        (
            CommitLanded(branch="main", commit=COMMIT, failed_tasks=("A", "B")),
            ["  → 0123456789  nothing landed; failed attempts of 2 tasks recorded"],
        ),
        (
            Waiting(seconds=4, reason="rate limit: waiting 4 s"),
            ["! rate limit: waiting 4 s"],
        ),
        (Note(message="[bold]as it is[/]"), ["! [bold]as it is[/]"]),
        (Note(message="as it should be", warning=False), ["• as it should be"]),
        (
            Note(message="Git says:\n\tin the way\n"),
            ["! Git says:", "        in the way"],
        ),
    ],
)
def test_each_event_has_its_lines(event: RunEvent, lines: list[str]) -> None:
    before = (run_started(), started())
    assert shown(*before, event)[2:] == lines


@pytest.mark.parametrize(
    "event",
    [
        # its attempt's end has said it already
        refused(FailureKind.AGENT_ERROR, "status 1"),
        refused(FailureKind.INTERRUPTED, "stopped"),
        BatchMerged(batch="r.1", usage=UsageReport(attempts=2, without_cost=2)),
        output("working"),
        ResultMerged(batch="r.1", task="A", attempt=1),
        PhaseChanged(batch="r.1", task="A", attempt=1, phase="working"),
    ],
    ids=lambda event: event.event,
)
def test_what_says_nothing_new_has_no_line(event: RunEvent) -> None:
    assert shown(event) == []


def test_a_reason_that_ended_the_attempt_is_not_given_again_when_its_work_is_refused() -> (
    None
):
    red = Failure(kind=FailureKind.VERIFY, message="verify is red")
    lines = shown(ended(red), refused(FailureKind.VERIFY, "verify is red", "ref"))
    assert lines == ["  ✘ A  verify is red  1.2 s", "  ✘ A: its work is kept at ref"]
    # Another attempt's reason is another one.
    lines = shown(ended(red, attempt=2), refused(FailureKind.VERIFY, "no", "ref"))
    assert lines[1] == "  ✘ A not merged: no  its work is kept at ref"


def test_lines_without_a_terminal_have_the_time_of_their_event() -> None:
    note = Note(message="it happened", time="2026-01-02T03:04:05.678Z")
    there = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).astimezone()
    assert shown(note, times=True) == [f"{there:%H:%M:%S} ! it happened"]


def test_quiet_shows_failures_and_warnings_and_verbose_the_output_too() -> None:
    failed = ended(Failure(kind=FailureKind.IDLE, message="no output"))
    events = (run_started(), started(), output("working"), failed, Note(message="look"))
    assert shown(*events, verbosity=Verbosity.QUIET) == [
        "  ✘ A  no output  1.2 s",
        "! look",
    ]
    assert "    A │ working" in shown(*events, verbosity=Verbosity.VERBOSE)


def test_a_terminal_shows_the_run_below_its_lines_and_nothing_of_it_at_the_end() -> (
    None
):
    text = on_terminal(run_started(), started(), Note(message="look"))
    assert "do it" not in text, "an attempt's line is in the frame alone"
    assert "! look\n" in re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert text.endswith("\x1b[J"), "what stood below the lines is erased"


def test_quiet_has_no_frame() -> None:
    output = Terminal()
    with TerminalView(RunConsole(output), Verbosity.QUIET) as view:
        view.observe(run_started())
        view.observe(Note(message="look"))
    assert re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue())[9:] == "! look\n"


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"CI": "true"}])
def test_a_dumb_terminal_and_a_log_of_ci_get_plain_lines(
    environ: dict[str, str],
) -> None:
    text = on_terminal(run_started(), started(), environ=environ)
    assert "▶" in text
    assert not re.search(r"\x1b\[\d*[AJK]", text)
    assert "\r" not in text


@pytest.mark.parametrize("output", [io.StringIO, Terminal])
def test_no_line_is_lost_or_torn_however_many_threads_report(
    output: type[io.StringIO],
) -> None:
    file = output()
    notes = [[f"note {thread}.{i}" for i in range(50)] for thread in range(16)]
    with (
        TerminalView(RunConsole(file)) as view,
        ThreadPoolExecutor(len(notes)) as pool,
    ):
        view.observe(run_started())

        def report(texts: list[str]) -> None:
            for text in texts:
                view.observe(Note(message=text))

        list(pool.map(report, notes))
    lines = Text.from_ansi(file.getvalue()).plain.splitlines()
    found = [line.rpartition("! ")[2] for line in lines if "! note" in line]
    assert sorted(found) == sorted(note for texts in notes for note in texts)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO, errno.ENOSPC])
def test_output_that_is_closed_or_full_ends_nothing(number: int) -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(number, os.strerror(number))

    console = RunConsole(Closed())
    with TerminalView(console) as view:
        view.observe(started())
        view.observe(ended())
    assert view.run.busy_seconds == 1.25, "it still knows what happened"
    assert console.quiet, "nothing more is shown"


def test_a_resize_is_shown_before_the_next_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = (80, 24)
    before = signal.getsignal(signal.SIGWINCH)
    monkeypatch.setattr(Screen, "size", property(lambda _: size))
    monkeypatch.setattr(terminal, "_TICK", 60.0)
    output, line = Terminal(), f"begin{'-' * 80}end"
    deadline = time.monotonic() + 20

    def wait_for(text: str) -> None:
        while text not in output.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    start = RunStarted(
        run="r", branch="main", plan="p", tasks=1, schedule="batch", max_concurrent=1
    )
    with TerminalView(RunConsole(output)) as view:
        view.observe(start)
        view.observe(started())
        view.observe(AgentOutput(batch="r.1", task="A", attempt=1, last_line=line))
        wait_for("begin")
        assert "end" not in output.getvalue()
        size = (200, 50)
        # As the kernel does for the foreground processes of the terminal.
        signal.raise_signal(signal.SIGWINCH)
        wait_for("end")
    assert signal.getsignal(signal.SIGWINCH) is before
