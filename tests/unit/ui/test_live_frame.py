"""What stands below the lines of a run: readable with 256 tasks and in 80 columns."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    AttemptStarted,
    CommitLanded,
    PhaseChanged,
    PlannedTask,
    PlanRead,
    ResultRefused,
    RunEvent,
    RunStarted,
    UsageReport,
    VerifyEnded,
    VerifyStarted,
    Waiting,
)
from runner.core.result import Failure, FailureKind, Usage
from runner.core.run_view import RunView, fold, instant
from runner.ui.live_frame import clock, frame, spent_so_far

COMMIT = "0" * 40
START = "2026-01-01T00:00:00.000Z"
NOW = instant(START) + 75


def run(tasks: int, *events: RunEvent, **start: Any) -> RunView:
    plan = [
        PlannedTask(task=f"T{i}", title=f"task {i}", state="ready", expected_seconds=60)
        for i in range(tasks)
    ]
    return fold(
        [
            RunStarted(
                time=START,
                run="r",
                branch="main",
                plan="tasks.yml",
                tasks=tasks,
                schedule="rolling",
                agent="claude",
                **start,
            ),
            PlanRead(time=START, run="r", base=COMMIT, tasks=tuple(plan)),
            *events,
        ]
    )


def started(task: str, attempt: int = 1, title: str = "do it") -> AttemptStarted:
    return AttemptStarted(
        time=START, batch=task, task=task, attempt=attempt, title=title, agent="claude"
    )


def working(task: str) -> PhaseChanged:
    return PhaseChanged(batch=task, task=task, attempt=1, phase="working")


def output(task: str, line: str, **usage: Any) -> AgentOutput:
    return AgentOutput(batch=task, task=task, attempt=1, last_line=line, **usage)


def ended(task: str, failure: Failure | None = None, **usage: Any) -> AttemptEnded:
    return AttemptEnded(
        batch=task,
        task=task,
        attempt=1,
        title="do it",
        seconds=30,
        failure=failure,
        usage=Usage(**usage),
    )


def shown(view: RunView, width: int = 80, height: int = 24) -> list[str]:
    return [line.painted(None, width) for line in frame(view, width, height, NOW)]


def test_nothing_is_shown_before_the_run_starts() -> None:
    assert frame(RunView(), 80, 24, NOW) == []


def test_what_a_run_finishes_of_an_earlier_one_is_shown_before_it_starts() -> None:
    view = RunView()
    view.apply(
        VerifyStarted(
            time=START, batch="b", commit=COMMIT, command="pytest", tasks=("A",)
        )
    )
    assert shown(view) == ["  ◆ verify  1:15  A  pytest"]
    view.apply(VerifyEnded(batch="b", commit=COMMIT, seconds=1))
    assert shown(view) == []


def test_the_header_names_plan_branch_agent_and_limits() -> None:
    view = run(1, max_concurrent=8, limits={"max_cost_usd": 5, "max_attempts": 3})
    assert shown(view)[0] == (
        "── tasks.yml → main · claude · 8 at a time · at most $5 · 3 attempts each"
    )


def test_the_header_has_room_for_the_limits_beside_a_long_command() -> None:
    view = run(1, max_concurrent=8)
    assert view.start is not None
    label = "/opt/tools/bin/python3 /home/me/src/agents/agent.py --model large --fast"
    view.start = view.start.model_copy(update={"agent": label})
    assert shown(view)[0] == (
        "── tasks.yml → main · python3 agent.py --model larg… · 8 at a time"
    )


def test_the_bar_and_its_words_say_how_far_the_run_is() -> None:
    view = run(
        6,
        ended("T0", cost_usd=0.5),
        CommitLanded(branch="main", commit=COMMIT, tasks=("T0",)),
        ended("T1"),
        ended("T2"),
        ResultRefused(
            batch="T2",
            task="T2",
            attempt=1,
            failure=Failure(kind=FailureKind.SCOPE, message="no"),
            final=True,
        ),
    )
    assert shown(view)[1:] == [
        "  ████▓▓▓▓████░░░░░░░░░░░░  1/6 landed · 1 finished · 1 failed",
        "  1:15 · about 2 min left · at least $0.50",
    ]


def test_each_agent_at_work_has_a_line() -> None:
    view = run(
        3,
        started("T0"),
        working("T0"),
        output("T0", "reading a.py", cost_usd=0.25),
        started("T10", attempt=2, title="the title"),
        PhaseChanged(batch="T10", task="T10", attempt=2, phase="preparing"),
    )
    assert shown(view)[3:] == [
        "  ▶ T0      working      1:15  $0.25  reading a.py",
        "  ▶ T10 #2  preparing    1:15         the title",
    ]
    wide = shown(view, width=150)[3]
    assert "do it" in wide
    assert wide.endswith("reading a.py")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (20, 10), (200, 50), (80, 3)])
def test_many_tasks_fit_on_the_screen(width: int, height: int) -> None:
    ids = [f"a-task-with-a-long-name-{i}" for i in range(256)]
    events: list[RunEvent] = [started(task) for task in ids]
    events += [output(task, "日本語 text " * 30) for task in ids]
    verify = VerifyStarted(batch="b", commit=COMMIT, command="pytest")
    events += [verify.model_copy(update={"step": step}) for step in range(9)]
    view = run(256, *events)
    lines = shown(view, width, height)
    assert len(lines) < height
    assert all(cell_len(line) <= width for line in lines)
    if height >= 10:
        agents = [line for line in lines if "▶" in line]
        more = 256 - len(agents)
        assert len(agents) > 0
        assert any(f"and {more} more" in line for line in lines)
        assert any("verify" in line for line in lines)


def test_the_steps_of_verify_are_shown() -> None:
    verify = VerifyStarted(
        time=START, batch="b", commit=COMMIT, command="pytest", tasks=("A", "B")
    )
    view = run(2, verify)
    assert shown(view)[3] == "  ◆ verify  1:15  A, B  pytest"
    view.apply(VerifyEnded(batch="b", commit=COMMIT, seconds=1))
    assert len(shown(view)) == 3
    step = {"bisecting": True, "step": 2, "tasks": ("A",)}
    view.apply(verify.model_copy(update=step))
    text = "  ◆ verify  1:15  step 2, to find what makes it red:  A  pytest"
    assert shown(view)[3] == text
    view.apply(VerifyEnded(batch="b", commit=COMMIT, seconds=1, step=2))
    view.apply(verify.model_copy(update={"repeated": True, "tasks": ()}))
    assert shown(view)[3] == "  ◆ verify  1:15  once more  the branch alone  pytest"


def test_trees_that_are_verified_at_once_have_a_line_each() -> None:
    first = VerifyStarted(
        time=START, batch="b", commit=COMMIT, command="pytest", tasks=("A",)
    )
    second = first.model_copy(update={"tasks": ("A", "B"), "step": 2})
    assert shown(run(2, first, second))[3:] == [
        "  ◆ verify  1:15  A  pytest",
        "  ◆ verify  1:15  A, B  pytest",
    ]


def test_a_merge_and_a_wait_are_shown() -> None:
    merging = PhaseChanged(batch="A", task="A", attempt=1, phase="merging")
    view = run(2, started("A"), ended("A"), merging)
    assert shown(view)[3] == "  ◆ merging  A"
    waiting = Waiting(
        seconds=60, reason="the usage limit is reached: waiting until 9:00"
    )
    assert shown(run(2, waiting))[3].endswith("waiting until 9:00")


def test_no_text_of_an_agent_acts_on_the_screen() -> None:
    hostile = "\x1b[2J\x1b]52;c;eA==\x07\r\n\x9b2J\u202e[red]x[/]\ttab"
    view = run(1, started("A", title=hostile), output("A", hostile))
    for line in frame(view, 200, 24, NOW):
        for text in (line.plain, line.painted(None, 200)):
            assert not {*"\x1b\x07\x9b\u202e\r\n\t"} & set(text)
    assert "[red]x[/]" in shown(view, 200)[3], "rich's markup is plain text"


def test_times_and_costs_in_few_characters() -> None:
    assert [clock(7), clock(754), clock(3723)] == ["0:07", "12:34", "1:02:03"]
    usage = UsageReport(attempts=2, cost_usd=1.5, without_cost=1)
    assert spent_so_far(usage) == "at least $1.50"
    assert spent_so_far(UsageReport(attempts=1, cost_usd=1.5)) == "$1.50"
    assert spent_so_far(UsageReport(attempts=1, tokens=5, without_cost=1)) == "5 tokens"
    assert spent_so_far(UsageReport()) == ""
