from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.project import Project


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """An initialised repository with one commit, on branch main."""
    has_walls = request.node.get_closest_marker("default_walls") is not None
    root = tmp_path / "repo"
    root.mkdir()
    made = Project(root, tmp_path / "agent.log", has_walls)
    made.git("init", "-q", "-b", "main")
    made.write("README.md", "hello\n")
    made.write(".gitignore", "*.ignored\n")
    made.commit("start")
    return made
