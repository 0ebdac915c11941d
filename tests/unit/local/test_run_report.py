"""How a run ended, as its last event says it."""

from __future__ import annotations

import pytest

from runner.core.errors import (
    DecisionNeeded,
    EnvironmentBroken,
    Interrupted,
    UsageProblem,
)
from runner.local.journal_state import WaitingWork
from runner.local.run_report import (
    Ending,
    RunOutcome,
    describe_interruption,
    ending_of,
    ending_of_error,
)
from runner.schedule.task_choice import TasksForPerson
from tests.support.queue_snapshots import snapshot

ENDED = RunOutcome(
    snapshot(), "main", "r1", waiting=WaitingWork("main", "fanin/waiting")
)
FOR_PERSON = TasksForPerson(gated=("A",))
BRANCH = "fanin/waiting"


@pytest.mark.parametrize(
    ("outcome", "interruption", "ending"),
    [
        (ENDED, None, Ending("completed", None, BRANCH)),
        (
            ENDED._replace(stop_reason="too dear"),
            None,
            Ending("stopped", "too dear", BRANCH),
        ),
        (
            ENDED._replace(stop_reason="wait until 5", limit_reached=True),
            None,
            Ending("stopped", "wait until 5", BRANCH, limit_reached=True),
        ),
        (
            ENDED._replace(for_person=FOR_PERSON),
            None,
            Ending("stopped", FOR_PERSON.sentences[0], BRANCH),
        ),
        # who pressed Ctrl-C reads what was stopped, not what else would have stopped it
        (
            ENDED._replace(stop_reason="wait until 5", limit_reached=True),
            "1 landed",
            Ending("interrupted", "1 landed", BRANCH),
        ),
    ],
    ids=["completed", "stopped", "usage limit", "for a person", "interrupted"],
)
def test_the_ending_says_first_what_a_signal_stopped_then_why_tasks_were_left(
    outcome: RunOutcome, interruption: str | None, ending: Ending
) -> None:
    assert ending_of(outcome, interruption) == ending


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Interrupted("stopped"), "interrupted"),
        (KeyboardInterrupt("stopped"), "interrupted"),
        (DecisionNeeded("stopped"), "stopped"),
        (UsageProblem("stopped"), "error"),
        (EnvironmentBroken("stopped"), "error"),
        (RuntimeError("stopped"), "error"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_an_error_ends_a_run_as_what_it_is(error: BaseException, outcome: str) -> None:
    ending = ending_of_error(error)
    assert (ending.outcome, ending.reason) == (outcome, "stopped")


@pytest.mark.parametrize(
    ("interrupted", "sentence"),
    [
        (0, "stopped: 2 landed, and no attempt was lost"),
        (3, "stopped: 2 landed, 3 will run again"),
    ],
)
def test_an_interruption_says_what_landed_and_what_runs_again(
    interrupted: int, sentence: str
) -> None:
    assert describe_interruption(2, interrupted) == sentence
