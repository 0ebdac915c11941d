"""What the end of a run says of its failed tasks and of its time."""

from __future__ import annotations

import pytest

from runner.core.events import (
    AttemptEnded,
    AttemptStarted,
    PhaseChanged,
    ResultRefused,
    RunEvent,
    RunStarted,
    VerifyEnded,
)
from runner.core.result import Failure, FailureKind
from runner.core.run_view import RunView, fold, instant
from runner.ui.run_summary import (
    failure_details,
    pooled_gain,
    seconds_of_task,
    time_line,
)

START = "2026-01-01T00:00:00.000Z"
FAILURE = Failure(
    kind=FailureKind.AGENT_ERROR,
    message="status 1\nthe \x1b[1;31msecond\x1b[0m line",
    log_tail="\n".join(f"line {number}" for number in range(30)),
)


def view(*events: RunEvent, slots: int = 3) -> RunView:
    start = RunStarted(
        time=START,
        run="r",
        branch="main",
        plan="p",
        tasks=2,
        schedule="batch",
        max_concurrent=slots,
    )
    return fold([start, *events])


def ended(seconds: float, attempt: int = 1) -> AttemptEnded:
    return AttemptEnded(
        batch="b", task="A", attempt=attempt, title="", seconds=seconds, failure=FAILURE
    )


def test_a_failed_task_has_its_whole_reason_its_log_and_the_way_to_its_work() -> None:
    refused = ResultRefused(
        batch="b", task="A", attempt=1, failure=FAILURE, kept="refs/fanin/kept/A/a1"
    )
    lines = [line.plain for line in failure_details(view(ended(1), refused), "A")]
    assert lines[0] == "    the second line"
    assert lines[1:11] == [f"    │ line {number}" for number in range(20, 30)]
    assert lines[11:] == [
        "    to look at its work:  fanin diff A",
        "    to take it:           git cherry-pick refs/fanin/kept/A/a1",
    ]


def test_what_lands_on_a_branch_of_the_run_is_not_taken_to_that_of_the_person() -> None:
    refused = ResultRefused(
        batch="b", task="A", attempt=1, failure=FAILURE, kept="refs/fanin/kept/A/a1"
    )
    lines = failure_details(view(ended(1), refused), "A", own_branch=True)
    assert [line.plain for line in lines[-2:]] == [
        "    to look at its work:  fanin diff A",
        "    to let it land:       fanin accept A --from refs/fanin/kept/A/a1",
    ]


@pytest.mark.parametrize(
    ("kind", "is_named"),
    [
        (FailureKind.SCOPE, True),
        (FailureKind.POLICY, True),
        (FailureKind.CONFLICT, True),
        (FailureKind.QUESTION, True),
        (FailureKind.VERIFY, False),
        (FailureKind.TIMEOUT, False),
    ],
)
def test_accept_is_named_where_a_person_may_answer_for_the_work(
    kind: FailureKind, is_named: bool
) -> None:
    refused = ResultRefused(
        batch="b",
        task="A",
        attempt=1,
        failure=Failure(kind=kind, message="no"),
        kept="refs/fanin/kept/A/a1",
    )
    lines = [line.plain for line in failure_details(view(ended(1), refused), "A")]
    assert ("    to let it land:       fanin accept A" in lines) is is_named


@pytest.mark.parametrize("own_branch", [False, True])
def test_accept_is_not_named_for_work_that_nobody_may_let_land(
    own_branch: bool,
) -> None:
    refused = ResultRefused(
        batch="b",
        task="A",
        attempt=1,
        failure=Failure(kind=FailureKind.POLICY, message="a bad name"),
        kept="refs/fanin/kept/A/a1",
        acceptable=False,
    )
    shown = failure_details(view(ended(1), refused), "A", own_branch=own_branch)
    lines = [line.plain for line in shown]
    assert "    to look at its work:  fanin diff A" in lines
    assert not any("fanin accept" in line for line in lines)


def test_what_an_agent_asks_is_not_told_twice() -> None:
    asked = Failure(kind=FailureKind.QUESTION, message="Which?\nThis\nor that?")
    refused = ResultRefused(batch="b", task="A", attempt=1, failure=asked)
    assert failure_details(view(ended(1), refused), "A") == []


def test_a_task_that_has_not_failed_now_has_no_details() -> None:
    started = AttemptStarted(batch="b", task="A", attempt=1, title="", agent="claude")
    assert failure_details(view(started), "A") == []
    assert failure_details(view(), "unknown") == []


def test_the_time_stands_beside_one_task_at_a_time_and_the_longest_chain() -> None:
    run = view(ended(40), ended(60, attempt=2))
    assert seconds_of_task(run, "A") == 100
    assert seconds_of_task(run, "B") == 0
    now = instant(START) + 50
    text = "time: 50 s; one task at a time 2 min, longest chain 45 s"
    assert time_line(run, 45, now) == text
    assert time_line(view(), 0, now) == ""


def test_the_time_of_verify_is_in_neither_and_is_told() -> None:
    ids = {"batch": "b", "commit": "c" * 40, "tasks": ("A",)}
    verified = VerifyEnded(**ids, step=1, seconds=17.5, failure=None)
    again = VerifyEnded(**ids, step=2, seconds=18.5, failure=FAILURE)
    run = view(ended(40), verified, again)
    text = "time: 50 s; one task at a time 40 s; verify 36 s"
    assert time_line(run, 0, instant(START) + 50) == text


def prepared(task: str, begins: int, minutes: int, in_all: int) -> list[RunEvent]:
    """An attempt of so many minutes, the first `minutes` of which prepare its checkout."""
    times = [f"2026-01-01T00:{begins + more:02}:00.000Z" for more in (0, minutes)]
    ids = {"batch": "b", "task": task, "attempt": 1}
    return [
        AttemptStarted(**ids, time=times[0], title="", agent="a"),
        PhaseChanged(**ids, time=times[1], phase="working"),
        AttemptEnded(**ids, title="", seconds=in_all * 60.0, failure=None),
    ]


def test_pooled_workspaces_are_prepared_once_for_each_that_is_in_use_at_once() -> None:
    events = [*prepared("A", 0, 1, 4), *prepared("B", 0, 2, 4), *prepared("C", 4, 3, 9)]
    told = "pooled workspaces: preparing about 3 min instead of 6"
    assert pooled_gain(view(*events, slots=2)) == told
    assert pooled_gain(view(*events, slots=3)) is None


@pytest.mark.parametrize(("in_all", "is_told"), [(19, True), (21, False)])
def test_what_pooled_workspaces_save_is_told_if_it_is_a_tenth_of_the_agents_time(
    in_all: int, is_told: bool
) -> None:
    run = view(*prepared("A", 0, 1, 1), *prepared("B", 1, 2, in_all), slots=1)
    assert (pooled_gain(run) is not None) is is_told
