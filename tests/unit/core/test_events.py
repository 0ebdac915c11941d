"""Every event is one line of JSON, and comes back from it as it was."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import get_args

import pytest
from pydantic import TypeAdapter

from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    AttemptStarted,
    BatchChosen,
    BatchMerged,
    CheckoutChanged,
    ChosenTask,
    CommitLanded,
    Note,
    PhaseChanged,
    PlannedTask,
    PlanRead,
    ResultMerged,
    ResultRefused,
    RunEnded,
    RunEvent,
    RunStarted,
    UsageReport,
    VerifyEnded,
    VerifyStarted,
    Waiting,
)
from runner.core.outside_changes import OutsideChange, RunningAttempt
from runner.core.result import Failure, FailureKind, Usage

RED = Failure(kind=FailureKind.VERIFY, message="verify is red\nline two")
EVENTS: list[RunEvent] = [
    RunStarted(
        run="r",
        branch="main",
        plan="tasks.yml",
        tasks=2,
        schedule="batch",
        settings=("one at a time",),
    ),
    PlanRead(
        run="r",
        base="abc",
        tasks=(PlannedTask(task="A", title="first", state="ready"),),
    ),
    BatchChosen(
        batch="r.1",
        round=1,
        base="abc",
        tasks=(ChosenTask(task="A", title="first", attempt=1),),
    ),
    AttemptStarted(batch="r.1", task="A", attempt=1, title="first", agent="claude"),
    PhaseChanged(batch="r.1", task="A", attempt=1, phase="working"),
    AgentOutput(batch="r.1", task="A", attempt=1, last_line="reads a.py"),
    AttemptEnded(
        batch="r.1",
        task="A",
        attempt=1,
        title="first",
        seconds=1.5,
        failure=RED,
        usage=Usage(cost_usd=0.25, tokens=10, summary="done"),
    ),
    VerifyStarted(batch="r.1", commit="abc", command="pytest -q"),
    VerifyEnded(batch="r.1", commit="abc", seconds=2.0, failure=RED),
    ResultMerged(batch="r.1", task="A", attempt=1),
    ResultRefused(
        batch="r.1", task="A", attempt=1, failure=RED, kept="refs/fanin/kept/r.1/000"
    ),
    BatchMerged(batch="r.1", usage=UsageReport(attempts=1, without_cost=1)),
    CommitLanded(branch="main", commit="abc", tasks=("A",), failed_tasks=("B",)),
    CheckoutChanged(
        changes=(OutsideChange(part="branch", names=("main",), old="abc", new="def"),),
        count=1,
        attempts=(RunningAttempt(batch="r.1", task="A", attempt=1),),
    ),
    Waiting(seconds=4.0, reason="rate limit"),
    Note(message="note"),
    RunEnded(run="r", branch="main", outcome="stopped", reason="cost", landed=1),
]


def test_the_examples_hold_every_type_of_event() -> None:
    assert [type(event) for event in EVENTS] == list(get_args(RunEvent))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.event)
def test_an_event_survives_being_one_line_of_json(event: RunEvent) -> None:
    line = event.model_dump_json()
    assert "\n" not in line
    restored = TypeAdapter[RunEvent](RunEvent).validate_json(line)
    assert type(restored) is type(event)
    assert restored == event


def test_each_type_of_event_has_its_own_name() -> None:
    names = [json.loads(event.model_dump_json())["event"] for event in EVENTS]
    assert len(set(names)) == len(EVENTS)


def test_an_event_has_the_time_at_which_it_was_made() -> None:
    before = datetime.now().astimezone()
    made = datetime.fromisoformat(Note(message="now").time)
    assert abs((made - before).total_seconds()) < 60
    assert made.utcoffset() is not None


def test_control_characters_are_taken_out_of_texts() -> None:
    assert "\x1b" not in Note(message="red \x1b[31m").message


def test_the_docs_name_every_event_and_every_field() -> None:
    docs = (Path(__file__).parents[3] / "docs/events.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`(\w+)`", docs))
    for event in EVENTS:
        fields = set(type(event).model_fields) | {event.event}
        assert fields <= words, event.event
