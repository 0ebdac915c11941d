"""Failed attempts get no commit of their own: until the next landing they are in the
journal, and count from there too.
"""

from __future__ import annotations

import pytest

from tests.integration.test_crash import began
from tests.support.crashes import ask_to_skip, die_after, die_before
from tests.support.project import Project, Quiet

BOTH_SCHEDULES = pytest.mark.parametrize("schedule", ["batch", "rolling"])


@BOTH_SCHEDULES
def test_failures_before_a_landing_are_recorded_with_it_and_the_last_ones_at_the_end(
    project: Project, schedule: str
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["fail once why", "write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["fail no"]},
        ],
        schedule=schedule,
        max_concurrent=1,
    )
    seen = Quiet()
    project.run(seen)
    # 4 failed attempts and one that landed were 5 commits once
    assert project.subjects() == [
        "Record failed attempts of B",
        "A: do A",
        "plan",
        "start",
    ]
    assert project.records("HEAD~1")["A"]["attempts"] == 2
    assert project.records()["B"]["attempts"] == 3
    assert [each.failed_tasks for each in seen.commits] == [(), ("B",)]
    assert project.runner().journal.state().unrecorded == ()
    assert project.git("status", "--porcelain") == ""


@BOTH_SCHEDULES
def test_a_failure_that_lands_with_other_work_is_named_in_that_commit(
    project: Project, schedule: str
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["fail no"], "max_attempts": 1, "priority": 1},
            {"id": "B", "do": ["write b: b"]},
        ],
        schedule=schedule,
        max_concurrent=1,
    )
    seen = Quiet()
    project.run(seen)
    assert project.subjects() == ["B: do B", "plan", "start"]
    assert "- A failed (agent_error): " in project.git("log", "-1", "--format=%b")
    assert [each.failed_tasks for each in seen.commits] == [("A",)]


@BOTH_SCHEDULES
def test_status_check_retry_and_skip_count_what_a_dead_run_has_not_recorded(
    project: Project, schedule: str
) -> None:
    tasks = [{"id": name, "do": ["fail no"], "max_attempts": 1} for name in "AB"]
    project.plan(tasks, schedule=schedule, max_concurrent=1)
    die_after(project.runner(), "failed", 2)
    assert project.subjects() == ["plan", "start"]
    for command in ("status", "check"):
        assert "2 failed" in project.cli(command).stdout
    assert project.cli("skip", "B").returncode == 0
    records = project.records()
    assert [records[name]["attempts"] for name in "AB"] == [1, 1]
    assert project.subjects()[0] == "Skip B"
    assert project.runner().journal.state().unrecorded == ()
    assert project.cli("retry", "--failed").stdout.startswith("retry: A;")
    project.run()
    records = project.records()
    assert [records[name]["attempts"] for name in "AB"] == [2, 1]
    assert began(project) == ["A", "B", "A"]


@BOTH_SCHEDULES
@pytest.mark.parametrize("event", ["failed", "recorded"])
def test_a_crash_loses_no_failed_attempt_and_counts_none_twice(
    project: Project, schedule: str, event: str
) -> None:
    project.plan(
        [{"id": "A", "do": ["fail no"], "max_attempts": 2}],
        schedule=schedule,
        max_concurrent=1,
    )
    runner = project.runner()
    if event == "failed":
        die_after(runner, event)
    else:
        # between the commit and the journal's note of it
        die_before(runner, event)
        assert project.records()["A"]["attempts"] == 2
    project.run()
    assert project.records()["A"]["attempts"] == 2
    assert began(project) == ["A", "A"]
    assert project.runner().journal.state().unrecorded == ()


@BOTH_SCHEDULES
def test_failures_of_a_dead_run_are_recorded_with_the_next_landing(
    project: Project, schedule: str
) -> None:
    project.plan(
        [{"id": "A", "do": ["fail once why", "write a: a"]}],
        schedule=schedule,
        max_concurrent=1,
    )
    die_after(project.runner(), "failed")
    project.run()
    assert project.subjects() == ["A: do A", "plan", "start"]
    assert project.records()["A"]["attempts"] == 2
    assert project.runner().journal.state().unrecorded == ()


def test_failures_of_a_dead_run_are_recorded_on_its_branch_by_a_run_on_another(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["fail once why", "write a: a"]}])
    project.git("branch", "other")
    die_after(project.runner(), "failed")
    project.run(branch="other")
    assert project.records("main")["A"]["attempts"] == 1
    # there it had its own two
    assert project.records("other")["A"]["attempts"] == 2
    assert project.states("other") == {"A": "completed"}


@BOTH_SCHEDULES
def test_a_branch_that_moves_takes_failures_and_work_in_their_order(
    project: Project, schedule: str
) -> None:
    """A's second attempt was accepted on its first failure, before the branch moved.
    What was asked for before the run still counts after that.
    """
    project.plan(
        [
            {"id": "A", "do": ["fail once why", "write a: a"]},
            {"id": "B", "do": ["sleep 1.5", "write b: b"]},
            {"id": "S", "depends_on": ["A", "B"], "do": ["write s: s"]},
        ],
        schedule=schedule,
        max_concurrent=2,
    )
    ask_to_skip(project, "S")

    class Person(Quiet):
        def observe(self, event: object) -> None:
            super().observe(event)  # type: ignore[arg-type]
            if len(self.results) == 2 and "by a person" not in project.subjects():
                project.write("mine", "mine\n")
                project.commit("by a person")

    project.run(Person())
    assert project.states() == dict.fromkeys("ABS", "completed")
    assert sorted(began(project)) == ["A", "A", "B"]
    assert project.records()["A"]["attempts"] == 2
    assert "by a person" in project.subjects()
