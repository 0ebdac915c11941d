"""Long-lived git processes: they see changes that other processes make, and are started
again when they have died.
"""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from runner.core.errors import GitFailed
from runner.repo.batch_process import ObjectReader, RefUpdater
from runner.repo.command import Git
from runner.repo.repository import Repository
from tests.support.command import say
from tests.support.git_calls import recorded_git_calls
from tests.support.project import Project


@pytest.fixture
def repo(project: Project) -> Repository:
    return Repository(project.root, os.environ)


def test_one_git_process_tells_status_all_that_it_asks(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    with recorded_git_calls() as calls:
        shown = say(project.root, "status")
    assert "1 ready" in shown.out
    assert calls == ["cat-file"]


def test_a_branch_that_another_process_moves_is_seen(
    project: Project, repo: Repository
) -> None:
    before = repo.commit("refs/heads/main")
    assert before == project.git("rev-parse", "HEAD")
    project.write("more", "x\n")
    after = project.commit()
    assert repo.commit("refs/heads/main") == after
    project.git("pack-refs", "--all")
    project.git("branch", "-f", "side", "HEAD~1")
    assert repo.commit("refs/heads/side") == before
    assert repo.commit("refs/heads/none") is None
    assert repo.tree(after) == project.git("rev-parse", "HEAD^{tree}")
    assert repo.file(after, "more") == b"x\n"


def test_objects_are_read_after_another_process_has_packed_and_pruned_them(
    project: Project, repo: Repository
) -> None:
    assert repo.file(project.git("rev-parse", "HEAD"), "README.md") == b"hello\n"
    project.write("README.md", "more\n")
    head = project.commit()
    project.git("gc", "-q", "--prune=now")
    assert repo.blob(project.git("rev-parse", f"{head}:README.md")) == b"more\n"


def test_many_questions_at_once_are_answered_in_order(
    project: Project, repo: Repository
) -> None:
    blob, tree = (
        project.git("rev-parse", "HEAD:README.md"),
        project.git("rev-parse", "HEAD^{tree}"),
    )
    contents = repo.reader.contents([blob, "0" * 40, tree] * 500)
    assert [content and content.kind for content in contents] == [
        "blob",
        None,
        "tree",
    ] * 500
    assert contents[0] == ("blob", b"hello\n")


def test_a_process_that_was_killed_is_started_again(project: Project) -> None:
    reader = ObjectReader(Git(project.root, os.environ))
    assert reader.info("HEAD") is not None
    os.kill(reader._process._running[0].pid, signal.SIGKILL)
    reader._process._running[0].wait()
    with pytest.raises(GitFailed, match="git ended before it answered"):
        reader.info("HEAD")
    assert reader.info("HEAD") is not None


@pytest.mark.parametrize("command", ["run", "status", "doctor"])
def test_what_git_says_of_a_broken_configuration_is_shown(
    project: Project, command: str
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    with (project.root / ".git" / "config").open("a") as config:
        config.write("[broken\n")
    done = project.cli(command)
    assert done.returncode == 3
    assert "bad config line" in done.stdout + done.stderr


def test_refs_move_only_from_their_expected_value(
    project: Project, repo: Repository
) -> None:
    head, other = (
        project.git("rev-parse", "HEAD"),
        project.git("hash-object", "-w", "README.md"),
    )
    assert repo.set_ref("refs/fanin/x", head)
    assert not repo.set_ref("refs/fanin/x", head, other)
    # a file is where a folder would have to be
    assert not repo.set_ref("refs/fanin/x/below", head)
    refusal = repo.ref_refusal("refs/fanin/x/below", head)
    assert refusal is not None
    assert "'refs/fanin/x' exists" in refusal
    assert repo.set_ref("refs/fanin/y", head)
    repo.delete_refs(["refs/fanin/x", "refs/fanin/y", "refs/fanin/never"])
    assert repo.refs("refs/fanin") == {}
    assert repo.set_ref("refs/fanin/x/below", head)
    assert "fanin" in project.git("reflog", "refs/fanin/x/below")


def test_a_refused_update_changes_no_ref_and_the_next_one_works(
    project: Project,
) -> None:
    updater, head = (
        RefUpdater(Git(project.root, os.environ)),
        project.git("rev-parse", "HEAD"),
    )
    assert not updater.commit(
        [f"update refs/fanin/a {head}", f"update refs/fanin/b {'1' * 40}"]
    )
    assert project.git("for-each-ref", "refs/fanin") == ""
    assert updater.commit([f"update refs/fanin/a {head}"])
    assert project.git("rev-parse", "refs/fanin/a") == head


def test_commits_and_their_objects_are_those_that_git_itself_writes(
    project: Project, repo: Repository
) -> None:
    project.git("config", "user.name", "Ünal <x>\\ ")
    project.git("config", "user.email", "u@example.com")
    head = project.git("rev-parse", "HEAD")
    with repo.quarantine() as quarantine:
        blob = quarantine.write_blob(b"new\n")
        tree = quarantine.write_tree(repo.tree(head), {"dir/new": blob})
        commit = quarantine.commit_tree(tree, [head], "Subject\n\nbody: ä\n")
        assert repo.commit(commit) is None
        quarantine.adopt([commit], [head])
    same = project.git(
        "commit-tree", tree, "-p", head, "-m", "Subject", "-m", "body: ä"
    )
    shown = ["show", "-s", "--format=%an|%ae|%cn|%ce|%B|%P|%T"]
    assert project.git(*shown, commit) == project.git(*shown, same)
    project.git("fsck", "--strict")  # ends with 0
    file = Path(project.root, ".git", "objects", blob[1][:2], blob[1][2:])
    assert stat.S_IMODE(file.stat().st_mode) == 0o444


def test_objects_of_a_shared_repository_are_writable_for_its_group(
    project: Project, repo: Repository
) -> None:
    project.git("config", "core.sharedRepository", "group")
    head = project.git("rev-parse", "HEAD")
    with repo.quarantine() as quarantine:
        blob = quarantine.write_blob(b"shared\n")
        tree = quarantine.write_tree(repo.tree(head), {"new": blob})
        commit = quarantine.commit_tree(tree, [head], "Subject\n")
        quarantine.adopt([commit], [head])
    folder = Path(project.root, ".git", "objects", blob[1][:2])
    assert folder.stat().st_mode & stat.S_IWGRP
    assert project.git("cat-file", "blob", blob[1]) == "shared"
