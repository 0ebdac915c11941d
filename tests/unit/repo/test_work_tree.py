"""A landing that was interrupted is undone, except for files that somebody changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.repo import work_tree
from runner.repo.command import isolated_git
from runner.repo.ref_update import Outcome, Reason
from runner.repo.repository import Repository

OLD = {"changed": "old\n", "removed": "old\n", "edited": "old\n"}
NEW = {"changed": "new\n", "edited": "new\n", "added": "new\n"}


class Landing:
    """A repository on `main` at `old`, and a commit `new` to land there."""

    def __init__(self, root: Path) -> None:
        git = isolated_git(root)
        git.run(["init", "-q", "-b", "main"])
        self.root, self.repo = root, Repository(root, os.environ)
        for name, text in OLD.items():
            (root / name).write_text(text)
        git.run(["add", "-A"])
        git.run(["commit", "-q", "-m", "old"])
        self.old = git.text(["rev-parse", "HEAD"]).strip()
        blobs = {
            name: self.repo.write_blob(text.encode()) for name, text in NEW.items()
        }
        tree = self.repo.write_tree(
            self.repo.tree(self.old), {"removed": None, **blobs}
        )
        self.new = self.repo.commit_tree(tree, [self.old], "new\n")

    def files(self) -> dict[str, str]:
        files = [path for path in self.root.iterdir() if path.is_file()]
        return {path.name: path.read_text() for path in files}


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


def test_landing_moves_the_branch_and_its_files(landing: Landing) -> None:
    update = work_tree.land(landing.repo, "main", landing.old, landing.new)
    assert update.landed
    assert landing.files() == NEW
    assert work_tree.dirty_paths(landing.repo, landing.root) == []


def test_a_landing_that_is_done_already_has_landed(landing: Landing) -> None:
    work_tree.land(landing.repo, "main", landing.old, landing.new)
    again = work_tree.land(landing.repo, "main", landing.old, landing.new)
    assert again.outcome is Outcome.LANDED
    back = work_tree.land(landing.repo, "main", landing.old, landing.old)
    assert back.outcome is Outcome.MOVED


def test_an_untracked_file_in_the_way_is_an_obstacle(landing: Landing) -> None:
    (landing.root / "added").write_text("mine\n")
    update = work_tree.land(landing.repo, "main", landing.old, landing.new)
    assert (update.outcome, update.reason) == (Outcome.REFUSED, Reason.OBSTACLE)
    assert "added" in update.text
    assert landing.files() == {**OLD, "added": "mine\n"}


def test_new_files_of_an_interrupted_landing_get_their_old_content_back(
    landing: Landing,
) -> None:
    (landing.root / "changed").write_text(NEW["changed"])
    (landing.root / "added").write_text(NEW["added"])
    (landing.root / "removed").unlink()
    (landing.root / ".git" / "index.lock").touch()
    different = work_tree.undo_interrupted(
        landing.repo, "main", landing.old, landing.new
    )
    assert different == []
    assert landing.files() == OLD
    assert work_tree.dirty_paths(landing.repo, landing.root) == []


def test_a_file_that_somebody_changed_is_returned_and_left_alone(
    landing: Landing,
) -> None:
    (landing.root / "edited").write_text("mine\n")
    different = work_tree.undo_interrupted(
        landing.repo, "main", landing.old, landing.new
    )
    assert different == ["edited"]
    assert landing.files() == {**OLD, "edited": "mine\n"}


@pytest.mark.parametrize(
    ("name", "operation"),
    [("MERGE_HEAD", "merge"), ("rebase-apply", "rebase"), ("BISECT_LOG", "bisect")],
)
def test_an_unfinished_operation_is_named(
    landing: Landing, name: str, operation: str
) -> None:
    assert work_tree.unfinished(landing.repo, landing.root) is None
    (landing.root / ".git" / name).touch()
    assert work_tree.unfinished(landing.repo, landing.root) == operation
