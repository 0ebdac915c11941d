"""Tasks that change one file without saying so: all land, and what they cost."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.project import Project, Quiet, most_at_once

START = "the first line\n"
BOTH_SCHEDULES = pytest.mark.parametrize("schedule", ["batch", "rolling"])


def _appending(count: int, **fields: Any) -> list[dict[str, Any]]:
    tasks = []
    for number in range(1, count + 1):
        does = [f"append CHANGELOG.md: line of T{number}", "sleep 0.1"]
        tasks.append({"id": f"T{number}", "do": does} | fields)
    return tasks


@BOTH_SCHEDULES
@pytest.mark.parametrize("slots", [3, 4, 6])
def test_six_tasks_that_append_to_one_file_all_land_in_eleven_runs_at_most(
    project: Project, schedule: str, slots: int
) -> None:
    project.write("CHANGELOG.md", START)
    project.plan(_appending(6), schedule=schedule, max_concurrent=slots)
    project.run()
    assert set(project.states().values()) == {"completed"}
    lines = project.git("show", "HEAD:CHANGELOG.md").splitlines()
    expected = [START.strip(), *(f"line of T{number}" for number in range(1, 7))]
    assert sorted(lines) == sorted(expected)
    assert len(project.intervals()) <= 11


@BOTH_SCHEDULES
def test_a_task_loses_to_others_more_often_than_it_may_fail(
    project: Project, schedule: str
) -> None:
    project.write("CHANGELOG.md", START)
    project.plan(_appending(4), schedule=schedule, max_concurrent=4, max_attempts=1)
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert {record.get("conflicts", 0) for record in project.records().values()} == {
        0,
        1,
    }


@BOTH_SCHEDULES
def test_tasks_that_have_conflicted_on_a_path_never_run_at_once_again(
    project: Project, schedule: str
) -> None:
    project.write("CHANGELOG.md", START)
    project.plan(_appending(4), schedule=schedule, max_concurrent=4)
    project.run()
    again = [run for run in project.intervals() if run[1] > 1]
    assert len(again) == 3
    assert most_at_once(again) == 1


@BOTH_SCHEDULES
def test_a_conflict_says_with_which_task_and_in_which_file_and_costs_no_attempt(
    project: Project, schedule: str
) -> None:
    project.write("CHANGELOG.md", START)
    tasks = _appending(2)
    tasks[1]["do"].append("sleep 0.5")
    project.plan(tasks, schedule=schedule, max_concurrent=2)
    seen = Quiet()
    project.run(seen)
    messages = [
        failure.message for fan_in in seen.fan_ins for failure in fan_in.failed.values()
    ]
    assert messages == ["conflict with T1 in CHANGELOG.md; costs no attempt"]
    record = project.records()["T2"]
    assert (record["attempts"], record["conflicts"]) == (2, 1)
    assert record["conflict_paths"] == ["CHANGELOG.md"]


@BOTH_SCHEDULES
def test_what_a_merge_driver_unites_conflicts_with_nothing(
    project: Project, schedule: str
) -> None:
    project.write("CHANGELOG.md", START)
    project.write(".gitattributes", "CHANGELOG.md merge=union\n")
    project.plan(_appending(6), schedule=schedule, max_concurrent=6)
    project.run()
    assert len(project.intervals()) == 6
    assert set(project.states().values()) == {"completed"}
    assert len(project.git("show", "HEAD:CHANGELOG.md").splitlines()) == 7


def test_a_task_that_has_conflicted_is_merged_before_those_that_have_not(
    project: Project,
) -> None:
    project.write("CHANGELOG.md", START)
    first, *urgent = _appending(3)
    urgent = [task | {"priority": 1} for task in urgent]
    project.plan([first, *urgent], max_concurrent=2)
    seen = Quiet()
    project.run(seen)
    assert seen.batches == [["T2", "T3"], ["T1", "T3"], ["T1"]]
    conflicts = {
        name: each.get("conflicts") for name, each in project.records().items()
    }
    assert conflicts == {"T1": 1, "T2": None, "T3": 1}
