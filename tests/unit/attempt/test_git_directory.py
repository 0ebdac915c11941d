"""Git directories that are written without git are as git makes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.attempt.git_directory import Seed
from runner.core.errors import GitFailed
from runner.repo.command import isolated_git
from runner.repo.origin import Origin


@pytest.fixture(params=["sha1", "sha256"])
def origin(tmp_path: Path, request: pytest.FixtureRequest) -> Origin:
    return Origin(tmp_path / "origin" / ".git", object_format=request.param)


def refuse_links(*_args: object, **_options: object) -> None:
    raise PermissionError(1, "not here")


def config(git_dir: Path) -> str:
    return (git_dir / "config").read_text()


def test_a_new_git_directory_is_that_of_git_init(
    origin: Origin, tmp_path: Path
) -> None:
    seed = Seed.of(origin, tmp_path)
    seed.write_for_capture(tmp_path / "by-fanin" / ".git")

    by_git = tmp_path / "by-git"
    by_git.mkdir()
    git = isolated_git(by_git)
    git.run(["init", "-q", "--template=", f"--object-format={origin.object_format}"])
    assert config(tmp_path / "by-fanin" / ".git") == config(by_git / ".git")


@pytest.mark.parametrize("has_links", [True, False])
def test_git_works_in_a_new_git_directory(
    origin: Origin, tmp_path: Path, has_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "symlink", refuse_links)
    seed = Seed.of(origin, tmp_path)
    (tmp_path / "checkout").mkdir()
    git_dir = tmp_path / "capture"
    seed.write_for_capture(git_dir)
    git = isolated_git(tmp_path / "checkout", seed.environment(git_dir))
    assert git.text(["write-tree"]).strip() == git.text(["mktree"]).strip()
    assert git.text(["rev-parse", "--show-object-format"]).strip() == (
        origin.object_format
    )


@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("excludes", ["", "*.log\n"])
def test_an_agent_may_add_to_its_ignored_paths_and_attributes(
    origin: Origin,
    tmp_path: Path,
    has_links: bool,
    excludes: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (origin.git_dir / "info").mkdir(parents=True)
    (origin.git_dir / "info/exclude").write_text(excludes)
    if not has_links:
        monkeypatch.setattr(os, "symlink", refuse_links)
    seed = Seed.of(origin, tmp_path)
    checkout = tmp_path / "checkout"
    seed.write_for_agent(checkout / ".git", "task", "1" * 40)
    with (checkout / ".git/info/exclude").open("a") as file:
        file.write("new\n")
    (checkout / ".git/info/attributes").write_text("*.bin binary\n")
    git = isolated_git(checkout)
    asked = b"new\nx.log\nother\n"
    ignored = git.run(["check-ignore", "--stdin"], stdin=asked).decode().split()
    assert ignored == (["new", "x.log"] if excludes else ["new"])
    assert git.text(["check-attr", "binary", "x.bin"]) == "x.bin: binary: set\n"
    assert (checkout / ".git/objects/info/alternates").is_file()


@pytest.mark.parametrize(
    ("lacking", "setting"),
    [("chmod", "\tfilemode = false\n"), ("symlink", "\tsymlinks = false\n")],
)
def test_what_the_file_system_cannot_do_is_in_its_settings(
    origin: Origin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lacking: str,
    setting: str,
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        if lacking == "symlink":
            raise PermissionError(1, "not here")

    monkeypatch.setattr(os, lacking, refuse)
    assert setting in Seed.of(origin, tmp_path).files["config"].decode()


def test_nothing_is_left_of_the_trial(origin: Origin, tmp_path: Path) -> None:
    Seed.of(origin, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_no_file_is_an_error_of_git(
    origin: Origin, tmp_path: Path
) -> None:
    with pytest.raises(GitFailed, match="No such file"):
        Seed.of(origin, tmp_path / "gone")
