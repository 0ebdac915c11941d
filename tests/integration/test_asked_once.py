"""Git is not asked twice for what cannot change: a plan's text, a commit's files, the tree
of a commit.
"""

from __future__ import annotations

import os

import pytest

from runner.core.task import Plan, PlanSettings
from runner.plan import formats, snapshot
from runner.plan.formats import Tree
from runner.repo.command import Git
from runner.repo.repository import Repository
from tests.support.project import Project


def test_a_run_parses_an_unchanged_plan_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[PlanSettings] = []
    real = formats.load

    def load(choice: PlanSettings, tree: Tree) -> Plan:
        loaded.append(choice)
        return real(choice, tree)

    monkeypatch.setattr(formats, "load", load)
    snapshot._recent_plans.clear()
    project.plan(
        [{"id": f"T{place}", "do": [f"write {place}: x"]} for place in range(5)],
        max_concurrent=1,
    )
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert len(loaded) == 1


def test_a_changed_plan_is_read_again(project: Project) -> None:
    project.plan([{"id": "A"}])
    repo = Repository(project.root, os.environ)
    first = snapshot.read_snapshot(
        repo,
        project.git("rev-parse", "HEAD"),
        PlanSettings(),
        ".fanin/progress.json",
        snapshot.NO_RULES,
    )
    project.plan([{"id": "A"}, {"id": "B"}])
    second = snapshot.read_snapshot(
        repo,
        project.git("rev-parse", "HEAD"),
        PlanSettings(),
        ".fanin/progress.json",
        snapshot.NO_RULES,
    )
    assert (len(first.plan.tasks), len(second.plan.tasks)) == (1, 2)


def test_a_name_that_can_move_is_looked_up_every_time(project: Project) -> None:
    repo = Repository(project.root, os.environ)
    before = (repo.tree("HEAD"), repo.file("HEAD", "README.md"))
    project.write("README.md", "changed\n")
    project.commit()
    assert (repo.tree("HEAD"), repo.file("HEAD", "README.md")) == (
        project.git("rev-parse", "HEAD^{tree}"),
        b"changed\n",
    )
    assert before[1] == b"hello\n"


def test_a_file_of_a_commit_is_read_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, head = Repository(project.root, os.environ), project.git("rev-parse", "HEAD")
    assert repo.file(head, "README.md") == b"hello\n"
    monkeypatch.setattr(
        Git, "run_unchecked", lambda *_, **__: pytest.fail("asked again")
    )
    assert repo.file(head, "README.md") == b"hello\n"
