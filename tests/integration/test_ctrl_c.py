"""Ctrl-C at a terminal: once to finish what runs, twice to stop it, thrice to end at once."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.core.errors import Interrupted
from tests.integration.test_crash import began, results, wait_until
from tests.support.at_terminal import RunAtTerminal
from tests.support.jobs import Jobs
from tests.support.own_sleep import own_seconds, sleeps
from tests.support.project import Project, Quiet

BOTH_SCHEDULES = pytest.mark.parametrize("schedule", ["batch", "rolling"])
DRAINING = "finishing what runs; press Ctrl-C again to stop the agents"
STOPPING = "stopping the agents, at no cost of an attempt"


def says(run: RunAtTerminal, text: str) -> Callable[[], bool]:
    return lambda: text in run.output


@BOTH_SCHEDULES
def test_once_finishes_what_runs_and_starts_nothing_new(
    project: Project, schedule: str
) -> None:
    go_on = project.log.with_name("go-on")
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(go_on)!r}).exists():"
    agent = {"command": ["python3", "-c", f"{wait} time.sleep(0.02)\nopen('a', 'w')"]}
    project.plan(
        [{"id": "A", "agent": agent}, {"id": "B", "depends_on": ["A"]}],
        schedule=schedule,
    )
    with RunAtTerminal(project) as run:
        wait_until(says(run, "▶ A  working"))
        run.press_ctrl_c()
        wait_until(says(run, DRAINING))
        go_on.touch()
        output = run.end()
    assert run.process.returncode == 130, output
    summary, _, advice = output.rpartition(
        "fanin: stopped: 1 landed, and no attempt was lost\n"
    )
    assert advice == "continue with  fanin run\n"
    assert "1 completed, 1 ready\ncost: unknown\n" in summary
    assert STOPPING not in output
    assert project.states() == {"A": "completed", "B": "pending"}
    assert began(project) == []


def test_before_anything_has_started_no_run_is_shown(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    observer = Quiet()
    run = project.runner(observer)
    run.stop.drain()
    with pytest.raises(Interrupted, match="stopped before anything started"):
        run()
    assert observer.events == []


@BOTH_SCHEDULES
def test_twice_ends_the_agents_at_no_cost_of_an_attempt(
    project: Project, schedule: str
) -> None:
    project.plan([{"id": "A", "do": ["hang"]}], schedule=schedule)
    with RunAtTerminal(project) as run:
        wait_until(lambda: began(project) == ["A"])
        run.press_ctrl_c()
        wait_until(says(run, DRAINING))
        run.press_ctrl_c()
        output = run.end()
    assert run.process.returncode == 130, output
    assert f"{STOPPING}; press Ctrl-C again to end at once" in output
    assert "■ A stopped; costs no attempt" in output
    assert "1 ready\ncost: unknown\n" in output
    assert "stopped: 0 landed, 1 will run again\n" in output
    assert project.cli("status", "--json").stdout.count('"attempts": 0') == 1


@BOTH_SCHEDULES
def test_thrice_ends_at_once_and_leaves_nothing_behind(
    project: Project, schedule: str
) -> None:
    seconds = own_seconds()
    tasks = [{"id": task, "do": [f"daemon {seconds}", "stubborn"]} for task in "AB"]
    project.plan(tasks, schedule=schedule)
    with RunAtTerminal(project) as run:
        wait_until(lambda: sorted(began(project)) == ["A", "B"])
        for text in (DRAINING, STOPPING):
            run.press_ctrl_c()
            wait_until(says(run, text))
        run.press_ctrl_c()
        output = run.end()
    assert run.process.returncode == 130, output
    assert (
        "fanin: interrupted; finished work is kept. Continue with  fanin run" in output
    )
    assert "2 ready\ncost: " in output
    assert not sleeps(seconds)


@BOTH_SCHEDULES
def test_once_ends_a_verify_and_the_next_run_repeats_it(
    project: Project, schedule: str
) -> None:
    green = project.log.with_name("green")
    project.plan(
        [{"id": "A", "do": ["write a: a"]}],
        schedule=schedule,
        verify=f"test -e {green} || sleep 3600",
    )
    with RunAtTerminal(project) as run:
        wait_until(says(run, "◆ verify"))
        run.press_ctrl_c()
        output = run.end()
    assert run.process.returncode == 130, output
    assert "stopped before the merged work was verified; the work is kept" in output
    assert "A finished: its work is kept, and the next fanin run lands it\n" in output
    assert "1 finished\n" in output
    green.touch()
    done = project.cli("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.states() == {"A": "completed"}
    assert began(project) == ["A"]


def test_nothing_is_verified_once_the_run_is_to_stop(project: Project) -> None:
    project.plan(
        [{"id": "A", "do": ["write a: a"]}, {"id": "B", "do": ["hang"]}],
        verify="false",
    )
    with RunAtTerminal(project) as run:
        wait_until(lambda: len(results(project)) == 1 and len(began(project)) == 2)
        run.press_ctrl_c()
        wait_until(says(run, DRAINING))
        run.press_ctrl_c()
        output = run.end()
    assert run.process.returncode == 130, output
    assert "◆ verify" not in output
    assert "stopped before the merged work was verified" in output


def test_another_signal_stops_the_agents_at_once(project: Project) -> None:
    project.plan([{"id": "A", "do": ["hang"]}])
    with RunAtTerminal(project) as run:
        wait_until(lambda: began(project) == ["A"])
        run.process.send_signal(signal.SIGTERM)
        output = run.end()
    assert run.process.returncode == 130, output
    assert STOPPING in output
    assert DRAINING not in output


def test_however_often_a_signal_comes_the_exit_code_says_so(project: Project) -> None:
    project.plan([{"id": "A", "do": ["hang"]}])
    with RunAtTerminal(project) as run:
        wait_until(lambda: began(project) == ["A"])
        while run.process.poll() is None:
            run.process.send_signal(signal.SIGTERM)
            time.sleep(0.002)
        output = run.end()
    assert run.process.returncode == 130, output
    assert "Traceback" not in output


@dataclass
class InterruptedTasks(Jobs):
    """Jobs whose `fanin task` gets one signal, at a terminal, once its agent works."""

    number: int = 0

    def _fanin(
        self, argv: Sequence[str], checkout: Path, env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        if argv[0] != "task":
            return super()._fanin(argv, checkout, env)
        before = began(self.project)
        with RunAtTerminal(self.project, *argv, cwd=checkout, env=env) as run:
            wait_until(lambda: began(self.project) != before)
            run.process.send_signal(self.number)
            output = run.end()
        return subprocess.CompletedProcess(argv, run.process.returncode, output, "")


def test_a_job_of_github_never_drains(project: Project, tmp_path: Path) -> None:
    """GitHub sends one SIGINT, 7.5 s later SIGTERM, and kills 2.5 s after that."""
    seconds = own_seconds()
    project.plan([{"id": "A", "do": [f"daemon {seconds}", "hang"]}])
    jobs = InterruptedTasks(project, tmp_path / "actions")
    jobs.folder.mkdir()
    jobs.publish()
    chosen = jobs.next()
    for jobs.run_attempt, jobs.number in ((1, signal.SIGINT), (2, signal.SIGTERM)):
        ended = jobs.task(chosen, "A")
        assert ended.code == 130, ended.log
        assert "press Ctrl-C again" not in ended.log
        assert not sleeps(seconds)
