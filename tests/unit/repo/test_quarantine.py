"""Objects that leave a quarantine are as git would have written them."""

from __future__ import annotations

import os
from pathlib import Path

from runner.repo.command import isolated_git
from runner.repo.repository import Repository


def test_a_group_that_shares_a_repository_may_write_to_folders_of_new_objects(
    tmp_path: Path,
) -> None:
    git = isolated_git(tmp_path)
    git.run(["init", "-q", "-b", "main", "--shared=group"])
    git.run(["commit", "-q", "--allow-empty", "-m", "start"])
    repo = Repository(tmp_path, os.environ)
    base = repo.commit("HEAD")
    assert base is not None
    with repo.quarantine() as quarantine:
        blob = quarantine.write_blob(b"new\n")
        tree = quarantine.write_tree(repo.tree(base), {"new": blob})
        commit = quarantine.commit_tree(tree, [base], "new\n")
        quarantine.adopt([commit], [base])
    objects = tmp_path / ".git/objects"
    modes = {
        folder.name: folder.stat().st_mode & 0o7777
        for folder in objects.glob("[0-9a-f][0-9a-f]")
    }
    assert commit[:2] in modes
    assert set(modes.values()) == {objects.stat().st_mode & 0o7777}
