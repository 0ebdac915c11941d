"""`git revert` of a batch commit undoes the work and its progress together."""

from __future__ import annotations

import pytest

from tests.support.project import Project

CHAIN = [
    {"id": "A", "do": ["write a: a"]},
    {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
    {"id": "C", "depends_on": ["B"], "do": ["write c: c"]},
]
COMPLETED = {"A": "completed", "B": "completed", "C": "completed"}


def _states(project: Project) -> dict[str, str]:
    return {task: record["status"] for task, record in project.records().items()}


@pytest.mark.parametrize(
    ("commit", "task", "file"), [("HEAD", "C", "c"), ("HEAD~1", "B", "b")]
)
def test_reverting_a_batch_undoes_its_work_and_its_progress(
    project: Project, commit: str, task: str, file: str
) -> None:
    project.plan(CHAIN)
    assert project.cli("run").returncode == 0
    project.git("revert", "--no-edit", commit)
    assert not (project.root / file).exists()
    assert _states(project) == COMPLETED | {task: "pending"}

    assert project.cli("run").returncode == 0
    assert (project.root / file).read_text() == f"{file}\n"
    assert _states(project) == COMPLETED


def test_reverting_all_batches_from_the_newest_on_undoes_the_run(
    project: Project,
) -> None:
    project.plan(CHAIN)
    before = project.git("rev-parse", "HEAD^{tree}")
    assert project.cli("run").returncode == 0
    project.git("revert", "--no-edit", "HEAD~3..HEAD")
    assert project.git("rev-parse", "HEAD^{tree}") == before
