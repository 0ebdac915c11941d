"""A usage limit costs no attempt: the run waits for the reset, in virtual time, and goes
on by itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.core.errors import Interrupted
from runner.core.events import Waiting
from runner.schedule.limit_waits import MARGIN
from tests.support.project import AGENT, Project, Quiet
from tests.support.virtual_clock import VirtualClock

HOUR = 3600
BOTH_SCHEDULES = pytest.mark.parametrize("schedule", ["batch", "rolling"])


def reset_file(project: Project) -> Path:
    return project.log.with_name(f"{project.log.name}.reset")


def starts(project: Project) -> int:
    """How many agents have started so far."""
    if not project.log.exists():
        return 0
    return project.log.read_text().count('"began"')


def plan_of(project: Project, count: int, limit: str, **settings: object) -> None:
    tasks = [
        {"id": f"T{number}", "do": [limit, f"write f{number}: x"]}
        for number in range(count)
    ]
    project.plan(tasks, max_concurrent=3, **settings)


@BOTH_SCHEDULES
def test_nothing_starts_before_the_reset_and_then_every_task_lands_at_its_first_attempt(
    project: Project, schedule: str
) -> None:
    plan_of(project, 5, f"limit {2 * HOUR}", schedule=schedule, max_attempts=1)
    started_before = []

    def reset(_clock: VirtualClock) -> None:
        started_before.append(starts(project))
        reset_file(project).touch()

    clock, seen = VirtualClock(reset), Quiet()
    ended = project.run(seen, clock)
    assert started_before[0] <= 3
    assert starts(project) == started_before[0] + 5
    assert set(project.states().values()) == {"completed"}
    assert {record["attempts"] for record in project.records().values()} == {1}
    after_the_reset = clock.minutes - 120
    assert 0 <= after_the_reset <= 1
    assert (ended.stop_reason, ended.limit_reached) == (None, False)
    (waiting,) = [event for event in seen.events if isinstance(event, Waiting)]
    assert waiting.until is not None
    assert waiting.seconds == pytest.approx(2 * HOUR + MARGIN.total_seconds(), abs=30)
    assert "the usage limit of" in waiting.reason
    assert "waiting until" in waiting.reason


@BOTH_SCHEDULES
def test_without_a_known_reset_one_agent_asks_each_quarter_of_an_hour(
    project: Project, schedule: str
) -> None:
    plan_of(project, 4, "limit 0", schedule=schedule, limits={"max_rounds": 3})
    started = []

    def note(_clock: VirtualClock) -> None:
        started.append(starts(project))
        if len(started) == 4:
            reset_file(project).touch()

    clock = VirtualClock(note)
    ended = project.run(clock=clock)
    first = started[0]
    assert first <= 3
    assert started == [first, first + 1, first + 2, first + 3]
    assert clock.minutes == pytest.approx(60)
    # asking is no round of max_rounds: the three are one that asks, and two with work
    assert set(project.states().values()) == {"completed"}
    assert ended.stop_reason is None


def test_what_runs_beside_a_limited_agent_lands_before_the_wait(
    project: Project,
) -> None:
    tasks = [
        {"id": "A", "do": [f"limit {HOUR}", "write a: x"]},
        {"id": "B", "do": ["sleep 0.5", "write b: x"]},
    ]
    project.plan(tasks, schedule="rolling")
    landed = []

    def note(_clock: VirtualClock) -> None:
        landed.append(project.git("ls-tree", "--name-only", "main", "b"))
        reset_file(project).touch()

    project.run(clock=VirtualClock(note))
    assert landed[0] == "b"
    assert set(project.states().values()) == {"completed"}


@BOTH_SCHEDULES
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"on_limit": "stop"}, "and on_limit is stop; to go on after"),
        (
            {"on_limit_max": "90m"},
            "would be longer than on_limit_max (1h30m); to go on after",
        ),
    ],
)
def test_a_run_that_may_not_wait_so_long_ends_and_says_how_to_go_on(
    project: Project, schedule: str, settings: dict[str, str], reason: str
) -> None:
    plan_of(project, 2, f"limit {2 * HOUR}", schedule=schedule, **settings)
    clock = VirtualClock()
    ended = project.run(clock=clock)
    assert ended.limit_reached
    assert ended.stop_reason is not None
    assert reason in ended.stop_reason
    assert ended.stop_reason.endswith("fanin run")
    assert clock.minutes == 0


def test_waiting_without_a_known_reset_ends_at_its_limit(project: Project) -> None:
    plan_of(project, 1, "limit 0", on_limit_max="1h")
    clock = VirtualClock()
    ended = project.run(clock=clock)
    assert ended.limit_reached
    assert clock.minutes == pytest.approx(60)
    assert starts(project) == 5


@BOTH_SCHEDULES
def test_a_run_that_is_started_again_waits_on(project: Project, schedule: str) -> None:
    plan_of(project, 2, f"limit {2 * HOUR}", schedule=schedule)

    def stop(_clock: VirtualClock) -> None:
        runner.stop.drain()

    runner = project.runner(clock=VirtualClock(stop))
    with pytest.raises(Interrupted):
        runner()
    before = starts(project)

    def reset(_clock: VirtualClock) -> None:
        assert starts(project) == before
        reset_file(project).touch()

    clock = VirtualClock(reset)
    project.run(clock=clock)
    assert clock.minutes == pytest.approx(120, abs=2)
    assert set(project.states().values()) == {"completed"}
    journal = project.root / ".git" / "fanin" / "journal.jsonl"
    limits = [line for line in journal.read_text().splitlines() if "limit" in line]
    assert "until" not in json.loads(limits[-1]), "the answer has ended the limit"


def test_the_command_says_until_when_and_a_signal_ends_the_wait(
    project: Project,
) -> None:
    plan_of(project, 1, "limit 0")
    with subprocess.Popen(
        [sys.executable, "-m", "runner", "run"],
        cwd=project.root,
        env={**os.environ, "FAKE_AGENT_LOG": str(project.log), "TZ": "UTC"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "waiting until" in line:
                break
        else:
            pytest.fail("it did not wait")
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait() == 130
    assert "UTC; Ctrl-C ends the run" in line
    secret = {"MY_KEY": AGENT.name}
    flags = ("--on-limit", "stop", "--setup-env", "MY_KEY")
    done = project.cli("run", *flags, env=secret)
    assert done.returncode == 4
    assert "stopped: the usage limit of" in done.stdout
    assert AGENT.name not in done.stdout
    unknown = "is reached (when it resets is unknown), and on_limit is stop; to go on"
    assert unknown in done.stdout
    status = project.cli("status")
    assert "is reached: fanin run waits until" in status.stdout


@BOTH_SCHEDULES
def test_the_next_agent_of_a_list_works_while_a_limit_stops_the_first(
    project: Project, schedule: str
) -> None:
    first = {"command": [sys.executable, str(AGENT)], "env": ["FAKE_AGENT_LOG"]}
    second = {**first, "command": [*first["command"], "unlimited"]}
    plan_of(project, 4, f"limit {HOUR}", schedule=schedule, agent=[first, second])
    clock = VirtualClock()
    project.run(clock=clock)
    assert set(project.states().values()) == {"completed"}
    assert clock.minutes == 0
    assert starts(project) <= 3 + 4
