"""A landing that was interrupted is undone, except for files that somebody changed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.core.errors import EnvironmentBroken, UsageProblem
from runner.repo import index_trees, work_tree
from runner.repo.command import Git, isolated_git
from runner.repo.landing import Landing
from runner.repo.ref_update import Outcome, Reason, RefUpdate
from runner.repo.repository import Repository

OLD = {"changed": "old\n", "removed": "old\n", "edited": "old\n"}
NEW = {"changed": "new\n", "edited": "new\n", "added": "new\n"}


class Repo:
    """A repository on `main` at `old`, and a commit `new` to land there."""

    def __init__(self, root: Path) -> None:
        git = isolated_git(root)
        git.run(["init", "-q", "-b", "main"])
        self.root, self.repo = root, Repository(root, os.environ)
        for name, text in OLD.items():
            (root / name).write_text(text)
        git.run(["add", "-A"])
        git.run(["commit", "-q", "-m", "old"])
        self.old = git.text(["rev-parse", "HEAD"]).strip()
        blobs = {
            name: self.repo.write_blob(text.encode()) for name, text in NEW.items()
        }
        tree = self.repo.write_tree(
            self.repo.tree(self.old), {"removed": None, **blobs}
        )
        self.new = self.repo.commit_tree(tree, [self.old], "new\n")

    def plan(self) -> Landing:
        return work_tree.plan_landing(self.repo, "main", self.old, self.new)

    def land(self) -> RefUpdate:
        return work_tree.land(self.repo, self.plan())

    def files(self) -> dict[str, str]:
        files = [path for path in self.root.iterdir() if path.is_file()]
        return {path.name: path.read_text() for path in files}


@pytest.fixture
def landing(tmp_path: Path) -> Repo:
    return Repo(tmp_path)


def test_landing_moves_the_branch_and_its_files(landing: Repo) -> None:
    update = landing.land()
    assert update.landed
    assert landing.files() == NEW
    assert work_tree.dirty_paths(landing.repo, landing.root) == []


def test_a_landing_is_in_the_logs_of_the_branch_and_of_the_work_tree(
    landing: Repo,
) -> None:
    landing.land()
    git = isolated_git(landing.root)
    for ref in ("main", "HEAD"):
        commits = git.text(["log", "-g", "--format=%H", ref]).split()
        assert commits == [landing.new, landing.old]


def test_a_file_of_which_only_the_time_differs_is_no_obstacle(landing: Repo) -> None:
    planned = landing.plan()
    os.utime(landing.root / "changed", ns=(1, 1))
    assert work_tree.land(landing.repo, planned).landed
    assert landing.files() == NEW


@pytest.mark.parametrize("name", ["MERGE_HEAD", "CHERRY_PICK_HEAD"])
def test_no_branch_moves_below_an_unfinished_merge(landing: Repo, name: str) -> None:
    (landing.root / ".git" / name).write_text(f"{landing.old}\n")
    update = landing.land()
    assert (update.outcome, update.reason) == (Outcome.REFUSED, Reason.OBSTACLE)
    assert landing.files() == OLD


@pytest.mark.parametrize(("mine", "new"), [("deep", "deep/new"), ("deep/a", "deep")])
def test_an_ignored_file_in_the_place_of_a_folder_is_an_obstacle(
    landing: Repo, mine: str, new: str
) -> None:
    blob = landing.repo.write_blob(b"new")
    tree = landing.repo.write_tree(landing.repo.tree(landing.old), {new: blob})
    commit = landing.repo.commit_tree(tree, [landing.old], "new\n")
    (landing.root / ".git" / "info").mkdir(exist_ok=True)
    (landing.root / ".git" / "info" / "exclude").write_text("/deep\n")
    (landing.root / mine).parent.mkdir(exist_ok=True)
    (landing.root / mine).write_text("mine\n")
    planned = work_tree.plan_landing(landing.repo, "main", landing.old, commit)
    update = work_tree.land(landing.repo, planned)
    assert (update.outcome, update.reason) == (Outcome.REFUSED, Reason.OBSTACLE)
    assert (landing.root / mine).read_text() == "mine\n"


def test_a_landing_that_is_done_already_has_landed(landing: Repo) -> None:
    landing.land()
    again = landing.land()
    assert again.outcome is Outcome.LANDED
    there = Landing("main", landing.old, landing.old)
    back = work_tree.land(landing.repo, there)
    assert back.outcome is Outcome.MOVED


def test_an_untracked_file_in_the_way_is_an_obstacle(landing: Repo) -> None:
    (landing.root / "added").write_text("mine\n")
    update = landing.land()
    assert (update.outcome, update.reason) == (Outcome.REFUSED, Reason.OBSTACLE)
    assert "added" in update.text
    assert landing.files() == {**OLD, "added": "mine\n"}


@pytest.mark.parametrize("index", ["small", "large"])
def test_a_landing_asks_only_about_its_own_files_what_is_not_committed(
    landing: Repo, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if index == "large":
        monkeypatch.setattr(index_trees, "MAX_INDEX", 0)
    git_calls: list[list[str]] = []
    run = Git.run

    def recorded(self: Git, argv: Sequence[str], **options: Any) -> bytes:
        git_calls.append(list(argv))
        return run(self, argv, **options)

    monkeypatch.setattr(Git, "run", recorded)
    assert landing.plan().occupied == ()
    assert not any("status" in argv for argv in git_calls)
    (landing.root / "removed").write_text("mine\n")
    assert landing.plan().occupied == ("removed",)
    (status,) = [argv for argv in git_calls if "status" in argv]
    named = status[status.index("--") + 1 :]
    assert sorted(named) == ["added", "changed", "edited", "removed"]


def test_dirty_paths_among_others_are_found_under_their_own_names(
    landing: Repo,
) -> None:
    names = ["*", ":(top)x", "-u", "a b", "\N{SNOWMAN}"]
    git = isolated_git(landing.root)
    for name in names:
        (landing.root / name).write_text("old\n")
    git.run(["add", "-A"])
    git.run(["commit", "-q", "-m", "names"])
    for name in [*names, "edited"]:
        (landing.root / name).write_text("mine\n")
    found = work_tree.dirty_paths(landing.repo, landing.root, names)
    assert sorted(found) == sorted(names)
    many = [*names, *(f"{n:0200}" for n in range(500))]
    found = work_tree.dirty_paths(landing.repo, landing.root, many)
    assert {*found} == {*names, "edited"}
    assert work_tree.dirty_paths(landing.repo, landing.root, []) == []


def test_new_files_of_an_interrupted_landing_get_their_old_content_back(
    landing: Repo,
) -> None:
    planned = landing.plan()
    (landing.root / "changed").write_text(NEW["changed"])
    (landing.root / "added").write_text(NEW["added"])
    (landing.root / "removed").unlink()
    (landing.root / ".git" / "index.lock").touch()
    different = work_tree.undo_interrupted(landing.repo, planned)
    assert different == []
    assert landing.files() == OLD
    assert work_tree.dirty_paths(landing.repo, landing.root) == []


def test_a_file_that_somebody_changed_is_returned_and_left_alone(
    landing: Repo,
) -> None:
    planned = landing.plan()
    (landing.root / "edited").write_text("mine\n")
    different = work_tree.undo_interrupted(landing.repo, planned)
    assert different == ["edited"]
    assert landing.files() == {**OLD, "edited": "mine\n"}


@pytest.mark.parametrize("torn", ["", "ne"], ids=["empty", "half"])
@pytest.mark.parametrize("name", ["added", "changed"])
def test_a_file_that_git_was_writing_when_it_was_killed_is_undone(
    landing: Repo, name: str, torn: str
) -> None:
    planned = landing.plan()
    (landing.root / name).write_text(torn)
    assert work_tree.undo_interrupted(landing.repo, planned) == []
    assert landing.files() == OLD
    assert landing.land().landed
    assert landing.files() == NEW


def test_a_file_that_was_removed_to_be_written_anew_is_restored(landing: Repo) -> None:
    planned = landing.plan()
    (landing.root / "changed").unlink()
    assert work_tree.undo_interrupted(landing.repo, planned) == []
    assert landing.files() == OLD


@pytest.mark.parametrize(
    ("name", "text"),
    [("added", ""), ("added", "new\n"), ("changed", "ne"), ("changed", "new\n")],
)
def test_what_was_there_before_the_landing_is_not_undone(
    landing: Repo, name: str, text: str
) -> None:
    (landing.root / name).write_text(text)
    planned = landing.plan()
    assert work_tree.undo_interrupted(landing.repo, planned) == []
    assert landing.files() == {**OLD, name: text}
    assert landing.land().outcome is Outcome.REFUSED
    assert landing.files() == {**OLD, name: text}


def test_a_new_file_may_have_been_there_before_a_landing_of_an_older_fanin(
    landing: Repo,
) -> None:
    (landing.root / "added").touch()
    planned = Landing("main", landing.old, landing.new)
    assert work_tree.undo_interrupted(landing.repo, planned) == ["added"]
    assert landing.files() == {**OLD, "added": ""}


def test_an_undo_that_fails_says_why_and_can_be_repeated(landing: Repo) -> None:
    planned = landing.plan()
    (landing.root / "added").write_text(NEW["added"])
    index = landing.root / ".git" / "index"
    good = index.read_bytes()
    index.write_bytes(b"no index")
    with pytest.raises(
        EnvironmentBroken, match="a landing that failed cannot be undone"
    ):
        work_tree.undo_interrupted(landing.repo, planned)
    index.write_bytes(good)
    assert work_tree.undo_interrupted(landing.repo, planned) == []
    assert landing.files() == OLD


@pytest.mark.parametrize("lock", ["HEAD.lock", "refs/heads/main.lock"])
def test_a_landing_that_fails_leaves_files_and_index_as_they_were(
    landing: Repo, lock: str
) -> None:
    (landing.root / ".git" / lock).touch()
    update = landing.land()
    assert (update.outcome, update.reason) == (Outcome.REFUSED, Reason.OBSTACLE)
    assert landing.files() == OLD
    assert work_tree.dirty_paths(landing.repo, landing.root) == []
    # it is not fanin's
    assert (landing.root / ".git" / lock).exists()


def test_a_file_that_cannot_be_written_is_the_reason_and_not_those_written_before(
    landing: Repo,
) -> None:
    git = isolated_git(landing.root)
    broken = {"clean": "cat", "smudge": "grep -v new", "required": "true"}
    for key, value in broken.items():
        git.run(["config", f"filter.broken.{key}", value])
    (landing.root / ".git/info/attributes").write_text("edited filter=broken\n")
    update = landing.land()
    assert (update.outcome, update.reason) == (Outcome.REFUSED, Reason.OBSTACLE)
    assert "edited: smudge filter broken failed" in update.text
    assert "overwritten by merge" not in update.text
    assert landing.files() == OLD
    assert work_tree.dirty_paths(landing.repo, landing.root) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [({"x": "file"}, {"x/y/z": "long"}), ({"x/y/z": "file"}, {"x": "long"})],
    ids=["to a folder", "to a file"],
)
def test_a_file_that_becomes_a_folder_is_undone_too(
    landing: Repo, old: dict[str, str], new: dict[str, str]
) -> None:
    repo, git = landing.repo, isolated_git(landing.root)

    def tree(base: str, files: dict[str, str]) -> str:
        blobs = {path: repo.write_blob(text.encode()) for path, text in files.items()}
        return repo.commit_tree(repo.write_tree(repo.tree(base), blobs), [base], "x")

    first = tree(landing.old, old)
    git.run(["reset", "-q", "--hard", first])
    deleted = repo.write_tree(repo.tree(first), dict.fromkeys(old))
    second = tree(repo.commit_tree(deleted, [first], "x"), new)
    planned = work_tree.plan_landing(repo, "main", first, second)
    for path in old:
        (landing.root / path).unlink()
    ((name, text),) = new.items()
    for parent in [*Path(name).parents][:-1]:
        (landing.root / parent).mkdir(exist_ok=True, parents=True)
    if (landing.root / name).is_dir():
        (landing.root / "x" / "y").rmdir()
        (landing.root / "x").rmdir()
    (landing.root / name).write_text(text[:2])
    assert work_tree.undo_interrupted(repo, planned) == []
    assert work_tree.dirty_paths(repo, landing.root) == []
    for path, content in old.items():
        assert (landing.root / path).read_text() == content


def test_the_locks_of_a_living_git_are_not_removed(
    landing: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_tree, "_MAX_WAIT", 0.2)
    planned = landing.plan()
    # as `git commit` with an editor open
    argv = ["git", "-c", "core.editor=touch started; read line; exit 1; :"]
    (landing.root / "edited").write_text("mine\n")
    with subprocess.Popen(
        [*argv, "-c", "user.name=p", "-c", "user.email=p@x", "commit", "-a"],
        cwd=landing.root,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as commit:
        while not (landing.root / "started").exists():
            time.sleep(0.01)
        with pytest.raises(UsageProblem, match=f"process {commit.pid}"):
            work_tree.undo_interrupted(landing.repo, planned)
        assert (landing.root / ".git" / "index.lock").exists()
        commit.communicate(b"\n")
    (landing.root / ".git" / "index.lock").touch()
    assert work_tree.undo_interrupted(landing.repo, planned) == ["edited"]


def test_a_person_who_switches_branches_meanwhile_keeps_their_branch_and_files(
    landing: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = landing.root / ".git/index.lock"
    lock.touch()

    def switch_branches(seconds: float) -> None:
        if lock.exists():
            lock.unlink()
            isolated_git(landing.root).run(["switch", "-q", "-c", "mine"])

    # only the landing's own: other threads sleep too, and waiting for git does
    monkeypatch.setattr(work_tree, "time", SimpleNamespace(sleep=switch_branches))
    assert landing.land().landed
    assert landing.repo.commit("refs/heads/main") == landing.new
    assert landing.repo.commit("refs/heads/mine") == landing.old
    assert landing.files() == OLD


@pytest.mark.parametrize(
    ("start", "end", "operation"),
    [
        (["rebase", "-q", "-x", "false", "HEAD~1"], ["rebase", "--abort"], "rebase"),
        (["rebase", "-q", "--apply", "onto"], ["rebase", "--abort"], "rebase"),
        (["bisect", "start", "HEAD", "HEAD~1"], ["bisect", "reset"], "bisect"),
    ],
    ids=["rebase", "rebase --apply", "bisect"],
)
def test_a_branch_does_not_move_below_a_rebase_or_a_bisection(
    landing: Repo, start: list[str], end: list[str], operation: str
) -> None:
    git = isolated_git(landing.root)
    git.run(["switch", "-q", "-c", "onto"])
    (landing.root / "changed").write_text("other\n")
    git.run(["commit", "-q", "-am", "other"])
    git.run(["switch", "-q", "main"])
    (landing.root / "changed").write_text("mine\n")
    git.run(["commit", "-q", "-am", "mine"])
    head = git.text(["rev-parse", "main"]).strip()
    tip = git.text(["commit-tree", f"{head}^{{tree}}", "-p", head, "-m", "x"]).strip()
    git.run_unchecked(start)
    if operation == "bisect":
        git.run(["checkout", "-q", "--detach"])
    planned = Landing("main", head, tip)

    update = work_tree.land(landing.repo, planned)
    assert (update.outcome, update.reason) == (Outcome.REFUSED, Reason.OBSTACLE)
    assert update.text == f"a {operation} of main is in progress"
    assert landing.repo.commit("refs/heads/main") == head

    git.run(end)
    assert work_tree.land(landing.repo, planned).landed


@pytest.mark.parametrize(
    ("name", "operation"),
    [("MERGE_HEAD", "merge"), ("rebase-apply", "rebase"), ("BISECT_LOG", "bisect")],
)
def test_an_unfinished_operation_is_named(
    landing: Repo, name: str, operation: str
) -> None:
    assert work_tree.unfinished(landing.repo, landing.root) is None
    (landing.root / ".git" / name).touch()
    assert work_tree.unfinished(landing.repo, landing.root) == operation


@pytest.mark.parametrize("folder", [".", "sub"])
def test_a_pipe_as_attributes_at_which_git_waits_is_named(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = Repo(tmp_path)
    file = landing.root / folder / "tracked"
    file.parent.mkdir(exist_ok=True)
    file.write_text("one")
    isolated_git(landing.root).run(["add", str(file)])
    file.write_text("two")  # of the same size, so that git compares the content
    pipe = file.parent / ".gitattributes"
    os.mkfifo(pipe)
    monkeypatch.setattr(work_tree, "STATUS_SECONDS", 0.5)
    with pytest.raises(EnvironmentBroken, match=f"not a regular file: {pipe}"):
        work_tree.dirty_paths(landing.repo, landing.root)
    pipe.unlink()
    # one that is only slow is waited for
    monkeypatch.setattr(work_tree, "STATUS_SECONDS", 0.0)
    dirty = work_tree.dirty_paths(landing.repo, landing.root)
    assert str(file.relative_to(landing.root)) in dirty


def test_a_landing_does_not_begin_where_git_would_wait_at_a_pipe(landing: Repo) -> None:
    pipe = landing.root / ".gitattributes"
    os.mkfifo(pipe)
    with pytest.raises(EnvironmentBroken, match=f"not a regular file: {pipe}"):
        landing.land()
    assert landing.files() == OLD
    pipe.unlink()
    assert landing.land().landed
