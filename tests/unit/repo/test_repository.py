"""Questions about trees that only git can answer as git does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.repo.command import Completed, Git, isolated_git
from runner.repo.configuration import Configuration
from runner.repo.environment import AUTHOR
from runner.repo.repository import Repository

NAME = "a" * 200
FILES = {"src/x.log": "1\n", "src/data/y": "2\n", "z.log": "3\r\n", NAME: "4\n"}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("repo")
    isolated_git(folder).run(["init", "-q"])
    return Repository(folder, os.environ)


@pytest.fixture(scope="module")
def tree(repo: Repository) -> str:
    empty = repo.git.text(["mktree"], stdin=b"").strip()
    blobs = {path: repo.write_blob(text.encode()) for path, text in FILES.items()}
    return repo.write_tree(empty, blobs)


@pytest.mark.parametrize(
    ("folder", "patterns", "ignored"),
    [
        ("src", ["*.log"], ["src/x.log"]),
        ("", ["*.log"], ["src/x.log", "z.log"]),
        ("", ["/data"], []),
        ("src", ["/data/"], ["src/data/y"]),
        ("src", ["*", "!.gitignore"], ["src/data/y", "src/x.log"]),
        ("no/such/folder", ["*"], []),
        # not even readable as a regular expression
        ("", ["[z-a]", "\udcff"], []),
        # a matcher that goes back for each star would not end
        ("", ["*a" * 60 + "b"], []),
    ],
)
def test_ignored_paths_are_those_that_git_would_ignore(
    repo: Repository, tree: str, folder: str, patterns: list[str], ignored: list[str]
) -> None:
    assert repo.ignored_paths(tree, folder, patterns, repo.git) == ignored


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("z.log", ["z.log"]),
        ("src/run", ["src/run"]),
        ("src/*", ["src/*"]),
        ("src", ["src/*", "src/data/y", "src/run", "src/x.log"]),
        ("src/link", []),
        ("src/link/y", []),
        ("src/none", []),
    ],
)
def test_the_regular_files_at_a_path_are_those_that_git_lists(
    repo: Repository, tree: str, path: str, names: list[str]
) -> None:
    text, link = repo.write_blob(b"5\n")[1], repo.write_blob(b"data")[1]
    entries = {
        "src/run": ("100755", text),
        "src/*": ("100644", text),
        "src/link": ("120000", link),
    }
    commit = repo.commit_tree(repo.write_tree(tree, entries), [], "files")
    files = repo.files(commit, path)
    assert sorted(files) == names
    for name, (object_id, size) in files.items():
        assert repo.git.text(["rev-parse", f"{commit}:{name}"]).strip() == object_id
        assert size == len(repo.git.run(["cat-file", "blob", object_id]))
    assert (repo.file(commit, path) is None) == (path not in names)
    listed = repo.git.run(["ls-tree", commit, "--", f":(literal){path}"])
    assert repo.has_entry(commit, path) == bool(listed)


def test_carriage_returns_are_seen_below_the_folder_only(
    repo: Repository, tree: str
) -> None:
    assert repo.has_carriage_returns(tree, "")
    assert not repo.has_carriage_returns(tree, "src")


def test_the_git_folder_of_a_linked_work_tree_is_named_without_a_way_back(
    tmp_path: Path,
) -> None:
    main, linked = tmp_path / "main", tmp_path / "linked"
    main.mkdir()
    git = isolated_git(main)
    git.run(["init", "-q"])
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    git.run([*identity, "commit", "-q", "--allow-empty", "-m", "start"])
    git.run(["worktree", "add", "-q", str(linked)])
    found = Repository(linked, os.environ).git_dir
    assert found == (main / ".git").resolve()


def test_ignored_files_and_submodules_are_those_of_git_also_where_the_index_answers(
    tmp_path: Path,
) -> None:
    git = isolated_git(tmp_path)
    git.run(["init", "-q"])
    (tmp_path / ".gitignore").write_text("*.yml\n")
    for name in ("tracked.yml", "new.yml", "folder.yml"):
        (tmp_path / name).write_text("x")
    git.run(["add", "-f", "tracked.yml", "folder.yml"])
    entry = f"160000,{'1' * 40},module"
    git.run(["update-index", "--add", "--cacheinfo", entry])
    # a folder has taken the place of a file
    (tmp_path / "folder.yml").unlink()
    (tmp_path / "folder.yml").mkdir()
    (tmp_path / "folder.yml" / "a.yml").write_text("x")
    repo = Repository(tmp_path, os.environ)
    assert repo.ignored_files("tracked.yml") == []
    assert repo.ignored_files("new.yml") == ["new.yml"]
    assert repo.ignored_files("folder.yml") == ["folder.yml/a.yml"]
    assert [
        repo.is_submodule(name) for name in ("tracked.yml", "module", "new.yml")
    ] == [
        False,
        True,
        False,
    ]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The calls of git for which a process was started."""
    calls: list[list[str]] = []
    run = Git.run_unchecked

    def counted(git: Git, argv: list[str], **options: object) -> Completed:
        calls.append(argv)
        return run(git, argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Git, "run_unchecked", counted)
    return calls


def committed(folder: Path) -> Repository:
    git = isolated_git(folder)
    git.run(["init", "-q", "-b", "main"])
    git.run(["commit", "-q", "--allow-empty", "-m", "first"], env=AUTHOR)
    return Repository(folder, os.environ)


def test_refs_are_found_loose_and_packed_and_where_there_are_none_git_is_not_asked(
    tmp_path: Path, asked: list[list[str]]
) -> None:
    repo = committed(tmp_path)
    asked.clear()
    assert repo.refs("refs/fanin/base") == {}
    assert asked == []
    head = repo.commit("HEAD") or ""
    name = "refs/fanin/base/1.1"
    repo.git.run(["update-ref", name, head])
    assert repo.refs("refs/fanin/base") == {name: head}
    repo.git.run(["pack-refs", "--all", "--prune"])
    assert not list((repo.git_dir / "refs" / "fanin").rglob("1.1"))
    assert repo.refs("refs/fanin/base") == repo.refs("refs/fanin/") == {name: head}
    asked.clear()
    assert repo.refs("refs/fanin/runs") == {}
    assert asked == []


def test_a_pinned_commit_is_not_collected(tmp_path: Path) -> None:
    repo = committed(tmp_path)
    tree = repo.tree("HEAD")
    commits = [repo.commit_tree(tree, [], f"{number}\n") for number in range(2)]
    for commit in commits:
        repo.pin("refs/fanin/base/r1", commit)
    repo.git.run(["gc", "-q", "--prune=now"])
    found = Repository(tmp_path, os.environ)
    assert found.commit("refs/fanin/base/r1") == commits[1]
    assert found.commit(commits[1]) == commits[1]
    assert found.commit(commits[0]) is None


def test_what_a_crash_leaves_of_a_pin_is_removed_and_nothing_else(
    tmp_path: Path,
) -> None:
    repo = committed(tmp_path)
    head = repo.commit("HEAD") or ""
    repo.pin("refs/fanin/base/good", head)
    folder = repo.git_dir / "refs/fanin/base"
    (folder / "empty").touch()
    (folder / "torn").write_text(head[:7])
    (folder / "good.lock").write_text(f"{head}\n")
    repo.remove_broken_refs("refs/fanin/base")
    repo.remove_broken_refs("refs/fanin/nothing")
    assert [file.name for file in folder.iterdir()] == ["good"]


@pytest.mark.parametrize(
    ("name", "is_valid"),
    [
        ("main", True),
        ("new", True),
        ("main.lock", False),
        ("main/", False),
        ("a..b", False),
        ("main~0", False),
        ("main^{commit}", False),
        ("../heads/main", False),
        ("refs/heads/main", False),
        ("HEAD", False),
        ("-x", False),
    ],
)
def test_a_name_is_valid_for_a_branch_as_git_says(
    name: str, is_valid: bool, tmp_path: Path
) -> None:
    assert committed(tmp_path).is_valid_branch_name(name) is is_valid


def test_the_name_of_a_branch_that_exists_is_valid_without_a_question(
    tmp_path: Path, asked: list[list[str]]
) -> None:
    repo = committed(tmp_path)
    asked.clear()
    assert repo.is_valid_branch_name("main")
    assert asked == []


def test_a_commit_is_told_by_its_tree_its_only_parent_and_its_message(
    repo: Repository, tree: str
) -> None:
    root = repo.commit_tree(tree, [], "root\n")
    commit = repo.commit_tree(tree, [root], "subject\n\nbody\n")
    assert repo.is_commit(commit, tree, root, "subject\n\nbody\n")
    assert not repo.is_commit(commit, tree, root, "subject\n")
    assert not repo.is_commit(commit, root, root, "subject\n\nbody\n")
    assert not repo.is_commit(root, tree, root, "root\n")
    merge = repo.commit_tree(tree, [root, commit], "subject\n")
    assert not repo.is_commit(merge, tree, root, "subject\n")
    assert not repo.is_commit(tree, tree, root, "subject\n")


def test_what_is_read_needs_no_object_format_from_git(
    repo: Repository, tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Configuration) -> str:
        pytest.fail("git was asked for the object format")

    monkeypatch.setattr(Configuration, "object_format", property(fail))
    reading = Repository(repo.root, os.environ)
    entry = reading.entry(tree, "src/x.log")
    assert entry is not None
    assert reading.tree_reader().content(entry[1]) == b"1\n"
    with pytest.raises(pytest.fail.Exception):
        reading.objects()
