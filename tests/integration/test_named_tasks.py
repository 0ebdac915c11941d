"""`fanin run ID…`, `--until`, `--dry-run` and `-j`, as a user types them."""

from __future__ import annotations

import pytest

from tests.support.project import Project, most_at_once

CHAIN = [
    {"id": "A", "do": ["write a: one"]},
    {"id": "B", "depends_on": ["A"], "do": ["write b: two"]},
    {"id": "C", "depends_on": ["B"], "do": ["write c: three"]},
    {"id": "D", "do": ["write d: four"]},
]


def _completed(project: Project) -> set[str]:
    return {
        task_id for task_id, state in project.states().items() if state == "completed"
    }


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_until_runs_a_task_with_all_that_it_depends_on(
    project: Project, schedule: str
) -> None:
    project.plan(CHAIN)
    ran = project.cli("run", "--until", "B", "--schedule", schedule, "-j", "2")
    assert ran.returncode == 0, ran.stderr
    assert _completed(project) == {"A", "B"}
    assert "only 2 tasks" in ran.stdout
    # The tally is about these tasks.
    assert "2 completed" in ran.stdout
    assert "pending" not in ran.stdout


def test_a_named_task_runs_alone_and_an_open_dependency_is_refused(
    project: Project,
) -> None:
    project.plan(CHAIN)
    refused = project.cli("run", "B")
    assert refused.returncode == 2
    assert "B depends on A, which is not completed" in refused.stderr
    assert "fanin run --until B" in refused.stderr
    assert project.intervals() == []
    ran = project.cli("run", "D")
    assert ran.returncode == 0, ran.stderr
    assert _completed(project) == {"D"}
    again = project.cli("run", "D")
    assert again.returncode == 0, again.stderr
    assert len(project.intervals()) == 1


def test_only_the_agents_of_named_tasks_are_checked(project: Project) -> None:
    missing = {"command": ["no-such-program"]}
    project.plan([{"id": "A", "agent": missing}, {"id": "B", "do": ["write b: 1"]}])
    assert project.cli("run", "A").returncode == 2
    ran = project.cli("run", "B")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_dry_run_prints_the_tasks_that_a_run_starts_with_and_writes_nothing(
    project: Project, schedule: str
) -> None:
    project.plan(CHAIN, schedule=schedule)
    before = project.git("for-each-ref"), project.git("status", "--porcelain")
    shown = project.cli("run", "--dry-run", "-j", "2")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("the first batch has 2 tasks, from main at ")
    assert [line.split()[0] for line in lines[1:]] == ["A", "D", "2"]
    assert lines[-1] == "2 tasks later"
    assert (project.git("for-each-ref"), project.git("status", "--porcelain")) == before
    assert not (project.root / ".git/fanin").exists()
    assert project.intervals() == []


def test_a_name_of_a_file_that_a_dry_run_prints_has_no_control_characters(
    project: Project,
) -> None:
    project.write("a\x07b", "1")
    project.plan(CHAIN)
    project.write("a\x07b", "2")
    shown = project.cli("run", "--dry-run")
    assert "your uncommitted changes in a" in shown.stdout
    assert "\x07" not in shown.stdout


def test_a_dry_run_refuses_what_the_run_would_refuse(project: Project) -> None:
    project.plan(CHAIN)
    refused = project.cli("run", "--dry-run", "C")
    assert refused.returncode == 2
    assert "C depends on B" in refused.stderr
    assert project.cli("run", "--dry-run", "nothing").returncode == 2


def test_jobs_is_short_for_parallel_with_a_number(project: Project) -> None:
    project.plan(
        [{"id": f"T{i}", "do": [f"write t{i}: x", "sleep 0.4"]} for i in range(2)],
        parallel=False,
    )
    assert project.cli("run", "-j", "2").returncode == 0
    assert most_at_once(project.intervals()) == 2


def test_the_last_round_that_completes_everything_ends_with_0(project: Project) -> None:
    project.plan(CHAIN[:1])
    ran = project.cli("run", "--max-rounds", "1")
    assert ran.returncode == 0, ran.stdout
    assert "max_rounds" not in ran.stdout
    project.plan(CHAIN)
    ran = project.cli("run", "--max-rounds", "1")
    assert ran.returncode == 1
    assert "limits.max_rounds allows 1 round" in ran.stdout
