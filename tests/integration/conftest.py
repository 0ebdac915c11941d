from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An initialised repository with one commit, on branch main."""
    root = tmp_path / "repo"
    root.mkdir()
    made = Project(root, tmp_path / "agent.log")
    made.git("init", "-q", "-b", "main")
    made.write("README.md", "hello\n")
    made.write(".gitignore", "*.ignored\n")
    made.commit("start")
    return made
