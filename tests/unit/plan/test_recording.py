"""What is written when progress is recorded, and how much of the plan is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.core.task import Task
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.snapshot import Snapshot, with_progress_file, write_progress_blobs
from runner.policy.change import REGULAR
from tests.support.builders import entry, manifest, result, task
from tests.support.landings import PROGRESS, Branch


def _landed(branch: Branch, name: str) -> Snapshot:
    """The branch's snapshot, in whose progress a task has landed that the files lack."""
    snapshot = branch.snapshot()
    one = entry(task(name))
    progress = snapshot.progress.after_success(
        snapshot.graph.tasks[name], result(manifest(one), one), ()
    )
    return snapshot.with_progress(progress)


def _looks(
    branch: Branch, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, int]:
    """The tree with the progress file, and how many records were asked for."""
    looks = []
    record = Progress.record

    def counted(self: Progress, task: Task) -> Record:
        looks.append(task.id)
        return record(self, task)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "record", counted)
        tree = with_progress_file(branch.repo, snapshot, PROGRESS)
    return tree, len(looks)


def test_recording_asks_for_no_record_of_a_task_that_has_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for size in (20, 120):
        branch = Branch(tmp_path / str(size))
        branch.start({}, [f"T{number}" for number in range(size)])
        _, looks = _looks(branch, _landed(branch, "T3"), monkeypatch)
        counts.append(looks)
    assert counts[0] == counts[1]


TODO = b"""\
- [ ] T1: open
- [x] T2: ticked
- [ ] ~~T3: struck out~~
- [ ] T4: lands
- [ ] T5: open
"""


def test_the_marks_are_those_of_the_complete_progress(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    branch.start({}, [])
    files = branch.tree({"TODO.md": (REGULAR, TODO)})
    branch.head = branch.repo.commit_tree(files, [branch.head], "plan")
    snapshot = _landed(branch, "T4")
    tree = with_progress_file(branch.repo, snapshot, PROGRESS)
    complete = snapshot.progress.with_every_task(snapshot.plan.tasks)
    blobs = write_progress_blobs(branch.repo, snapshot, complete, PROGRESS)
    assert tree == branch.repo.write_tree(snapshot.commit, blobs)
    changed = branch.repo.changed_paths(branch.repo.tree(snapshot.commit), tree)
    assert sorted(changed) == [PROGRESS, "TODO.md"]
