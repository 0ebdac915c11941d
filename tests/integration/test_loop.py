"""The loop (S-0049) on real git with a real agent process: what runs, what lands, what
is recorded.
"""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.events import ResultRefused, RunEvent
from tests.support.project import Project, Quiet, most_at_once

SEED = [
    {"id": "T1", "do": ["write t1: one"]},
    {"id": "T2", "depends_on": ["T1"], "do": ["write t2: two"]},
    {"id": "T3", "depends_on": ["T2"], "do": ["write t3: three"]},
    {"id": "T4", "depends_on": ["T2"], "do": ["write t4: four"]},
    {"id": "T5", "depends_on": ["T1"], "do": ["write t5: five"]},
    {"id": "T6", "depends_on": ["T3", "T4", "T5"], "do": ["write t6: six"]},
]


def test_seed_graph_runs_in_batches_and_lands_one_commit_each(project: Project) -> None:
    project.plan(SEED)
    seen = Quiet()
    project.run(seen)
    assert seen.batches == [["T1"], ["T2", "T5"], ["T3", "T4"], ["T6"]]
    assert project.subjects() == [
        "T6: do T6",
        "Fan in T3, T4",
        "Fan in T2, T5",
        "T1: do T1",
        "plan",
        "start",
    ]
    assert set(project.states().values()) == {"completed"}
    assert project.git("status", "--porcelain") == ""
    assert (project.root / "t6").read_text() == "six\n"


def test_all_independent_run_at_once_and_never_more_than_max_concurrent(
    project: Project,
) -> None:
    project.plan(
        [{"id": f"T{i}", "do": [f"write t{i}: x", "sleep 0.4"]} for i in range(6)],
        max_concurrent=3,
    )
    project.run()
    assert most_at_once(project.intervals()) == 3
    assert len(project.subjects()) == 2 + 2  # two batches of three


def test_all_sequential_runs_one_after_the_other(project: Project) -> None:
    chain: list[dict[str, Any]] = [
        {
            "id": f"T{i}",
            "depends_on": [f"T{i - 1}"] if i else [],
            "do": [f"write t{i}: x"],
        }
        for i in range(4)
    ]
    project.plan(chain, max_concurrent=3)
    project.run()
    assert most_at_once(project.intervals()) == 1
    assert [task for task, *_ in project.intervals()] == ["T0", "T1", "T2", "T3"]


def test_sequential_setting_gives_the_same_tree_as_parallel(project: Project) -> None:
    project.plan(SEED)
    project.git("branch", "side")
    project.run()
    project.run(parallel=False, branch="side")
    files = [
        line
        for line in project.git("ls-tree", "-r", "main").splitlines()
        if ".fanin" not in line
    ]
    assert files == [
        line
        for line in project.git("ls-tree", "-r", "side").splitlines()
        if ".fanin" not in line
    ]
    assert len(project.subjects("side")) == 6 + 2
    assert project.states("main") == project.states("side")


def test_sleeping_tasks_take_well_under_the_sum_of_their_times(
    project: Project,
) -> None:
    project.plan(
        [{"id": f"T{i}", "do": [f"write t{i}: x", "sleep 1"]} for i in range(3)],
        max_concurrent=3,
    )
    project.run()
    intervals = project.intervals()
    span = max(end for *_, end in intervals) - min(
        begin for _, _, begin, _ in intervals
    )
    assert span < 0.67 * sum(end - begin for _, _, begin, end in intervals)


def test_one_failure_lets_the_others_of_its_batch_finish_and_land(
    project: Project,
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["fail broken"]},
            {"id": "B", "do": ["sleep 0.3", "write b: b"]},
        ],
        max_attempts=1,
    )
    ended = project.run()
    assert project.states() == {"A": "failed", "B": "completed"}
    assert project.records()["A"]["error"]["kind"] == "agent_error"
    assert "broken" in project.records()["A"]["error"]["log_tail"]
    assert ended.snapshot.progress.records["A"].attempts == 1
    assert len(project.subjects()) == 3  # one commit holds both


def test_failed_task_is_retried_in_a_later_parallel_batch_told_what_went_wrong(
    project: Project,
) -> None:
    project.plan(
        [
            {
                "id": "A",
                "do": ["fail once lost the thread", "write a: a", "print done"],
            },
            {"id": "B", "do": ["write b: b"]},
            {"id": "C", "depends_on": ["B"], "do": ["write c: c"]},
        ]
    )
    seen = Quiet()
    project.run(seen)
    assert seen.batches == [["A", "B"], ["A", "C"]]
    assert project.records()["A"]["attempts"] == 2
    assert "error" not in project.records()["A"]


def test_retry_prompt_carries_the_error_and_the_tail_of_the_log(
    project: Project,
) -> None:
    project.plan(
        [
            {
                "id": "A",
                "do": [
                    "print the-clue-in-the-log",
                    "fail once first-time",
                    "expect the-clue-in-the-log",
                    "expect attempt 2",
                    "write a: a",
                ],
            }
        ]
    )
    project.run()
    assert project.states() == {"A": "completed"}


def test_dependents_of_a_task_that_failed_for_good_are_blocked_and_never_run(
    project: Project,
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["fail no"], "max_attempts": 2},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
            {"id": "C", "depends_on": ["B"], "do": ["write c: c"]},
            {"id": "D", "do": ["write d: d"]},
        ]
    )
    project.run()
    assert project.records()["A"]["attempts"] == 2
    assert {task for task, *_ in project.intervals()} == {"A", "D"}
    shown = project.cli("status")
    assert shown.returncode == 1
    assert shown.stdout.count("by A") == 2


def test_batch_in_which_all_failed_still_lands_its_attempts(project: Project) -> None:
    project.plan(
        [{"id": "A", "do": ["fail x"]}, {"id": "B", "do": ["fail y"]}], max_attempts=1
    )
    project.run()
    assert project.subjects()[0] == "Record failed attempts of A, B"
    assert (
        project.git("diff", "--name-only", "HEAD~1", "HEAD") == ".fanin/progress.json"
    )


def test_tasks_whose_files_overlap_never_share_a_batch(project: Project) -> None:
    project.plan(
        [
            {"id": "A", "files": ["src/**"], "do": ["write src/a: a"]},
            {"id": "B", "files": ["src/b"], "do": ["write src/b: b"]},
            {"id": "C", "files": ["docs/**"], "do": ["write docs/c: c"]},
        ]
    )
    assert "A and B overlap in files" in project.cli("check").stdout
    seen = Quiet()
    project.run(seen)
    assert seen.batches == [["A", "C"], ["B"]]


def test_individual_commits_one_per_task_with_its_own_progress_and_the_same_tree(
    project: Project,
) -> None:
    tasks: list[dict[str, Any]] = [
        {"id": "A", "do": ["write a: a"]},
        {"id": "B", "do": ["write b: b"]},
        {"id": "C", "do": ["fail no"], "max_attempts": 1},
    ]
    project.plan(tasks)
    project.git("branch", "side")
    project.run()
    project.run(branch="side", commit_strategy="individual")
    assert project.subjects("side")[:3] == [
        "Record failed attempts of C",
        "B: do B",
        "A: do A",
    ]
    assert project.states("side~2") == {
        "A": "completed",
        "B": "pending",
        "C": "pending",
    }
    assert project.states("side~1") == {
        "A": "completed",
        "B": "completed",
        "C": "pending",
    }
    assert project.states("side") == project.states("main")
    assert project.git("rev-parse", "main:a", "main:b") == project.git(
        "rev-parse", "side:a", "side:b"
    )


def test_two_tasks_editing_parts_of_one_file_are_merged(project: Project) -> None:
    project.write("shop.py", "one\n\n\n\n\n\ntwo\n")
    project.plan(
        [
            {"id": "A", "do": ["replace shop.py: one -> ONE"]},
            {"id": "B", "do": ["replace shop.py: two -> TWO"]},
        ]
    )
    seen = Quiet()
    project.run(seen)
    assert seen.batches == [["A", "B"]]
    assert (project.root / "shop.py").read_text() == "ONE\n\n\n\n\n\nTWO\n"


def test_conflict_fails_the_later_task_keeps_its_work_and_feeds_the_retry(
    project: Project,
) -> None:
    kept: list[str] = []

    class Looking(Quiet):
        def observe(self, event: RunEvent) -> None:
            super().observe(event)
            if isinstance(event, ResultRefused) and event.kept:
                kept.append(project.git("show", f"{event.kept}:shop.py"))

    project.write("shop.py", "one\n")
    project.plan(
        [
            {"id": "A", "do": ["replace shop.py: one -> from A"]},
            {
                "id": "B",
                "do": [
                    "replace shop.py: one -> from B",
                    "replace shop.py: from A -> from A and B",
                ],
            },
        ],
        retry_from="base",
    )
    seen = Looking()
    project.run(seen)
    conflict = seen.fan_ins[0].failed["B"]
    assert conflict.kind == "conflict"
    assert "A" in conflict.message
    assert "shop.py" in conflict.message
    assert "from B" in conflict.log_tail
    assert kept == ["from B"]
    assert seen.batches == [["A", "B"], ["B"]]
    assert (project.root / "shop.py").read_text() == "from A and B\n"


def test_second_run_has_nothing_to_do(project: Project) -> None:
    project.plan(SEED)
    project.run()
    before = project.git("rev-parse", "HEAD")
    shown = project.cli("run")
    assert shown.returncode == 0
    assert "6 completed" in shown.stdout
    assert project.git("rev-parse", "HEAD") == before


def test_verify_sends_the_culprit_back_and_lands_the_rest(project: Project) -> None:
    project.plan(
        [
            {"id": t, "do": [f"write {t}: x"], "max_attempts": 1}
            for t in ("A", "B", "C", "D")
        ],
        verify="test ! -e C",
        max_concurrent=4,
    )
    seen = Quiet()
    project.run(seen)
    assert seen.fan_ins[0].landed == ("A", "B", "D")
    assert project.states() == {
        "A": "completed",
        "B": "completed",
        "C": "failed",
        "D": "completed",
    }
    assert project.records()["C"]["error"]["kind"] == "verify"


def test_retry_grants_one_more_attempt_and_never_lowers_attempts(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["fail until 2", "write a: a"], "max_attempts": 1}])
    project.run()
    assert project.cli("retry", "A").returncode == 0
    assert project.records()["A"]["attempts"] == 1
    assert project.records()["A"]["allowed"] == 2
    project.run()
    assert project.states() == {"A": "completed"}


def test_skipped_task_blocks_its_dependents_unless_satisfied(project: Project) -> None:
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ]
    )
    project.cli("skip", "A")
    assert project.cli("run").returncode == 1
    assert not (project.root / "b").exists()
    project.cli("skip", "A", "--satisfied")
    assert project.cli("run").returncode == 0
    assert (project.root / "b").exists()
    assert not (project.root / "a").exists()


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_file_added_in_a_folder_that_another_task_moved_is_a_warning(
    project: Project, schedule: str
) -> None:
    project.write("old/x", "x\n")
    project.plan(
        [
            {"id": "A", "do": ["rename old/x: new/x"]},
            {"id": "B", "do": ["write old/y: y"]},
        ]
    )
    observer = Quiet()
    project.run(observer, schedule=schedule)
    assert project.states() == {"A": "completed", "B": "completed"}
    assert project.git("show", "HEAD:old/y") == "y"
    named = "old/y was added in old/, which"
    assert any(named in note for note in observer.notes)
    said = project.git("log", "--format=%B", "HEAD")
    assert f"- warning: {named}" in said
    assert "moved to new/" in said
