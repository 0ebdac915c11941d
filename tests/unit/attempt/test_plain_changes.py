"""A checkout is captured without an index where its changes are plain, and as git would
in any case.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runner.attempt import (
    capture,
    capture_directory,
    captured_tree,
    left_out,
    plain_changes,
    trusted_times,
    workspace,
)
from runner.attempt.workspace import CaptureLimits, Workspace
from runner.repo.command import Git, isolated_git
from runner.repo.repository import Repository

pytestmark = pytest.mark.one_python

# what git runs for plain changes of the base's files
NO_NEW = ["diff-files", "cat-file"]


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkout is captured as a large one is."""
    monkeypatch.setattr(capture, "_MAX_MEASURED_INDEX", 0)


@pytest.fixture(params=["sha1", "sha256"])
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    root = tmp_path / "repo"
    (root / "folder/deep").mkdir(parents=True)
    git = isolated_git(root)
    git.run(["init", "-q", "-b", "main", f"--object-format={request.param}"])
    for path in ("file", "folder/file", "folder/deep/file", "folder.txt", "empty"):
        (root / path).write_text("" if path == "empty" else f"{path}\n")
    (root / ".gitignore").write_text("ignored\n")
    (root / "run").write_text("run\n")
    (root / "run").chmod(0o755)
    (root / "link").symlink_to("file")
    (root / "crlf").write_bytes(b"a\r\nb\r\n")
    git.run(["add", "-A"])
    git.run(["commit", "-qm", "base"])
    return Repository(root, os.environ)


@pytest.fixture
def space(repo: Repository, tmp_path: Path) -> Workspace:
    return make(repo, tmp_path / "space")


def make(repo: Repository, folder: Path) -> Workspace:
    base = repo.commit("HEAD")
    assert base is not None
    made = workspace.create(repo.origin, base, folder, "task")
    (folder / "now").write_text("")
    return trusted_times.trust_times(made, folder / "now")


def small(
    repo: Repository, space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """The workspace with what its capture needs to see that the checkout is small."""
    monkeypatch.setattr(capture, "_MAX_MEASURED_INDEX", 2**18)
    return space._replace(tree=repo.tree(space.base))


def commit(repo: Repository, script: str) -> None:
    do(repo.root, script)
    git = isolated_git(repo.root)
    git.run(["add", "-A"])
    git.run(["commit", "-qm", "change"])


def do(folder: Path, script: str) -> None:
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True)


def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands of git from now on."""
    commands: list[str] = []
    start = Git._start

    def noted(git: Git, argv: list[str], *rest: object) -> object:
        commands.append(argv[0])
        return start(git, argv, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Git, "_start", noted)
    return commands


def added(space: Workspace) -> str:
    """The tree that `git add -A` makes of the checkout."""
    index = {"GIT_INDEX_FILE": str(space.folder / "other.index")}
    git = capture_directory.capture_git(space).with_env(index)
    git = git._replace(cwd=space.checkout)
    git.run(["read-tree", space.base])
    git.run(["add", "-A"])
    return git.text(["write-tree"]).strip()


def new_files(space: Workspace) -> list[str]:
    """The files that the base has not, ignored ones too."""
    index = {"GIT_INDEX_FILE": str(space.folder / "base.index")}
    git = capture_directory.capture_git(space).with_env(index)
    git = git._replace(cwd=space.checkout)
    git.run(["read-tree", space.base])
    return [each for each in git.text(["ls-files", "-z", "-o"]).split("\0") if each]


PLAIN = [
    "echo changed >file",
    "echo changed >folder/deep/file; echo changed >empty; : >file",
    "echo new >new; mkdir -p a/b/c; echo new >a/b/c/d; echo new >'odd name\n\t\"'",
    "rm file folder/deep/file",
    "rm -r folder",
    "rm file; mkdir folder/file2; echo x >folder/file2/x; echo ignored >ignored",
    "chmod +x file; chmod -x run",
    "echo new >folder-; echo new >folder0; mkdir folder.d; echo new >folder.d/x",
    "printf 'a\\r\\n' >file; printf 'b\\r\\n' >new",
    "touch -d 2001-01-01 file; echo changed >run",
    "git add -A; echo changed >file; git commit -qam change; git status",
    "printf '*.txt text=auto\\nrun -text diff\\n' >.gitattributes; echo x >x.txt",
    "mv file moved; mv folder/deep folder/deeper",
    "printf '\\377' >\"$(printf '\\377')\"; ls",
]


@pytest.mark.parametrize("script", PLAIN)
def test_plain_changes_are_captured_as_git_adds_them(
    space: Workspace, tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(space.checkout, script)
    commands = started(monkeypatch)
    captured = capture.capture(space)
    ran = list(commands)
    # once more for what is in the index of an agent's commit
    looks = ("git add" in script) + bool(new_files(space))
    assert ran.count("ls-files") == looks
    assert [each for each in ran if each != "ls-files"] == NO_NEW
    assert captured.tree == added(space)
    assert captured.left_out == ()
    # the pack is complete, and git needs nothing else of this
    pack = tmp_path / "pack"
    captured_tree.write_pack(space, captured.tree, pack, captured.new_objects)
    with Repository(tmp_path / "repo", os.environ).quarantine() as quarantine:
        quarantine.import_pack(pack, pack.stat().st_size + 1)
        assert quarantine.changes(space.base, captured.tree)


@pytest.mark.parametrize("script", PLAIN)
def test_plain_changes_of_a_small_checkout_are_captured_by_one_process(
    repo: Repository, space: Workspace, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = small(repo, space, monkeypatch)
    do(space.checkout, script)
    commands = started(monkeypatch)
    captured = capture.capture(space, is_read=False)
    # once more for what is in the index of an agent's commit
    assert commands == ["ls-files"] * (1 + ("git add" in script))
    assert captured.tree == added(space)
    assert captured.left_out == ()


@pytest.mark.parametrize("is_large", [True, False])
@pytest.mark.parametrize(
    ("script", "attributes"),
    [
        ("rm file; ln -s run file", ""),
        ("rm -r folder; ln -s /tmp folder", ""),
        ("rm file; mkdir file; echo x >file/x", ""),
        ("rm -r folder; echo x >folder", ""),
        ("printf 'a\\r\\n' >file", "* text=auto"),
        ("printf 'a\\r\\n' >new; printf 'c\\r\\n' >crlf", "* text=auto"),
        ("printf 'a\\r\\n' >new; rm .gitattributes", "* text=auto"),
        ("printf 'a\\n' >new; echo '* ident' >.gitattributes", "x ident"),
        ("echo '$Id: abc$' >folder/file", "* ident"),
        ("rm .gitattributes; echo '$Id: abc$' >folder/file", "* ident"),
        ("echo '[attr]same ident' >.gitattributes; echo '$Id: x$' >x", "x same"),
        ("head -c 300000 /dev/zero >file", ""),
        ("for n in $(seq 501); do echo $n >$n; done", ""),
    ],
)
def test_other_changes_are_captured_as_git_adds_them(
    repo: Repository,
    tmp_path: Path,
    script: str,
    attributes: str,
    is_large: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if attributes:
        commit(repo, f"echo '{attributes}' >.gitattributes")
    space = make(repo, tmp_path / "space")
    if not is_large:
        space = small(repo, space, monkeypatch)
    do(space.checkout, script)
    commands = started(monkeypatch)
    captured = capture.capture(space)
    assert "add" in commands
    assert captured.tree == added(space)


@pytest.mark.parametrize("is_large", [True, False])
@pytest.mark.parametrize(
    ("script", "left_out", "paths"),
    [
        ("mkfifo pipe; rm file; mkfifo file", ["file"], ["new"]),
        ("printf a >file", ["file"], ["new"]),
        ("git init -q nested; echo x >nested/x", ["nested"], ["new"]),
        ("echo forced >ignored; git add -f ignored", [], ["ignored", "new"]),
    ],
)
def test_what_git_refuses_or_adds_by_force_is_as_it_says(
    repo: Repository,
    tmp_path: Path,
    script: str,
    left_out: list[str],
    paths: list[str],
    is_large: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "printf" in script:
        commit(
            repo, "echo '/file working-tree-encoding=UTF-16LE' >.gitattributes; rm file"
        )
    space = make(repo, tmp_path / "space")
    if not is_large:
        space = small(repo, space, monkeypatch)
    do(space.checkout, f"{script}; echo new >new")
    captured = capture.capture(space)
    assert [each.path for each in captured.left_out] == left_out
    listed = ["diff-tree", "-r", "--name-only", space.base, str(captured.tree)]
    changed = space.git.text(listed).split()
    assert [path for path in changed if path not in left_out] == paths


@pytest.mark.parametrize(
    ("script", "commands"),
    [
        (":", ["diff-files"]),
        ("git status >/dev/null; echo x >ignored", ["diff-files", "ls-files"]),
        ("mkdir empty-folder; touch -d 2001-01-01 run", NO_NEW),
    ],
)
def test_a_checkout_without_changes_is_the_base(
    space: Workspace,
    script: str,
    commands: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    do(space.checkout, script)
    run = started(monkeypatch)
    assert capture.capture(space) == capture.Capture(None)
    assert run == commands


def test_changes_of_setup_are_left_to_git(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(space.checkout, "echo made >made; echo set-up >file")
    prepared = capture.record_preparation(space)
    do(prepared.checkout, "echo changed >run")
    commands = started(monkeypatch)
    tree = capture.capture(prepared).tree
    assert "add" in commands
    changed = ["diff-tree", "-r", "--name-only", space.base, str(tree)]
    assert prepared.git.text(changed).split() == ["run"]


def test_a_submodule_is_left_to_git(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = repo.commit("HEAD")
    isolated_git(repo.root).run(
        ["update-index", "--add", "--cacheinfo", f"160000,{head},module"]
    )
    isolated_git(repo.root).run(["commit", "-qm", "module"])
    space = make(repo, tmp_path / "space")
    do(space.checkout, "echo changed >file; echo new >module/new")
    commands = started(monkeypatch)
    captured = capture.capture(space)
    assert "add" in commands
    assert [each.path for each in captured.left_out] == ["module"]


def test_the_limit_of_bytes_holds_for_plain_changes(space: Workspace) -> None:
    limited = space._replace(limits=CaptureLimits(max_bytes=10))
    do(space.checkout, "echo 123456789012 >file; echo 1 >new")
    captured = capture.capture(limited)
    assert [each.path for each in captured.left_out] == ["file"]


def test_git_reads_no_file_of_a_small_checkout_beyond_the_limit(
    repo: Repository, space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = CaptureLimits(max_bytes=1000)
    limited = small(repo, space, monkeypatch)._replace(limits=limits)
    do(space.checkout, "truncate -s 10K empty; echo new >new")
    monkeypatch.delattr(capture, "plain_paths_to_add")  # which may read files
    captured = capture.capture(limited)
    assert [each.path for each in captured.left_out] == ["empty"]


def test_a_changed_copy_of_the_index_is_left_to_git(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an agent would hide the changes of other files."""
    monkeypatch.setattr(workspace, "_MAX_INDEX_IN_MEMORY", 0)
    record = workspace.IndexRecord.of(space.checkout / ".git/index", space.index_copy)
    stored = space._replace(index_record=record)
    do(space.checkout, "echo changed >file; git update-index --assume-unchanged file")
    do(space.checkout, "cp .git/index ../checkout.index")
    assert capture.capture(stored).tree == added(stored)


def test_a_file_behind_a_link_is_not_read(space: Workspace, tmp_path: Path) -> None:
    """A process that outlived its agent may put it there once git has listed the files."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("secret\n")
    do(space.checkout, f"rm -r folder; ln -s {tmp_path}/outside folder")
    capture_directory.capture_git(space)
    index_tree = captured_tree.base_tree(space)
    assert plain_changes.make_tree(space, index_tree, [b"folder/file"]) is None
    do(space.checkout, "ln -sf ../../outside/file file")
    assert plain_changes.make_tree(space, index_tree, [b"file"]) is None


@pytest.mark.parametrize("name", [".gitignore", "folder/.gitattributes"])
def test_git_that_waits_at_a_pipe_is_ended(space: Workspace, name: str) -> None:
    do(space.checkout, f"rm -f {name}; mkfifo {name}; echo changed >folder/file")
    captured = capture.capture(space)
    assert captured.tree is None
    assert captured.left_out[0].path == name


def test_old_modes_in_trees_are_left_to_git(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = isolated_git(repo.root)
    data = git.run(["cat-file", "tree", "HEAD^{tree}"])
    data = data.replace(b"100644 file\0", b"100664 file\0")
    argv = ["hash-object", "-t", "tree", "-w", "--stdin", "--literally"]
    tree = git.text(argv, stdin=data).strip()
    made = git.text(["commit-tree", tree, "-p", "HEAD", "-m", "old"]).strip()
    git.run(["reset", "-q", "--hard", made])
    space = make(repo, tmp_path / "space")
    do(space.checkout, "echo changed >run")
    commands = started(monkeypatch)
    assert capture.capture(space).tree == added(space)
    assert "add" in commands


@pytest.mark.parametrize(
    ("script", "new"),
    [
        ("rm file; echo new >new", ["new"]),
        ("rm file folder.txt; echo new >new", ["new"]),
        ("rm file; mkdir file; echo new >file/new", ["file/new"]),
        ("rm -r folder; ln -s . folder; rm file", ["folder"]),
        ("rm -r folder; ln -s . folder; rm file; echo x >new", ["folder", "new"]),
        ("rm file; mkfifo pipe; echo new >new", ["new"]),
        ("rm file run crlf; git init -q nested", ["nested/"]),
        ("rm file run; ln -s nowhere dangling", ["dangling"]),
    ],
)
def test_new_files_are_found_however_many_others_are_gone(
    space: Workspace, script: str, new: list[str]
) -> None:
    do(space.checkout, script)
    git = capture_directory.capture_git(space)
    paths = capture._look_at_files(space, git).paths
    assert {os.fsencode(path) for path in new} <= set(paths)
    assert sorted(paths) == sorted(left_out.paths_to_add(git))


def test_new_files_beside_a_submodule_are_found(
    repo: Repository, tmp_path: Path
) -> None:
    """It is an entry of the index, and no file."""
    head = repo.commit("HEAD")
    git = isolated_git(repo.root)
    argv = ["update-index", "--add", "--cacheinfo", f"160000,{head},module"]
    git.run(argv)
    git.run(["commit", "-qm", "module"])
    space = make(repo, tmp_path / "space")
    do(space.checkout, "echo new >new")
    captured = capture.capture(space)
    assert captured.tree == added(space)
    assert captured.tree is not None
