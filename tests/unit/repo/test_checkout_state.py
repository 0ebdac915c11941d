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
    root = tmp_path / "repository"
    root.mkdir()
    git = Git(str(root))
    git.init("-q", "-b", "main")
    (root / "a").write_text("a")
    git.add("a")
    git.commit("-q", "-m", "start")
    return root


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


def test_what_git_and_agents_obey_beside_the_repository_is_configuration(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, dot_git = tmp_path / "home", root / ".git"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    included, dotfile = tmp_path / "work.config", tmp_path / "dotfiles-gitconfig"
    included.write_text("[a]\n\tb = 1\n")
    dotfile.write_text(f"[include]\n\tpath = {included}\n")
    (home / ".gitconfig").symlink_to(dotfile)
    module = dot_git / "modules" / "libs" / "one"
    Git(str(tmp_path)).init("-q", "--bare", str(module))
    (dot_git / "worktrees" / "other").mkdir(parents=True)
    folder, settings = home / ".claude" / "agents", home / ".claude" / "settings.json"
    files = CheckoutFiles(Repository(root, os.environ), (settings, folder))
    shared = home / ".config" / "git"

    def replace_git_folder() -> None:
        dot_git.rename(tmp_path / "moved")
        dot_git.symlink_to(tmp_path / "moved")

    def plant(path: Path, text: str = "x") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def replace_by_pipe() -> None:
        (dot_git / "info" / "exclude").unlink()
        os.mkfifo(dot_git / "info" / "exclude")

    key = "[core]\n\tfsmonitor = x\n"
    steps: dict[str, tuple[Callable[[], object], str]] = {
        "included": (lambda: plant(included, "[a]\n\tb = 2\n"), "a.b"),
        "through a link": (lambda: dotfile.write_text(key), "core.fsmonitor"),
        "of the person": (lambda: plant(shared / "config", key), "core.fsmonitor"),
        "of a submodule": (lambda: plant(module / "config", key), "core.fsmonitor"),
        "of a work tree": (
            lambda: plant(dot_git / "worktrees/other/gitdir"),
            "worktrees/other/gitdir",
        ),
        "settings": (lambda: plant(settings), "~/.claude/settings.json"),
        "an agent": (lambda: plant(folder / "a/b.md"), "~/.claude/agents/a/b.md"),
        "a pipe": (replace_by_pipe, "info/exclude"),
        "sparse": (
            lambda: plant(dot_git / "info/sparse-checkout"),
            "info/sparse-checkout",
        ),
    }
    state = files.read(set(Part), files.stamps(), CheckoutState())
    for name, (step, expected) in steps.items():
        step()
        part = {Part.CONFIGURATION}
        before, state = state, files.read(part, files.stamps(), state)
        old, new = before.configuration or {}, state.configuration or {}
        assert expected in files.changed_settings(old, new), name
    before_hook = files.stamps()
    plant(module / "hooks" / "pre-commit.d" / "evil")
    assert before_hook[Part.HOOKS] != files.stamps()[Part.HOOKS]
    replace_git_folder()
    now = files.read({Part.CONFIGURATION}, files.stamps(), state).configuration or {}
    assert ".git" in files.changed_settings(state.configuration or {}, now)
