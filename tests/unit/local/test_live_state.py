"""What `status` says of tasks while a run goes on, and after one was killed."""

from __future__ import annotations

import pytest

from runner.core.events import RunEnded, RunStarted
from runner.core.result import Failure, FailureKind
from runner.core.run_view import AttemptState, AttemptView, RunView, TaskRun
from runner.local.live_state import unrecorded_failure, with_run
from runner.local.run_history import PastRun
from runner.plan.records import Record
from runner.plan.view import TaskView
from tests.support.builders import task

WHY = Failure(kind=FailureKind.VERIFY, message="red\nall of it")
READY = TaskView(task("A"), "ready", Record(), "")
RUNNING = AttemptState.RUNNING


def past(
    state: AttemptState, phase: str = "", *, is_active: bool = True, attempt: int = 1
) -> PastRun:
    start = RunStarted(
        run="r", branch="main", plan="tasks.yml", tasks=1, schedule="batch"
    )
    failure = WHY if state is AttemptState.FAILED else None
    view = AttemptView("A", attempt, "r.1", state=state, phase=phase, failure=failure)
    view.log = "1/000/agent.log"
    run = RunView(start=start, tasks={"A": TaskRun("A", attempts=[view])})
    return PastRun("r", run, is_active)


def shown(
    past: PastRun | None, view: TaskView = READY, branch: str | None = "main"
) -> tuple[str, str, str | None]:
    [found] = with_run([view], past, "tasks.yml", branch, "r")
    return found.state, found.reason, found.phase


@pytest.mark.parametrize(
    ("state", "phase", "said"),
    [
        (RUNNING, "", ("in_progress", "preparing", "preparing")),
        (RUNNING, "working", ("in_progress", "working", "working")),
        (RUNNING, "verifying", ("in_progress", "verifying", "verifying")),
        (
            AttemptState.FINISHED,
            "working",
            ("finished", "its agent is done; its work has not landed yet", None),
        ),
        (
            AttemptState.FINISHED,
            "merging",
            ("finished", "its work is being merged", "merging"),
        ),
        (
            AttemptState.VERIFYING,
            "merging",
            ("finished", "its work is being verified", "verifying"),
        ),
        (
            AttemptState.MERGED,
            "merging",
            (
                "finished",
                "its work is merged and lands with the next commit",
                "merging",
            ),
        ),
    ],
)
def test_a_task_is_in_the_phase_of_its_attempt(
    state: AttemptState, phase: str, said: tuple[str, str, str | None]
) -> None:
    task_state, reason, phase_now = said
    assert shown(past(state, phase)) == (task_state, f"attempt 1: {reason}", phase_now)


def test_an_attempt_that_has_failed_is_said_before_the_branch_records_it() -> None:
    run = past(AttemptState.FAILED)
    assert shown(run) == ("ready", "attempt 1 failed: red", None)
    [attempt] = run.view.tasks["A"].attempts
    assert unrecorded_failure(READY, attempt) == WHY
    recorded = TaskView(task("A"), "ready", Record(attempts=1), "attempt 1 failed: x")
    assert shown(run, recorded)[1] == "attempt 1 failed: x"
    assert unrecorded_failure(recorded, attempt) is None


@pytest.mark.parametrize("state", list(AttemptState))
def test_nothing_is_being_done_once_the_run_was_killed(state: AttemptState) -> None:
    run = past(state, "working", is_active=False)
    run.view.interrupt_running()
    task_state, _, phase = shown(run)
    assert phase is None
    assert task_state != "in_progress"


def test_a_run_that_was_interrupted_is_not_said_to_be_killed() -> None:
    run = past(AttemptState.FINISHED, is_active=False)
    assert "its run was killed; the next" in shown(run)[1]
    run.view.apply(RunEnded(run="r", branch="main", outcome="interrupted"))
    assert "its run was interrupted; the next" in shown(run)[1]


def test_what_a_killed_run_has_left_is_said_while_the_next_one_finishes_it() -> None:
    left = past(AttemptState.FINISHED, is_active=False)
    heir = "the run in progress"
    [view] = with_run([READY], left, "tasks.yml", "main", "r", heir)
    killed = f"attempt 1: its run was killed; {heir} lands its work"
    assert (view.state, view.reason) == ("finished", killed)
    next_run = past(AttemptState.CHOSEN)
    assert shown(next_run, view) == ("finished", killed, None)
    merging = past(AttemptState.CHOSEN, "merging")
    said = ("finished", "attempt 1: its work is being merged", "merging")
    assert shown(merging, view) == said


def test_a_run_of_another_branch_or_plan_says_nothing_of_these_tasks() -> None:
    run = past(RUNNING, "working")
    untouched = ("ready", "", None)
    assert shown(run, branch="other") == untouched
    assert shown(None) == untouched
    assert with_run([READY], run, "other.yml", "main", "r") == [READY]
    assert shown(run, branch=None)[0] == "in_progress"


def test_what_has_landed_stays_completed() -> None:
    done = TaskView(task("A"), "completed", Record(attempts=1), "")
    assert shown(past(RUNNING, attempt=2), done) == ("completed", "", None)
