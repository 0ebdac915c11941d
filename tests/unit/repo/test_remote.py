"""What a branch is called is no option to git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.core.errors import EnvironmentBroken
from runner.repo.command import isolated_git
from runner.repo.remote import Remote
from runner.repo.repository import Repository


def test_a_branch_named_like_an_option_is_fetched_as_a_branch(tmp_path: Path) -> None:
    """A repository on the disk is one whose server git starts itself."""
    started = tmp_path / "started"
    name = f"--upload-pack=touch {started};"
    server = isolated_git(tmp_path)
    server.run(["init", "-q", "server"])
    git = isolated_git(tmp_path / "server")
    git.run(["commit", "-q", "--allow-empty", "-m", "x"])
    (tmp_path / "clone").mkdir()
    clone = isolated_git(tmp_path / "clone")
    clone.run(["init", "-q"])
    clone.run(["remote", "add", "origin", f"file://{tmp_path / 'server'}"])
    remote = Remote(
        Repository(tmp_path / "clone", os.environ), "", "https://github.com"
    )
    with pytest.raises(EnvironmentBroken, match="invalid refspec"):
        remote.fetch(name)
    assert not started.exists()
