"""No secret is in an event."""

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
from runner.local.observer import MaskingObserver
from runner.policy.masking import masked_document
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
    assert masked_document(event, NONE) is event
    assert masked_document(event, SECRETS) is event


def test_a_secret_that_equals_a_word_of_fanin_changes_neither_type_nor_kind() -> None:
    words = Secrets({"result_refused": "A", "rate_limit": "B"})
    failure = Failure(kind=FailureKind.RATE_LIMIT, message="rate_limit")
    event = ResultRefused(batch="r.1", task="A", attempt=1, failure=failure)
    without_secrets = masked_document(event, words)
    assert without_secrets.event == "result_refused"
    assert without_secrets.failure.kind is FailureKind.RATE_LIMIT
    assert without_secrets.failure.message == "***"


def test_the_tasks_of_all_landed_commits_are_counted_once() -> None:
    observer = MaskingObserver(Remembering())
    for tasks in (("A",), ("A", "B")):
        observer.observe(CommitLanded(branch="main", commit="abc", tasks=tasks))
    assert observer.landed_tasks == {"A", "B"}
