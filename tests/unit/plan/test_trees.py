"""What is kept of a folder of files is compared by the ids of trees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.core.task import Status
from runner.plan.formats import Mark
from runner.plan.marking import PlanFiles, write_marks, write_once
from runner.plan.trees import CommitTree, RecordingTree
from runner.repo.command import isolated_git
from runner.repo.repository import Repository
from tests.support import many_tasks
from tests.support.counted_calls import counted_calls

DONE = Mark(Status.COMPLETED)
BACKLOG = PlanFiles("backlog-md", "backlog", {})


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    isolated_git(tmp_path).run(["init", "-q", "-b", "main"])
    return Repository(tmp_path, os.environ)


def _commit(repo: Repository, base: str | None, files: Mapping[str, str | None]) -> str:
    """A commit with these files changed; None removes one."""
    tree = repo.tree(base) if base else repo.objects().write("tree", b"")
    blobs = {
        path: None if text is None else repo.write_blob(text.encode())
        for path, text in files.items()
    }
    return repo.commit_tree(repo.write_tree(tree, blobs), [], "c\n")


FILES = {"plan/a.md": "a", "plan/sub/b.md": "b", "beside": "c"}


def _recorded(repo: Repository, commit: str) -> RecordingTree:
    """What reads one of the files of a folder, and two others."""
    files = RecordingTree(CommitTree(repo, commit))
    assert files.list("plan") == ("plan/a.md", "plan/sub/b.md")
    assert (files.read("plan/a.md"), files.read("beside")) == ("a", "c")
    assert files.read("missing") is None
    files.close()
    return files


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"elsewhere": "new"}, True),
        ({"plan/sub/b.md": "was not read"}, True),
        ({"plan/a.md": "A"}, False),
        ({"plan/new.md": "new"}, False),
        ({"plan/sub/b.md": None}, False),
        ({"plan/a.md": None, "plan/sub/b.md": None}, False),
        ({"beside": "C"}, False),
        ({"missing": "new"}, False),
    ],
)
def test_what_was_read_of_a_folder_is_compared(
    repo: Repository, change: dict[str, str | None], expected: bool
) -> None:
    first = _commit(repo, None, FILES)
    files = _recorded(repo, first)
    second = _commit(repo, first, change)
    assert files.matches(CommitTree(repo, second)) == expected
    # whatever was compared in between
    assert files.matches(CommitTree(repo, first))


def test_what_was_written_counts_as_read_until_it_is_in_no_commit(
    repo: Repository,
) -> None:
    first = _commit(repo, None, FILES)
    files = _recorded(repo, first)
    files.write({"plan/a.md": "A"})
    assert not files.matches(CommitTree(repo, first))
    second = _commit(repo, first, {"plan/a.md": "A"})
    assert files.matches(CommitTree(repo, second))
    assert not files.matches(CommitTree(repo, first))


def test_a_folder_whose_tree_is_gone_is_no_match(repo: Repository) -> None:
    first = _commit(repo, None, FILES)
    with repo.quarantine() as quarantine:
        blob = quarantine.write_blob(b"A")
        tree = quarantine.write_tree(repo.tree(first), {"plan/a.md": blob})
        commit = quarantine.commit_tree(tree, [first], "dropped\n")
        files = RecordingTree(CommitTree(quarantine, commit))
        files.list("plan")
        files.close()
    assert not files.matches(CommitTree(repo, first))


def _calls_of_a_mark(repo: Repository, count: int) -> int:
    path, files = many_tasks.plan_of("backlog-md", count)
    assert path == BACKLOG.path
    commit = _commit(repo, None, files)
    for number in (1, 2, count // 2):
        marks = {f"task-{number}": DONE}
        expected = write_once(BACKLOG, CommitTree(repo, commit), marks)
        assert repo.tree(commit)  # asked once
        with counted_calls() as calls:
            written = write_marks(BACKLOG, CommitTree(repo, commit), marks)
        assert written == expected
        assert len(written) == 1
        commit = _commit(repo, commit, written)
    return calls.count


def test_the_next_mark_is_as_much_work_in_a_folder_of_more_files(
    repo: Repository,
) -> None:
    few, many = _calls_of_a_mark(repo, 10), _calls_of_a_mark(repo, 200)
    assert many <= few + 20
