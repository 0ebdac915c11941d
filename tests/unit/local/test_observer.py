"""No secret is in an event, and an agent's output is reported as a last line."""

from __future__ import annotations

import pytest

from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    CommitLanded,
    Note,
    ResultRefused,
    RunEvent,
    RunStarted,
)
from runner.core.result import Failure, FailureKind, Usage
from runner.local.observer import OUTPUT_INTERVAL, LastLine, MaskingObserver, masked
from runner.policy.redaction import NONE, Secrets

SECRET = "s3cret-value-of-a-key"
SECRETS = Secrets({SECRET: "MY_KEY"})


class Remembering:
    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def observe(self, event: RunEvent) -> None:
        self.events.append(event)


def _failure(text: str) -> Failure:
    return Failure(kind=FailureKind.VERIFY, message=text, log_tail=text)


@pytest.mark.parametrize(
    "event",
    [
        Note(message=f"it is {SECRET}"),
        AgentOutput(batch="r.1", task="A", attempt=1, last_line=f"key={SECRET}"),
        RunStarted(
            run="r",
            branch="main",
            plan="tasks.yml",
            tasks=1,
            schedule="batch",
            settings=("agent x", f"agent {SECRET}"),
        ),
        AttemptEnded(
            batch="r.1",
            task="A",
            attempt=1,
            title=f"use {SECRET}",
            seconds=1.0,
            failure=_failure(f"bad {SECRET}"),
            usage=Usage(summary=f"used {SECRET}"),
        ),
        ResultRefused(
            batch="r.1", task="A", attempt=1, failure=_failure(f"no {SECRET}")
        ),
    ],
    ids=lambda event: event.event,
)
def test_a_secret_is_masked_at_any_depth_of_an_event(event: RunEvent) -> None:
    seen = Remembering()
    observer = MaskingObserver(seen)
    observer.add_secrets(SECRETS)
    observer.observe(event)
    line = seen.events[0].model_dump_json()
    assert SECRET not in line
    assert "***" in line


def test_secrets_that_are_added_later_are_masked_beside_the_first() -> None:
    seen = Remembering()
    observer = MaskingObserver(seen)
    observer.add_secrets(SECRETS)
    observer.add_secrets(Secrets({"another-long-key": "OTHER"}))
    observer.note(f"{SECRET} another-long-key")
    assert seen.events[0].model_dump()["message"] == "*** ***"


def test_an_event_without_a_secret_is_passed_on_as_it_is() -> None:
    event = Note(message="nothing to hide")
    assert masked(event, NONE) is event
    assert masked(event, SECRETS) is event


def test_a_secret_that_equals_a_word_of_fanin_changes_neither_type_nor_kind() -> None:
    words = Secrets({"result_refused": "A", "rate_limit": "B"})
    failure = Failure(kind=FailureKind.RATE_LIMIT, message="rate_limit")
    event = ResultRefused(batch="r.1", task="A", attempt=1, failure=failure)
    without_secrets = masked(event, words)
    assert without_secrets.event == "result_refused"
    assert without_secrets.failure.kind is FailureKind.RATE_LIMIT
    assert without_secrets.failure.message == "***"


def test_the_tasks_of_all_landed_commits_are_counted_once() -> None:
    observer = MaskingObserver(Remembering())
    for tasks in (("A",), ("A", "B")):
        observer.observe(CommitLanded(branch="main", commit="abc", tasks=tasks))
    assert observer.landed_tasks == {"A", "B"}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_output_is_reported_as_its_last_line_at_most_once_in_an_interval() -> None:
    lines: list[str] = []
    clock = Clock()
    output = LastLine(lines.append, clock)
    output.feed(b"one\n")
    for number in range(1000):
        output.feed(b"line %d\n" % number)
    assert lines == ["one"]
    clock.now += OUTPUT_INTERVAL
    output.feed(b"\n  two  \n\n")
    assert lines == ["one", "two"]
    output.feed(b"the end")
    output.finish()
    assert lines == ["one", "two", "the end"]


def test_a_line_that_comes_in_pieces_is_reported_whole() -> None:
    lines: list[str] = []
    clock = Clock()
    output = LastLine(lines.append, clock)
    for piece in (b"reads ", b"a.p", b"y \xc3", b"\xa9\n"):
        clock.now += OUTPUT_INTERVAL
        output.feed(piece)
    assert lines == ["reads", "reads a.p", "reads a.py", "reads a.py é"]


def test_a_line_is_reported_once_without_colours_and_not_longer_than_a_screen() -> None:
    lines: list[str] = []
    output = LastLine(lines.append)
    output.feed(b"\x1b[1;32m" + b"x" * 100_000 + b"\x1b[0m\r\n")
    output.finish()
    assert lines == ["x" * 200]


def test_nothing_is_reported_of_an_agent_that_writes_blank_lines() -> None:
    lines: list[str] = []
    output = LastLine(lines.append)
    output.feed(b"\n \n\t\n")
    output.finish()
    assert lines == []
