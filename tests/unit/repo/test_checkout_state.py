"""The status of files tells which parts of a repository somebody has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from git import Git

from runner.repo.checkout_state import CheckoutFiles, CheckoutState, Part
from runner.repo.repository import Repository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    git = Git(str(tmp_path))
    git.init("-q", "-b", "main")
    (tmp_path / "a").write_text("a")
    git.add("a")
    git.commit("-q", "-m", "start")
    return tmp_path


def test_each_change_is_seen_in_its_part_and_others_in_none(root: Path) -> None:
    git, dot_git = Git(str(root)), root / ".git"
    git.config("core.hooksPath", "my-hooks")
    (root / "my-hooks").mkdir()
    (dot_git / "reftable").mkdir()
    files = CheckoutFiles(Repository(root, os.environ))
    head = git.rev_parse("HEAD")

    def rewrite_ref() -> None:
        # in place: the folder's time stays as it was
        with (dot_git / "refs/heads/main").open("r+") as file:
            file.write(head)

    steps: dict[str, tuple[Callable[[], object], set[Part]]] = {
        "an edit": (lambda: (root / "a").write_text("b"), set()),
        "fanin's own ref": (lambda: git.update_ref("refs/fanin/x", head), set()),
        "a remote's ref": (lambda: git.update_ref("refs/remotes/o/m", head), set()),
        "a lock": (lambda: (dot_git / "refs/heads/main.lock").touch(), set()),
        "the same ref": (rewrite_ref, {Part.REFS}),
        "a branch": (lambda: git.update_ref("refs/heads/x", head), {Part.REFS}),
        "a tag": (lambda: git.update_ref("refs/tags/x", head), {Part.REFS}),
        "packed": (lambda: (dot_git / "packed-refs").touch(), {Part.REFS}),
        "reftable": (lambda: (dot_git / "reftable/tables.list").touch(), {Part.REFS}),
        "HEAD": (lambda: git.symbolic_ref("HEAD", "refs/heads/x"), {Part.HEAD}),
        "index": (lambda: git.add("a"), {Part.INDEX}),
        "stash": (lambda: git.update_ref("refs/stash", head), {Part.STASH}),
        "config": (lambda: git.config("a.b", "c"), {Part.CONFIGURATION}),
        "alternates": (
            lambda: (dot_git / "objects/info/alternates").touch(),
            {Part.CONFIGURATION},
        ),
        "hook": (lambda: (root / "my-hooks/post-merge").touch(), {Part.HOOKS}),
        "sample": (lambda: (root / "my-hooks/x.sample").touch(), set()),
    }
    before = files.stamps()
    for name, (step, expected) in steps.items():
        step()
        after = files.stamps()
        assert {part for part in Part if before[part] != after[part]} == expected, name
        before = after


def test_only_the_keys_that_differ_are_named(root: Path) -> None:
    files = CheckoutFiles(Repository(root, os.environ))
    before = files.read(set(Part), files.stamps(), CheckoutState())
    Git(str(root)).config("user.token", "secret")
    (root / ".git/info/exclude").write_text("*\n")
    after = files.read({Part.CONFIGURATION}, files.stamps(), before)
    names = files.changed_settings(
        before.configuration or {}, after.configuration or {}
    )
    assert names == ["info/exclude", "user.token"]
