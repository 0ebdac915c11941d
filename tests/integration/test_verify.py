"""When `verify` is run, and when what it said before is enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.project import Project


def runs_of(log: Path) -> int:
    """How often verify was run."""
    return len(log.read_text().split())


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_tree_that_was_green_is_not_verified_again(
    project: Project, tmp_path: Path, schedule: str
) -> None:
    log = tmp_path / "verified"
    project.plan(
        [{"id": "A", "do": ["write a: a"]}, {"id": "B", "do": ["write b: red"]}],
        schedule=schedule,
        max_attempts=1,
        max_concurrent=1,
        verify=f"echo run >> {log}; ! grep -qs red a b",
        verify_retries=0,
    )
    base = project.git("rev-parse", "HEAD").strip()
    project.run()
    assert project.states() == {"A": "completed", "B": "failed"}
    # Without B's work, the tree is the one that was green with A's.
    assert runs_of(log) == 2
    project.git("reset", "-q", "--hard", base)
    project.run()
    assert project.states() == {"A": "completed", "B": "failed"}
    # That B's was red counts for nothing.
    assert runs_of(log) == 3
    project.git("reset", "-q", "--hard", base)
    project.run(verify_cache=False)
    assert runs_of(log) > 5
