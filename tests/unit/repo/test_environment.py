"""Git sees the variables and the configuration that the caller gives, and no others."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from runner.repo.command import Git, isolated_git
from runner.repo.environment import git_environment, repository_environment


@pytest.fixture
def git(tmp_path: Path) -> Git:
    repository = isolated_git(tmp_path)
    repository.run(["init", "-q"])
    return repository


@pytest.mark.parametrize("start", [True, False], ids=["start", "run"])
def test_inherited_git_variables_do_not_reach_git(
    git: Git, monkeypatch: pytest.MonkeyPatch, *, start: bool
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    argv = ["rev-parse", "--git-dir"]
    if start:
        process = git.start(argv)
        output = process.stdout.read()
        process.close()
    else:
        output = git.run(argv)
    assert output == b".git\n"


# what the user's shell, a hook or another tool may have set
OF_OTHERS = {
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_ICASE_PATHSPECS": "1",
    "GIT_GLOB_PATHSPECS": "1",
    "GIT_NOGLOB_PATHSPECS": "1",
    "GIT_CONFIG": "/nowhere",
    "GIT_NAMESPACE": "other",
    "GIT_INDEX_FILE": "/nowhere",
    "GIT_OBJECT_DIRECTORY": "/nowhere",
    "GIT_SHALLOW_FILE": "/nowhere",
    "GIT_ATTR_SOURCE": "HEAD",
    "GIT_EXTERNAL_DIFF": "false",
    "GIT_DEFAULT_HASH": "sha256",
    "GIT_TRACE": "1",
}


@pytest.mark.parametrize("environment", [git_environment, repository_environment])
def test_no_variable_of_others_changes_what_git_does(
    git: Git,
    monkeypatch: pytest.MonkeyPatch,
    environment: Callable[[Mapping[str, str]], dict[str, str]],
) -> None:
    for name, value in OF_OTHERS.items():
        monkeypatch.setenv(name, value)
    asked = git._replace(env=environment(os.environ)).with_config("alias.look=!env")
    names = {line.split("=")[0] for line in asked.text(["look"]).splitlines()}
    assert "PATH" in names
    assert names & set(OF_OTHERS) == set()


def test_variables_of_the_caller_reach_git(git: Git) -> None:
    assert git.run(["rev-parse", "--git-dir"], env={"GIT_DIR": ".git/../.git"}) == (
        b".git/../.git\n"
    )


def test_an_isolated_git_reads_no_configuration_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "config"
    configuration.write_text("[user]\n\tname = Somebody\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    assert isolated_git(tmp_path).run_unchecked(["config", "user.name"]).status == 1
    user_git = Git(tmp_path, {"GIT_CONFIG_GLOBAL": str(configuration)})
    assert user_git.run(["config", "user.name"]) == b"Somebody\n"
    assert "GIT_DIR" not in git_environment({"GIT_DIR": "/nowhere"})


def test_a_filter_sees_no_variable_of_fanins_and_no_file_of_the_user_names_one(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "environment"
    git.run(["config", "filter.look.clean", f"env >> '{seen}'; cat"])
    home = tmp_path / "home"
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "attributes").write_text("user filter=look\n")
    (home / ".config" / "git" / "ignore").write_text("user\n")
    (tmp_path / "user").touch()
    isolated_git(tmp_path, {"HOME": str(home)}).run(["add", "user"])
    assert not seen.exists()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SERVICE_TOKEN", "s3cret-value")
    git = isolated_git(tmp_path)
    (tmp_path / ".gitattributes").write_text("filtered filter=look\n")
    (tmp_path / "filtered").touch()
    git.run(["add", "filtered"])
    assert "PATH=" in seen.read_text()
    assert "s3cret-value" not in seen.read_text()
    assert str(home) not in seen.read_text()
