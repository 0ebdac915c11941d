"""An agent's output is reported as a last line, with its usage so far."""

from __future__ import annotations

from runner.agents.stream import UsageSoFar
from runner.attempt.reports import OUTPUT_INTERVAL, AttemptReports, LastLine
from runner.core.events import AgentOutput, RunEvent
from tests.support.builders import entry


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


def test_usage_is_reported_with_the_last_line_even_if_that_is_the_same() -> None:
    events: list[RunEvent] = []
    reports = AttemptReports(events.append, "r.1", entry(), "agent.log")
    reports.output.feed(b"at work\n")
    reports.used(UsageSoFar(tokens=10, cost_usd=0.5, tool_calls=1))
    reports.output.finish()
    reported = [event for event in events if isinstance(event, AgentOutput)]
    assert [event.last_line for event in reported] == ["at work", "at work"]
    assert [event.tokens for event in reported] == [None, 10]
    assert (reported[-1].cost_usd, reported[-1].tool_calls) == (0.5, 1)
