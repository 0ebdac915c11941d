"""`start_after: merge`: a task starts from merged work while verify still runs. Nothing
red lands, nothing of what is not at fault is lost, and no attempt counts in vain.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from runner.core.events import BatchChosen, ResultRefused
from tests.integration.test_crash import end, start, wait_until
from tests.support.own_sleep import own_seconds, sleeps
from tests.support.project import Project, Quiet
from tests.support.shell import until


@pytest.fixture
def seen(project: Project) -> Path:
    """A file for what agents and verify have to say."""
    return project.root.parent / "seen"


def shell(task_id: str, command: str, *needs: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": task_id,
        "depends_on": [*needs],
        "agent": {"command": ["sh", "-c", f"echo {task_id} >> $SEEN; {command}"]},
        **fields,
    }


def plan(
    project: Project, seen: Path, tasks: list[dict[str, Any]], **settings: Any
) -> None:
    project.plan(
        tasks,
        **{
            "schedule": "rolling",
            "start_after": "merge",
            "max_concurrent": 2,
            "verify_retries": 0,
            "env": {"SEEN": str(seen)},
            **settings,
        },
    )


@pytest.mark.parametrize("slots", [1, 2])
def test_a_task_starts_while_the_work_that_it_needs_is_verified(
    project: Project, seen: Path, slots: int
) -> None:
    tasks = [
        shell("A", "echo 1 > a"),
        shell("B", "cp a b", "A"),
        shell("C", "cp b c", "B"),
    ]
    # the tree with A's work is green once B has started from it
    verify = f"test -e a || exit 0; {until('grep -q B $SEEN')}"
    plan(project, seen, tasks, verify=verify, max_concurrent=slots)
    project.run()
    assert project.states() == dict.fromkeys("ABC", "completed")
    assert project.git("show", "HEAD:c") == "1"
    assert project.git("for-each-ref", "refs/fanin/runs") == ""
    assert project.git("status", "--porcelain") == ""
    project.git("fsck", "--strict")


def test_check_and_run_say_where_it_has_no_effect(project: Project, seen: Path) -> None:
    plan(project, seen, [shell("A", "echo 1 > a")])
    said = r"warning: fanin\.yml:\d+: start_after: no effect without verify"
    for command in ("check", "run"):
        shown = project.cli(command)
        assert shown.returncode == 0, shown.stderr
        assert re.search(said, shown.stdout)


def test_what_needs_red_work_is_stopped_and_costs_no_attempt(
    project: Project, seen: Path
) -> None:
    nap = own_seconds()
    tasks = [
        shell("A", "echo $FANIN_ATTEMPT > a"),
        shell("B", f"test $(cat a) = 2 || sleep {nap}; cp a b", "A"),
    ]
    verify = f"test -e a || exit 0; {until('grep -q B $SEEN')}; grep -q 2 a"
    plan(project, seen, tasks, verify=verify)
    observer = Quiet()
    project.run(observer)
    assert project.states() == {"A": "completed", "B": "completed"}
    records = project.records()
    assert (records["A"]["attempts"], records["B"]["attempts"]) == (2, 1)
    assert not sleeps(nap)
    assert project.git("show", "HEAD:b") == "2"
    assert seen.read_text().split() == ["A", "B", "A", "B"]
    assert project.git("for-each-ref", "refs/fanin/runs") == ""
    project.git("fsck", "--strict")


def test_the_innocent_go_on_although_red_work_was_in_their_base(
    project: Project, seen: Path
) -> None:
    # A and B are verified together, and C starts from both: B alone is at fault.
    both = until("grep -q A $SEEN && grep -q B $SEEN")
    tasks = [
        shell("A", f"{both}; echo x > a"),
        shell("B", f"{both}; echo $FANIN_ATTEMPT > b"),
        shell("C", f"{until('test -e $SEEN.red')}; cp a c", "A"),
    ]
    verify = (
        f"test -e b || exit 0; test -e c || {until('grep -q C $SEEN')}; "
        "grep -q 2 b && exit; touch $SEEN.red; false"
    )
    plan(project, seen, tasks, verify=verify)
    project.run()
    assert project.states() == dict.fromkeys("ABC", "completed")
    records = project.records()
    assert [records[each]["attempts"] for each in "ABC"] == [1, 2, 1]
    assert seen.read_text().split().count("C") == 1
    assert project.git("show", "HEAD:b") == "2"
    project.git("fsck", "--strict")


def test_a_failed_attempt_is_recorded_before_the_next_one_starts(
    project: Project, seen: Path
) -> None:
    tasks = [
        shell("A", "echo x > a"),
        shell(
            "B",
            f"test $FANIN_ATTEMPT = 2 || {until('test -e $SEEN.a')}; "
            "test $FANIN_ATTEMPT = 2 && echo x > b",
        ),
    ]
    # B fails while A's work is verified
    verify = "test -e a || exit 0; touch $SEEN.a; sleep 2"
    plan(project, seen, tasks, verify=verify)
    observer = Quiet()
    project.run(observer)
    assert project.states() == {"A": "completed", "B": "completed"}
    assert project.records()["B"]["attempts"] == 2
    assert seen.read_text().split().count("B") == 2
    [recorded] = [
        place
        for place, event in enumerate(observer.events)
        if isinstance(event, ResultRefused)
    ]
    *_, started = [
        place
        for place, event in enumerate(observer.events)
        if isinstance(event, BatchChosen)
    ]
    assert recorded < started
    assert project.git("for-each-ref", "refs/fanin/kept") == ""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("verdict", ["true", "grep -q 2 a"])
def test_a_run_that_ends_while_verify_runs_keeps_what_started_from_it(
    project: Project, seen: Path, ending: signal.Signals, verdict: str
) -> None:
    nap = own_seconds()
    tasks = [shell("A", "echo $FANIN_ATTEMPT > a"), shell("B", "cp a b", "A")]
    again = seen.with_name("again")
    verify = f"test -e a || exit 0; test -e {again} || sleep {nap}; {verdict}"
    plan(project, seen, tasks, verify=verify)
    child = start(project)
    wait_until(lambda: sleeps(nap))
    # B has ended, and its result waits for the verdict
    results = ".git/fanin/runs/*/2/*/result.json"
    wait_until(lambda: any(project.root.glob(results)))
    child.send_signal(ending)
    end(child)
    again.touch()
    project.run()
    assert not sleeps(nap)
    assert project.states() == {"A": "completed", "B": "completed"}
    records = project.records()
    is_red = verdict != "true"
    assert records["A"]["attempts"] == 1 + is_red
    assert records["B"]["attempts"] == 1
    # what was built on work that lands is not paid for twice
    assert seen.read_text().split().count("B") == 1 + is_red
    assert project.git("show", "HEAD:b") == str(1 + is_red)
    assert project.git("for-each-ref", "refs/fanin/runs", "refs/fanin/base") == ""
    project.git("fsck", "--strict")
