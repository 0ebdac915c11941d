"""What a person types works in the folder where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.core.typed_paths import git_add, git_commit


@pytest.mark.parametrize(
    ("folder", "typed"),
    [
        (".", "git add -f 'my plan.yml' && git commit"),
        ("docs/api", "git add -f '../../my plan.yml' && git commit"),
    ],
)
def test_paths_are_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, typed: str
) -> None:
    here = tmp_path / folder
    here.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(here)
    add = git_add(tmp_path, ["my plan.yml"], "-f ")
    assert f"{add} && {git_commit(tmp_path)}" == typed


def test_outside_of_the_repository_git_is_told_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert git_add(tmp_path, ["a", "b"]) == f"git -C {tmp_path} add a b"
    assert git_commit(tmp_path, "Set up", ["a"]) == (
        f"git -C {tmp_path} commit -m 'Set up' a"
    )


def test_no_path_is_an_option_or_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_add(tmp_path, ["-f", ":!a", "a"]) == "git add ./-f './:!a' a"
