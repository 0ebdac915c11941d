"""How a run on this machine finds a token for GitHub."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.core.errors import UsageProblem
from runner.local.github_access import github_access, token_for
from runner.repo.repository import Repository
from tests.support.project import Project


@pytest.mark.parametrize(
    ("environ", "token"),
    [
        ({"GITHUB_TOKEN": "a"}, "a"),
        ({"GITHUB_TOKEN": "a", "GH_TOKEN": "b"}, "a"),
        ({"GITHUB_TOKEN": "", "GH_TOKEN": " b\n"}, "b"),
        ({"GITHUB_TOKEN": ""}, None),
    ],
)
def test_the_environment_comes_first(
    environ: dict[str, str], token: str | None
) -> None:
    assert token_for("github.com", environ) == token


def test_then_githubs_own_command_line(tmp_path: Path) -> None:
    program = tmp_path / "gh"
    program.write_text('#!/bin/sh\n[ "$4" = github.com ] && echo "of $*"\n')
    program.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert token_for("github.com", environ) == "of auth token --hostname github.com"
    assert token_for("git.example.com", environ) is None, "it is not logged in there"


def test_without_a_remote_or_a_token_it_says_how(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "log")
    project.git("init", "-q")
    repo = Repository(tmp_path, {})
    with pytest.raises(UsageProblem, match="remote origin is not on GitHub") as caught:
        github_access(repo, {}, remedy="add it")
    assert "add it" in str(caught.value)
    project.git("remote", "add", "origin", "../elsewhere")
    with pytest.raises(UsageProblem, match="remote origin is not on GitHub"):
        github_access(Repository(tmp_path, {}), {})
    project.git("remote", "set-url", "origin", "git@github.com:o/r.git")
    with pytest.raises(
        UsageProblem, match=r"no token for https://github\.com"
    ) as caught:
        github_access(Repository(tmp_path, {}), {"PATH": ""})
    assert "gh auth login" in str(caught.value)
    assert "GITHUB_TOKEN" in str(caught.value)
