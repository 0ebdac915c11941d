"""What the end of a run says of its tasks, and of its time."""

from __future__ import annotations

from typing import Literal

import pytest

from runner.cli.report import print_end, print_time, with_unlanded
from runner.config.settings import Settings
from runner.core.events import PlannedTask, RunStarted
from runner.core.result import Failure, FailureKind
from runner.core.run_view import AttemptState, AttemptView, RunView, TaskRun
from runner.plan.records import Record
from runner.plan.view import TaskView
from runner.ui.console import RunConsole
from tests.support.builders import task
from tests.support.queue_snapshots import snapshot


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


MINUTES = {"LONG": 19, "A": 5, "B": 23, "C": 1}


@pytest.mark.parametrize(("schedule", "is_told"), [("batch", True), ("rolling", False)])
def test_the_end_says_what_rolling_would_have_saved(
    schedule: Literal["batch", "rolling"],
    is_told: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    after = snapshot(
        task("LONG"),
        task("A"),
        task("B", depends_on=("A",)),
        task("C", depends_on=("B",)),
    )
    run = RunView()
    run.start = RunStarted(
        time="2026-01-02T03:04:05.000Z",
        run="r",
        branch="main",
        plan="p",
        tasks=4,
        schedule=schedule,
        max_concurrent=2,
    )
    for name, minutes in MINUTES.items():
        attempt = AttemptView(
            name, 1, "b", state=AttemptState.LANDED, seconds=minutes * 60.0
        )
        run.tasks[name] = TaskRun(name, attempts=[attempt])
    print_time(RunConsole(), after, run, Settings())
    line = "rolling: about 29 min instead of 43"
    assert (line in capsys.readouterr().out.splitlines()) is is_told


def _view(task_id: str, state: str, reason: str = "") -> TaskView:
    return TaskView(task(task_id), state, Record(), reason)


def _attempted(run: RunView, task_id: str, state: AttemptState) -> AttemptView:
    attempt = AttemptView(task_id, 1, "b", state=state)
    run.tasks[task_id] = TaskRun(task_id, attempts=[attempt])
    return attempt


def test_a_failure_that_does_not_count_is_the_reason_where_the_view_has_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunView()
    for name in "AB":
        _attempted(run, name, AttemptState.FAILED)
    last = run.tasks["A"].attempts[-1]
    last.failure = Failure(kind=FailureKind.NOT_READY, message="setup failed\nwhy")
    print_end(RunConsole(), [_view("A", "ready"), _view("B", "ready")], run)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A ready: setup failed"
    assert "B ready" in lines


def test_the_end_of_an_interrupted_run_names_what_failed_and_what_waits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunView()
    run.planned["OTHER"] = PlannedTask(
        task="OTHER", title="", state="ready", chosen=False
    )
    _attempted(run, "DONE", AttemptState.LANDED)
    for state in (AttemptState.FINISHED, AttemptState.VERIFYING, AttemptState.MERGED):
        _attempted(run, state.value, state)
    failed = _attempted(run, "AGAIN", AttemptState.FAILED)
    failed.kept = "refs/fanin/kept/AGAIN"
    failed.failure = Failure(kind=FailureKind.CONFLICT, message="status 1")
    _attempted(run, "STOPPED", AttemptState.INTERRUPTED)
    states = {
        **dict.fromkeys(("finished", "verifying", "merged"), "ready"),
        "DONE": "completed",
        "STOPPED": "ready",
        "OTHER": "ready",
    }
    views = [_view(*each) for each in states.items()]
    views.append(_view("AGAIN", "ready", "attempt 1 failed: status 1"))
    print_end(RunConsole(), with_unlanded(views, run), run)
    waits = "finished: its work is kept, and the next fanin run lands it"
    assert capsys.readouterr().out.splitlines() == [
        f"finished {waits}",
        f"verifying {waits}",
        f"merged {waits}",
        "AGAIN ready: attempt 1 failed: status 1",
        "    to look at its work:  fanin diff AGAIN",
        "    to let it land:       fanin accept AGAIN",
        "3 finished, 1 completed, 2 ready",
    ]


def test_the_reasons_at_the_end_pass_the_masker(
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = _view("A", "held", "its work waits on fanin/s3cret")
    print_end(
        RunConsole(), [held], RunView(), lambda text: text.replace("s3cret", "***")
    )
    assert "A held: its work waits on fanin/***" in capsys.readouterr().out


def test_a_failure_that_is_not_on_the_branch_yet_has_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunView()
    failed = _attempted(run, "A", AttemptState.FAILED)
    failed.failure = Failure(kind=FailureKind.AGENT_ERROR, message="status 1\nmore")
    print_end(RunConsole(), with_unlanded([_view("A", "ready")], run), run)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["A ready: attempt 1 failed: status 1", "    more"]


def test_the_last_failure_counts_where_the_branch_records_the_one_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunView()
    failed = _attempted(run, "A", AttemptState.FAILED)
    failed.attempt = 2
    failed.failure = Failure(kind=FailureKind.AGENT_ERROR, message="status 2")
    stopped = _attempted(run, "B", AttemptState.FAILED)
    stopped.failure = Failure(kind=FailureKind.INTERRUPTED, message="stopped")
    recorded = "attempt 1 failed: status 1"
    views = [_view("A", "ready", recorded), _view("B", "ready", recorded)]
    print_end(RunConsole(), with_unlanded(views, run), run)
    assert capsys.readouterr().out.splitlines()[:2] == [
        "A ready: attempt 2 failed: status 2",
        f"B ready: {recorded}",
    ]


def test_much_work_that_the_next_run_lands_has_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunView()
    ids = [f"T{number}" for number in range(14)]
    for task_id in ids:
        _attempted(run, task_id, AttemptState.FINISHED)
    views = with_unlanded([_view(each, "ready") for each in ids], run)
    print_end(RunConsole(), views, run)
    assert capsys.readouterr().out.splitlines() == [
        (
            "14 tasks finished: their work is kept, and the next fanin run lands it: "
            f"{', '.join(ids[:12])} and 2 more"
        ),
        "14 finished",
    ]


def test_many_tasks_that_are_blocked_by_the_same_one_have_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    views = [_view("F", "failed", "status 1")]
    views += [_view(f"B{number}", "blocked", "by F") for number in range(20)]
    views += [_view(f"C{number}", "blocked", "by G") for number in range(3)]
    print_end(RunConsole(), views, RunView())
    assert capsys.readouterr().out.splitlines()[:6] == [
        "F failed: status 1",
        "    to look at it:  fanin show F",
        f"20 tasks blocked: by F: {', '.join(f'B{n}' for n in range(12))} and 8 more",
        "C0 blocked: by G",
        "C1 blocked: by G",
        "C2 blocked: by G",
    ]


def test_lines_are_not_wrapped_where_no_terminal_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reason = "the agent changed nothing " * 10
    print_end(RunConsole(), [_view("A", "failed", reason.strip())], RunView())
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "A" in each][:1]
    assert line.endswith(reason.strip())
