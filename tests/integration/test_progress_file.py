"""The progress file as git sees it: branches that changed different tasks merge, those
that changed one do not.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from runner.core.result import Failure, FailureKind
from runner.core.task import Status
from runner.plan import progress_file
from runner.plan.progress import Progress
from runner.plan.records import Record
from tests.support.project import Project

IDS = ["T1", "T2", "T3", "T4"]
BASE = Progress("tasks.yml", {task_id: Record() for task_id in IDS})
DONE = Record(status=Status.COMPLETED, attempts=1, summary='did "it"', seconds=1.5)
FAILED = Record(
    status=Status.FAILED,
    attempts=2,
    error=Failure(kind=FailureKind.VERIFY, message="red\nand more"),
)


def _merge(
    folder: Path, ours: Progress, base: Progress, theirs: Progress
) -> tuple[int, str]:
    """git's three-way merge of the three files: its status (0 is clean) and the text."""
    for name, one in (("ours", ours), ("base", base), ("theirs", theirs)):
        (folder / name).write_text(progress_file.render(one, IDS), encoding="utf-8")
    done = subprocess.run(
        ["git", "merge-file", "-p", "ours", "base", "theirs"],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        },
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout.decode()


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.permutations(IDS, 2)), ids="-".join
)
def test_branches_that_changed_different_tasks_merge_cleanly(
    tmp_path: Path, one: str, other: str
) -> None:
    status, text = _merge(
        tmp_path,
        BASE.with_records({one: DONE}),
        BASE,
        BASE.with_records({other: FAILED}),
    )
    assert status == 0
    assert progress_file.parse("p", text, "tasks.yml") == BASE.with_records(
        {one: DONE, other: FAILED}
    )


def test_branches_that_changed_every_second_task_merge_cleanly(tmp_path: Path) -> None:
    odd, even = {"T1": DONE, "T3": DONE}, {"T2": FAILED, "T4": FAILED}
    status, text = _merge(
        tmp_path, BASE.with_records(odd), BASE, BASE.with_records(even)
    )
    assert status == 0
    assert progress_file.parse("p", text, "tasks.yml") == BASE.with_records(odd | even)


@pytest.mark.parametrize("task_id", IDS)
def test_branches_that_changed_one_task_differently_conflict(
    tmp_path: Path, task_id: str
) -> None:
    status, _ = _merge(
        tmp_path,
        BASE.with_records({task_id: DONE}),
        BASE,
        BASE.with_records({task_id: FAILED}),
    )
    assert status == 1


def test_branches_that_made_the_same_change_agree(tmp_path: Path) -> None:
    both = BASE.with_records({"T2": DONE})
    assert _merge(tmp_path, both, BASE, both) == (0, progress_file.render(both, IDS))


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_regular_file_is_refused_instead_of_running_all_again(
    project: Project, kind: str
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.run()
    progress = project.root / ".fanin" / "progress.json"
    text = progress.read_text()
    progress.unlink()
    if kind == "folder":
        progress.mkdir()
        (progress / "x").write_text("x")
    else:
        (project.root / "elsewhere.json").write_text(text)
        progress.symlink_to("../elsewhere.json")
    project.commit()
    refused = project.cli("run")
    assert refused.returncode == 2
    assert "is no regular file" in refused.stderr
    assert len(project.intervals()) == 1
