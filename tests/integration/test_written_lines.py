"""Whose lines are whose: by blame, and by what tasks that landed together changed."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from runner.config.settings import load, read_settings_file
from runner.local.written_lines import Lines, WrittenLines
from runner.plan.snapshot import read_snapshot
from runner.repo.repository import Repository
from tests.support.project import Project

SHARED = "".join(f"line {number}\n" for number in range(1, 9))
TASKS = [
    {"id": "A", "do": ["replace shared: line 2 -> two", "write a: of A"]},
    {"id": "B", "do": ["replace shared: line 6 -> six", "write b: of B"]},
    {"id": "C", "depends_on": ["A", "B"], "do": ["replace shared: line 8 -> eight"]},
]


def test_a_task_has_written_the_lines_that_it_landed_and_no_others(
    project: Project,
) -> None:
    project.write("shared", SHARED)
    project.plan(TASKS)
    start = project.git("rev-parse", "HEAD")
    project.run()
    both = project.git("rev-parse", "HEAD~1")  # A and B, in one commit
    project.write("shared", (project.root / "shared").read_text() + "by a person\n")
    head = project.commit("later")

    repo = Repository(project.root, os.environ)
    settings = load({}, {}, read_settings_file(project.root))
    rules = settings.task_rules
    snapshot = read_snapshot(repo, head, settings.plan, settings.progress, rules)

    def wrote(task: str, commit: str, path: str, first: int, last: int = 0) -> bool:
        written = WrittenLines(repo, snapshot, settings.progress, rules, task)
        landed = written.landed_before(Lines(commit, path, first, last or first))
        assert landed is None or (datetime.now(UTC) - landed).total_seconds() < 600
        return landed is not None

    assert wrote("A", head, "a", 1)
    assert wrote("A", both, "a", 1)
    assert not wrote("B", head, "a", 1)
    assert wrote("A", head, "shared", 2)
    assert wrote("A", head, "shared", 1, 3)
    assert not wrote("A", head, "shared", 6)
    assert wrote("B", head, "shared", 6)
    assert not wrote("B", head, "shared", 8)
    assert wrote("C", head, "shared", 8)
    for line in (1, 9, 99):
        assert not any(wrote(task, head, "shared", line) for task in "ABC")
    assert not wrote("A", start, "shared", 2)
    assert not wrote("A", "f" * 40, "a", 1)
    assert not wrote("A", "main", "a", 1)
    assert not wrote("A", head, "--help", 1)

    for ref in project.git(
        "for-each-ref", "--format=%(refname)", "refs/fanin/landed"
    ).split():
        project.git("update-ref", "-d", ref)
    # Nobody knows more than the file and the commit.
    assert wrote("A", head, "shared", 6)
    assert not wrote("A", head, "shared", 8)
