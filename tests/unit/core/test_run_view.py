"""A run as its events tell it: from memory, and from the lines of a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.core.event_lines import read_events
from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    AttemptStarted,
    BatchChosen,
    ChosenTask,
    CommitLanded,
    PhaseChanged,
    PlannedTask,
    PlanRead,
    ResultMerged,
    ResultRefused,
    RunEnded,
    RunEvent,
    RunStarted,
    VerifyEnded,
    VerifyStarted,
    Waiting,
)
from runner.core.result import Failure, FailureKind, Usage
from runner.core.run_view import (
    AttemptState,
    Progress,
    RunView,
    fold,
    instant,
)

COMMIT = "0" * 40
T0 = instant("2026-01-01T00:00:00Z")


def at(second: int) -> str:
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z"


def begin(slots: int = 2) -> list[RunEvent]:
    planned = (
        PlannedTask(task="0", title="done", state="completed", expected_seconds=10),
        PlannedTask(task="A", title="a", state="ready", expected_seconds=10),
        PlannedTask(task="B", title="b", state="ready", expected_seconds=10),
        PlannedTask(
            task="C", title="c", state="pending", expected_seconds=10, depends_on=("B",)
        ),
        PlannedTask(task="D", title="d", state="ready", chosen=False),
    )
    return [
        RunStarted(
            time=at(0),
            run="r",
            branch="main",
            plan="tasks.yml",
            tasks=5,
            schedule="batch",
            max_concurrent=slots,
        ),
        PlanRead(time=at(0), run="r", base=COMMIT, tasks=planned),
    ]


def chosen(*tasks: str) -> BatchChosen:
    found = tuple(ChosenTask(task=task, title=task, attempt=1) for task in tasks)
    return BatchChosen(time=at(0), batch="r.1", round=1, base=COMMIT, tasks=found)


def started(task: str, second: int = 0, attempt: int = 1) -> AttemptStarted:
    return AttemptStarted(
        time=at(second),
        batch="r.1",
        task=task,
        attempt=attempt,
        title=task.lower(),
        agent="claude",
        slot=1,
        log=f"1/{task}.log",
    )


def ended(
    task: str,
    second: int,
    failure: Failure | None = None,
    usage: Usage = Usage(),  # noqa: B008  immutable
) -> AttemptEnded:
    return AttemptEnded(
        time=at(second),
        batch="r.1",
        task=task,
        attempt=1,
        title=task.lower(),
        seconds=second,
        failure=failure,
        usage=usage,
    )


def merged(task: str) -> ResultMerged:
    return ResultMerged(batch="r.1", task=task, attempt=1)


def landed(*tasks: str, branch: str = "main") -> CommitLanded:
    return CommitLanded(branch=branch, commit=COMMIT, tasks=tasks)


def verify(*tasks: str, step: int = 1) -> VerifyStarted:
    return VerifyStarted(
        time=at(50),
        batch="r.1",
        commit=COMMIT,
        command="pytest",
        tasks=tasks,
        step=step,
        bisecting=step > 1,
    )


def verified(failure: Failure | None = None) -> VerifyEnded:
    return VerifyEnded(batch="r.1", commit=COMMIT, seconds=1, failure=failure)


def failure(kind: FailureKind = FailureKind.AGENT_ERROR) -> Failure:
    return Failure(kind=kind, message="no")


def state(view: RunView, task: str) -> str:
    return view.tasks[task].state.value


def test_a_task_has_landed_only_once_its_commit_is_on_the_branch() -> None:
    events = [*begin(), chosen("A")]
    states = []
    for event in (
        started("A"),
        ended("A", 10),
        verify("A"),
        verified(),
        merged("A"),
        landed("A"),
    ):
        events.append(event)
        states.append(state(fold(events), "A"))
    assert states == [
        "running",
        "finished",
        "verifying",
        "finished",
        "merged",
        "landed",
    ]
    assert fold(events).tasks["A"].landed == COMMIT


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (ended("A", 1, failure()), "failed"),
        (ended("A", 1, failure(FailureKind.INTERRUPTED)), "interrupted"),
        (landed("A", branch="fanin/r"), "held"),
        (
            ResultRefused(batch="r.1", task="A", attempt=1, failure=failure()),
            "failed",
        ),
        (
            RunEnded(time=at(9), run="r", branch="main", outcome="error"),
            "interrupted",
        ),
    ],
    ids=lambda value: getattr(value, "event", None),
)
def test_work_that_does_not_land_has_a_state_of_its_own(
    event: RunEvent, expected: str
) -> None:
    assert state(fold([*begin(), started("A"), event]), "A") == expected


def test_work_that_is_merged_and_then_refused_has_not_landed() -> None:
    refused = ResultRefused(
        batch="r.1",
        task="A",
        attempt=1,
        failure=failure(FailureKind.CONFLICT),
        kept="refs/fanin/kept/A",
        final=True,
    )
    view = fold([*begin(), started("A"), ended("A", 1), merged("A"), refused])
    attempt = view.tasks["A"].last
    assert attempt is not None
    assert (attempt.state, attempt.kept) == ("failed", "refs/fanin/kept/A")
    assert view.progress == Progress(total=3, landed=0, finished=0, failed=1)


def test_a_run_whose_process_is_gone_has_nothing_that_runs() -> None:
    view = fold([*begin(), chosen("A", "B"), started("A"), started("B"), ended("B", 2)])
    view.apply(verify("B"))
    view.interrupt_running()
    assert state(view, "A") == "interrupted"
    assert state(view, "B") == "finished"
    assert not view.running
    assert not view.verifying


def test_an_attempt_has_its_phase_its_last_line_and_what_it_has_used_so_far() -> None:
    output = AgentOutput(
        batch="r.1", task="A", attempt=1, last_line="reading", tokens=7, cost_usd=0.5
    )
    phase = PhaseChanged(batch="r.1", task="A", attempt=1, phase="working")
    view = fold([*begin(), started("A", 5), phase, output])
    attempt = view.running["r.1", "A"]
    assert (attempt.phase, attempt.last_line) == ("working", "reading")
    assert (attempt.slot, attempt.log, attempt.agent) == (1, "1/A.log", "claude")
    assert attempt.elapsed(T0 + 25) == 20
    assert view.usage.cost_usd == 0.5
    assert view.usage.tokens == 7


def test_the_cost_of_a_run_says_how_many_attempts_report_none() -> None:
    not_ready = failure(FailureKind.NOT_READY)
    view = fold(
        [
            *begin(),
            ended("A", 1, usage=Usage(cost_usd=0.25, tokens=10)),
            ended("B", 2),
            ended("C", 3, not_ready),
        ]
    )
    assert view.usage.model_dump() == {
        "attempts": 2,
        "cost_usd": 0.25,
        "tokens": 10,
        "without_cost": 1,
    }
    assert view.busy_seconds == 6


def test_the_steps_of_a_bisection_are_one_verify() -> None:
    view = fold([*begin(), started("A"), ended("A", 1), verify("A", "B")])
    view.apply(verified(failure(FailureKind.VERIFY)))
    view.apply(verify("A", step=2))
    assert [each.event.step for each in view.verifying.values()] == [2]
    assert view.verifying["r.1", 2].started == T0 + 50


def test_trees_that_are_verified_at_once_are_each_shown_until_they_end() -> None:
    events = [each for name in "AB" for each in (started(name), ended(name, 1))]
    view = fold([*begin(), *events, verify("A"), verify("A", "B", step=2)])
    assert [each.event.tasks for each in view.verifying.values()] == [
        ("A",),
        ("A", "B"),
    ]
    view.apply(verified())
    assert [state(view, name) for name in "AB"] == ["verifying", "verifying"]
    view.apply(verified().model_copy(update={"step": 2}))
    assert [state(view, name) for name in "AB"] == ["finished", "finished"]
    assert not view.verifying


def test_the_progress_counts_what_the_run_is_about() -> None:
    view = fold([*begin(), started("A"), ended("A", 1), started("B"), landed("A")])
    assert view.progress == Progress(total=3, landed=1, finished=0, failed=0)
    # a person has added a task since
    view.apply(started("E"))
    assert view.progress.total == 4


def test_the_time_left_follows_from_what_attempts_took_and_from_the_longest_chain() -> (
    None
):
    view = fold([*begin(), started("A"), started("B")])
    assert view.seconds_left(T0) is None
    view.apply(ended("A", 20))  # twice as long as was expected
    # B has 20 s left of 40, then C
    assert view.seconds_left(T0 + 20) == 20
    view = fold([*begin(), started("A"), ended("A", 20)])
    assert view.seconds_left(T0 + 20) == 40
    assert view.seconds_left(T0 + 30) == 30, "time goes on between two events"


def test_a_wait_ends_when_something_starts() -> None:
    waiting = Waiting(seconds=60, reason="usage limit")
    view = fold([*begin(), waiting])
    assert view.wait == waiting
    view.apply(started("A"))
    assert view.wait is None


def test_the_lines_of_a_file_give_the_same_view_whatever_is_unknown_or_torn(
    tmp_path: Path,
) -> None:
    events = [*begin(), chosen("A"), started("A"), ended("A", 3), landed("A")]
    lines = [event.model_dump_json() for event in events]
    newer = json.dumps({"event": "of_a_newer_version", "time": at(1)})
    more = json.loads(lines[2]) | {"new_field": 1}
    read = [*lines[:2], newer, "", json.dumps(more), *lines[3:], lines[0][:40]]
    (tmp_path / "events.jsonl").write_text("\n".join(read))
    view, expected = fold(read_events(tmp_path / "events.jsonl")), fold(events)
    assert view.tasks == expected.tasks
    assert view.progress == expected.progress
    assert view.busy_seconds == expected.busy_seconds == 3


@pytest.mark.parametrize("missing", range(8))
def test_no_single_event_is_needed(missing: int) -> None:
    events = [
        *begin(),
        chosen("A"),
        started("A"),
        ended("A", 3),
        verify("A"),
        merged("A"),
        landed("A"),
    ]
    del events[missing]
    view = fold(events)
    assert view.tasks["A"].attempts[-1].state in set(AttemptState)
    assert view.elapsed(T0 + 60) >= 0
    view.seconds_left(T0)


def test_what_is_left_is_expected_to_go_as_slowly_as_what_is_done() -> None:
    """Two slots of which one was used: the others of a batch had to wait for it."""
    planned = [
        PlannedTask(task=name, title=name, state="ready", expected_seconds=10)
        for name in "ABCDE"
    ]
    view = RunView()
    for event in begin():
        view.apply(event)
    view.apply(PlanRead(time=at(0), run="r", base=COMMIT, tasks=tuple(planned)))
    view.apply(started("A"))
    view.apply(ended("A", 10))
    assert view.seconds_left(T0 + 10) == 40
    assert RunView(start=view.start).seconds_left(T0 + 10) is None
