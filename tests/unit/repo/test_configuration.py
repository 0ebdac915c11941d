"""The configuration is read by one git process, whatever is asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runner.repo.command import Completed, Git
from runner.repo.configuration import Configuration
from runner.repo.environment import repository_environment


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def configure(repository: Path, **values: str) -> None:
    for key, value in values.items():
        argv = ["git", "config", key.replace("__", "."), value]
        subprocess.run(argv, cwd=repository, check=True)


def configuration(repository: Path) -> Configuration:
    # nobody's name, mail or settings but the repository's
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    env = {**repository_environment(environ), "GIT_CONFIG_GLOBAL": os.devnull}
    return Configuration(Git(repository, env))


def test_every_answer_comes_from_one_process(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(
        repository,
        user__name="N",
        user__email="n@example.com",
        core__sharedRepository="group",
        core__excludesFile="/some/ignored",
        filter__LFS__clean="x",
        filter__other__process="x",
        filter__none__smudge="x",
        merge__union__driver="x",
        merge__conflictStyle="diff3",
        remote__origin__promisor="true",
    )
    asked: list[object] = []
    run = Git.run_unchecked

    def counted(git: Git, argv: list[str], **options: object) -> Completed:
        asked.append(argv)
        return run(git, argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Git, "run_unchecked", counted)
    config = configuration(repository)
    assert config.identity == {}
    assert config.is_shared
    assert config.excludes_file == Path("/some/ignored")
    assert config.filters == {"LFS", "other"}
    assert config.merge_drivers == {"union"}
    assert config.promisor_remotes == ("origin",)
    assert len(asked) == 1


def test_the_last_value_of_a_key_holds(repository: Path) -> None:
    with (repository / ".git" / "config").open("a") as file:
        file.write("[core]\n\texcludesFile = /first\n\texcludesFile = /last\n")
    assert configuration(repository).excludes_file == Path("/last")


def test_a_path_below_the_home_folder_is_whole(repository: Path) -> None:
    configure(repository, core__excludesFile="~/ignored")
    assert configuration(repository).excludes_file == Path.home() / "ignored"


def test_without_any_configuration_there_is_nothing(repository: Path) -> None:
    config = configuration(repository)
    assert not config.filters
    assert not config.merge_drivers
    assert not config.is_shared
    assert config.promisor_remotes == ()
    assert config.identity["GIT_AUTHOR_NAME"] == "fanin"


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_the_object_format_is_that_of_the_repository(
    object_format: str, tmp_path: Path
) -> None:
    argv = ["git", "init", "-q", f"--object-format={object_format}", str(tmp_path)]
    subprocess.run(argv, check=True)
    assert configuration(tmp_path).object_format == object_format
