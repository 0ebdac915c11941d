"""What is kept of a folder of files is compared by the ids of trees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.core.errors import GitFailed
from runner.core.task import Status
from runner.plan.formats import Mark
from runner.plan.marking import PlanFiles, write_marks, write_once
from runner.plan.trees import CommitTree, RecordingTree
from runner.repo.command import Git, isolated_git
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


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"elsewhere": "new", "plan/sub/b.md": "was not read"}, set()),
        ({"plan/a.md": "A", "plan/new.md": "new"}, {"plan/a.md", "plan/new.md"}),
        ({"plan/a.md": None, "plan/sub/b.md": None}, None),
        ({"beside": "C", "missing": "new"}, {"beside", "missing"}),
        ({"absent/a.md": "new"}, {"absent/a.md"}),
    ],
)
def test_files_that_are_otherwise_in_another_commit(
    repo: Repository, change: dict[str, str | None], expected: set[str] | None
) -> None:
    first = _commit(repo, None, FILES)
    files = RecordingTree(CommitTree(repo, first))
    for path in ("plan/a.md", "beside", "missing"):
        files.read(path)
    for folder in ("plan", "absent"):
        files.list(folder)
    files.close()
    commit = CommitTree(repo, _commit(repo, first, change))
    assert files.changed_files(commit, lambda _: False) == expected
    ignored = (expected or set()) | {"plan"}
    assert files.changed_files(commit, ignored.__contains__) == set()
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


def test_no_git_is_started_for_a_folder_that_is_not_there(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = _commit(repo, None, FILES)
    tree = CommitTree(repo, commit)
    assert repo.infos([commit])  # its reader runs
    monkeypatch.setattr(Git, "_start", None)
    assert [tree.list(path) for path in ("absent", "plan/absent", "beside")] == [()] * 3


def test_a_mark_is_written_into_a_quarantine_that_stays_in_memory(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, files = many_tasks.plan_of("kiro", 3)
    commit = _commit(repo, None, files)
    plan = PlanFiles("kiro", path, {})
    assert repo.infos([commit])  # its reader runs
    monkeypatch.setattr(Git, "_start", None)
    with repo.quarantine() as quarantine:
        for task_id in ("1", "2"):
            tree = CommitTree(quarantine, commit)
            written = write_marks(plan, tree, {task_id: DONE})
            blobs = {path: quarantine.write_blob(written[path].encode())}
            changed = quarantine.write_tree(quarantine.tree(commit), blobs)
            commit = quarantine.commit_tree(changed, [commit], "mark\n")
        assert "- [x] 2." in (CommitTree(quarantine, commit).read(path) or "")
        assert list((repo.git_dir / "fanin").glob("*")) == []


@pytest.mark.parametrize("path", ["folder", "link", "module", "missing", "a/missing"])
def test_what_is_no_regular_file_has_no_text(repo: Repository, path: str) -> None:
    blob = repo.write_blob(b"text")[1]
    tree = repo.write_tree(
        repo.objects().write("tree", b""),
        {
            "folder/file": ("100755", blob),
            "link": ("120000", blob),
            "module": ("160000", blob),
        },
    )
    files = CommitTree(repo, repo.commit_tree(tree, [], "c\n"))
    assert files.read(path) is None
    assert files.read("folder/file") == "text"


def test_a_folder_whose_objects_are_gone_is_an_error_of_git(repo: Repository) -> None:
    tree = b"40000 plan\0" + bytes.fromhex("12" * 20)
    commit = repo.commit_tree(repo.objects().write("tree", tree), [], "c\n")
    with pytest.raises(GitFailed, match="no tree 12"):
        CommitTree(repo, commit).read("plan/tasks.md")


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
