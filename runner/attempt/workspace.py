"""An agent's checkout: made from the base, and what the agent left in it captured as a
git tree.

The checkout's own `.git` is the agent's: it borrows the repository's objects and has no
remote. Work is captured with a second git directory and index outside the checkout,
because `core.fsmonitor` or a clean filter set in the agent's `.git` would run code.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from runner.attempt.left_out import (
    LeftOut,
    add_all,
    add_forced,
    explain,
    gitlinks,
    nested_repository,
)
from runner.core import durable
from runner.core.errors import GitFailed
from runner.core.folders import remove_folder
from runner.policy.change import GITLINK, Change
from runner.policy.redaction import Secrets
from runner.repo import diff, secret_search
from runner.repo.batch_process import ObjectReader
from runner.repo.command import AUTHOR, Git, isolated_git
from runner.repo.origin import Origin, alternates, quoted_path

_ON_DEMAND = ("objects/pack", "refs/tags")  # git makes them when it needs them
_MAX_INDEX_BYTES = 2**30
_AGENT = (
    f"[user]\n\tname = fanin agent\n\temail = {AUTHOR['GIT_AUTHOR_EMAIL']}\n".encode()
)


@dataclass(frozen=True)
class Submodule:
    """A submodule that fanin checked out at `path`: the git directory to capture it
    with, and the tree that its files are.
    """

    path: str
    capture: Path
    tree: str


@dataclass(frozen=True)
class Capture:
    """What was captured: the tree, None if it is the base's, and what it lacks."""

    tree: str | None
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Workspace:
    """The folder of one attempt on commit `base`.

    `checkout` is for the agent. `index`, `objects` and the git directory `capture`,
    which several workspaces may share, are for fanin alone. `tree` is the base's, if
    the caller knows it. `submodules` are those that are checked out. `prepared` are the
    changes that set-up made before the agent, `left_out` the paths that could not be
    captured then.
    """

    folder: Path
    base: str
    capture: Path
    tree: str | None = None
    submodules: tuple[Submodule, ...] = ()
    prepared: tuple[Change, ...] = ()
    left_out: frozenset[str] = frozenset()

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def index(self) -> Path:
        return self.folder / "capture.index"

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    @property
    def git(self) -> Git:
        """Git that reads through the git directory `capture`, and writes objects to
        this workspace alone.
        """
        borrowed = quoted_path(self.capture / "objects", special=b'"\\:')
        env = {
            "GIT_DIR": str(self.capture),
            "GIT_OBJECT_DIRECTORY": str(self.objects),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.fsdecode(borrowed),
        }
        return isolated_git(self.folder, env)

    def remove(self) -> None:
        remove_folder(self.folder)


@dataclass(frozen=True)
class Seed:
    """A git directory that borrows the origin's objects, to capture with; `folders` and
    `files` are its contents, from which every agent's own git directory is written.
    """

    capture: Path
    folders: tuple[str, ...]
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, origin: Origin, folder: Path) -> Seed:
        """Let git make it in `folder`: its contents depend on the file system."""
        folder.mkdir(parents=True, exist_ok=True)
        # no template: its hooks and files are copied for every agent
        object_format = f"--object-format={origin.object_format}"
        isolated_git(folder).run(
            ["init", "-q", "--template=", object_format, str(folder)]
        )
        git_dir = folder / ".git"
        _borrow(origin, git_dir)
        folders, files = [], {}
        for path in sorted(git_dir.rglob("*")):
            name = str(path.relative_to(git_dir))
            if name in _ON_DEMAND:
                continue
            if path.is_dir():
                folders.append(name)
            elif path.is_file():
                files[name] = path.read_bytes()
        return cls(git_dir, tuple(folders), files)

    def copy_to(self, git_dir: Path, branch: str, commit: str) -> None:
        """Write an agent's git directory, with the branch checked out."""
        git_dir.mkdir(parents=True)
        parent = str(git_dir)
        for name in self.folders:  # parents come first
            os.mkdir(f"{parent}/{name}")  # noqa: PTH102 - a Path for each takes twice as long
        files = {
            **self.files,
            "config": self.files["config"] + _AGENT,
            "HEAD": f"ref: refs/heads/{branch}\n".encode(),
        }
        for name, data in files.items():
            (git_dir / name).write_bytes(data)
        _write_branch(git_dir, branch, commit)


def _write_branch(git_dir: Path, branch: str, commit: str) -> None:
    """Point the branch, the only one there, at the commit."""
    # one file, where a loose ref and its log take eight
    header = "# pack-refs with: peeled fully-peeled sorted \n"
    (git_dir / "packed-refs").write_text(f"{header}{commit} refs/heads/{branch}\n")


def create(
    origin: Origin, base: str, folder: Path, branch: str, seed: Seed | None = None
) -> Workspace:
    """Make a checkout of commit `base` in `folder`, on a branch of that name.

    `seed` is one of this origin, from a folder on the same file system; None: make one.
    Raises GitFailed if git cannot.
    """
    folder.mkdir(parents=True)
    if seed is None:
        seed = Seed.of(origin, folder / "seed")
    workspace = Workspace(folder, base, seed.capture)
    workspace.objects.mkdir()
    seed.copy_to(workspace.checkout / ".git", branch, base)
    _check_out(workspace)
    return workspace


def moved(workspace: Workspace, base: str, folder: Path, branch: str) -> Workspace:
    """Move a workspace that no agent has used yet to another folder and another base.

    Only files that differ are written.
    """
    workspace.folder.rename(folder)
    result = replace(workspace, folder=folder, base=base, tree=None)
    if base != workspace.base:
        _write_branch(result.checkout / ".git", branch, base)
        _check_out(result)
    return result


def _check_out(workspace: Workspace) -> None:
    """Give the checkout the base's files. The branch and HEAD are set already."""
    isolated_git(workspace.checkout).run(["read-tree", "-m", "-u", workspace.base])
    # copy2 keeps the index's own time: git needs it to know which files may have
    # changed within the same tick of the clock.
    shutil.copy2(workspace.checkout / ".git" / "index", workspace.index)


def trust_times(workspace: Workspace, file: Path) -> None:
    """Let git trust the times of the checkout's files, if the clock has moved on since
    they were written.

    To be called before the agent starts, with a file that was written just now. What
    the agent writes cannot have an older time than that, so a file with the time that
    the checkout gave it is the checkout's. Without this, git reads every file again
    that is as old as the index, and these are many in a checkout made within one tick
    of the clock.
    """
    now = file.stat().st_mtime_ns
    if now > workspace.index.stat().st_mtime_ns:
        os.utime(workspace.index, ns=(now, now))


def capture(workspace: Workspace) -> Capture:
    """The tree that the agent left, without ignored files. Its new objects are in
    `workspace.objects`.

    What git cannot take is left out and named: a path that it refuses, a repository
    that the agent made, files below a submodule. Raises GitFailed if the checkout is
    gone or git cannot work there at all.
    """
    if not workspace.checkout.is_dir():
        raise GitFailed(["add", "-A"], 128, "the agent deleted its checkout")
    git = _capture_git(workspace)
    before = _index_state(workspace.index)
    agent_index = _agent_index(workspace)
    refused = add_all(git)
    left_out = [explain(git, workspace.checkout, path) for path in refused]
    if agent_index is not None:
        left_out += add_forced(git, agent_index)
    submodules = gitlinks(git, workspace.index)
    # git replaces the index whenever it adds or removes anything
    if _index_state(workspace.index) == before:
        left_out += _below_submodules(workspace, submodules)
        return Capture(None, _new(workspace, left_out))
    tree = git.text(["write-tree"]).strip()
    nested = _nested_repositories(workspace, tree) if submodules else []
    if nested:
        tree = _with_entries(git, workspace, [(c.path, c.old) for c in nested])
    paths = [change.path for change in nested]
    left_out += [nested_repository(path) for path in paths]
    left_out += _below_submodules(workspace, set(submodules) - set(paths))
    if workspace.prepared:
        tree = _without_prepared(workspace, git, tree)
    base_tree = workspace.tree or _base_tree(workspace)
    return Capture(
        None if tree == base_tree else tree,
        _new(workspace, left_out),
    )


def _agent_index(workspace: Workspace) -> Path | None:
    """A copy of the index in the agent's `.git`, None if it is as the checkout made it."""
    index = workspace.checkout / ".git" / "index"
    try:
        if index.resolve() != workspace.checkout.resolve() / ".git" / "index":
            return None  # it leads elsewhere
        if not index.is_file() or index.stat().st_size > _MAX_INDEX_BYTES:
            return None
        data = index.read_bytes()
        if data == workspace.index.read_bytes():
            return None
        copy = workspace.folder / "agent.index"
        copy.write_bytes(data)
    except OSError:
        return None
    return copy


def check_out(workspace: Workspace, tree: str) -> None:
    """Give the checkout the files of a captured tree."""
    _capture_git(workspace).run(["read-tree", "--reset", "-u", tree])


def _capture_git(workspace: Workspace) -> Git:
    """The git that captures the checkout, with the index outside of it."""
    env = {
        "GIT_WORK_TREE": str(workspace.checkout),
        "GIT_INDEX_FILE": str(workspace.index),
    }
    return replace(workspace.git.with_env(env), cwd=workspace.checkout)


def _new(workspace: Workspace, left_out: Iterable[LeftOut]) -> tuple[LeftOut, ...]:
    """Those that set-up had not left there already."""
    return tuple(each for each in left_out if each.path not in workspace.left_out)


def _nested_repositories(workspace: Workspace, tree: str) -> list[Change]:
    """The paths where git took a repository for a new submodule."""
    nested = []
    for change in _changes(workspace, tree):
        was_submodule = change.old is not None and change.old[0] == GITLINK
        if change.new is not None and change.new[0] == GITLINK and not was_submodule:
            nested.append(change)
    return nested


def _below_submodules(workspace: Workspace, paths: Iterable[str]) -> list[LeftOut]:
    """The submodules of the base with files that their commits do not explain."""
    checked_out = {submodule.path: submodule for submodule in workspace.submodules}
    left_out = []
    for path in sorted({*paths, *checked_out}):
        submodule = checked_out.get(path)
        if submodule is not None:
            if _submodule_tree(workspace, submodule) != submodule.tree:
                left_out.append(LeftOut(path, "is a submodule with changed files"))
            continue
        folder = workspace.checkout / path
        if not folder.is_dir() or not any(folder.iterdir()):
            continue
        if (folder / ".git").exists():
            reason = "is a submodule that the agent checked out"
            left_out.append(LeftOut(path, reason, harmless=True))
        else:
            reason = "is a submodule without its repository, and has new files"
            left_out.append(LeftOut(path, reason))
    return left_out


def _submodule_tree(workspace: Workspace, submodule: Submodule) -> str | None:
    """The tree of the submodule's files now; None if git cannot take them."""
    folder = workspace.checkout / submodule.path
    if not folder.is_dir():
        return None
    # its own index and objects: the agent's .git is not read
    scratch = replace(workspace, capture=submodule.capture)
    env = {
        "GIT_WORK_TREE": str(folder),
        "GIT_INDEX_FILE": str(submodule.capture / "capture.index"),
    }
    git = replace(scratch.git.with_env(env), cwd=folder)
    try:
        git.run(["read-tree", submodule.tree])
        git.run(["add", "-A", "--", "."])
        return git.text(["write-tree"]).strip()
    except GitFailed:
        return None


def record_preparation(workspace: Workspace) -> Workspace:
    """The workspace after set-up, before the agent: what differs from the base now is
    not the agent's work.
    """
    captured = capture(workspace)
    paths = {left_out.path for left_out in captured.left_out}
    trees = [_submodule_tree(workspace, each) for each in workspace.submodules]
    submodules = tuple(
        replace(submodule, tree=tree) if tree is not None else submodule
        for submodule, tree in zip(workspace.submodules, trees, strict=True)
    )
    changed_submodules = {submodule.path for submodule in workspace.submodules}
    prepared = workspace.prepared
    if captured.tree is not None:
        prepared = tuple(_changes(workspace, captured.tree))
    return replace(
        workspace,
        submodules=submodules,
        prepared=prepared,
        # a submodule's files are compared with what set-up made of them
        left_out=workspace.left_out | (paths - changed_submodules),
    )


def _without_prepared(workspace: Workspace, git: Git, tree: str) -> str:
    """The tree in which paths that are as set-up left them are the base's again."""
    changed = {change.path: change for change in _changes(workspace, tree)}
    unchanged = []
    for prepared in workspace.prepared:
        now = changed.get(prepared.path)
        if now is None or now.new != prepared.new:
            continue  # the agent changed it after set-up
        unchanged.append((prepared.path, prepared.old))
    return _with_entries(git, workspace, unchanged)


def _with_entries(
    git: Git,
    workspace: Workspace,
    entries: Iterable[tuple[str, tuple[str, str] | None]],
) -> str:
    """The index's tree with these (mode, object) at these paths; None removes a path."""
    lines = []
    for path, entry in entries:
        mode, blob = entry or ("0", "0" * len(workspace.base))
        lines.append(f"{mode} {blob}\t".encode() + os.fsencode(path) + b"\0")
    git.run(["update-index", "-z", "--index-info"], stdin=b"".join(lines))
    return git.text(["write-tree"]).strip()


def _changes(workspace: Workspace, tree: str) -> list[Change]:
    output = workspace.git.run([*diff.RAW, f"{workspace.base}^{{tree}}", tree])
    return diff.parse_raw(output)


def _index_state(index: Path) -> tuple[int, int, int]:
    stat = index.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _base_tree(workspace: Workspace) -> str:
    return workspace.git.text(["rev-parse", f"{workspace.base}^{{tree}}"]).strip()


def first_secret(
    workspace: Workspace, tree: str, secrets: Secrets
) -> tuple[str, str] | None:
    """(path, secret's name) of the first new file or new path in `tree` with a secret;
    None if no file or path holds a secret.
    """
    if not secrets:
        return None
    changes = _changes(workspace, tree)
    reader = ObjectReader(workspace.git)
    try:
        return secret_search.first_secret(changes, secrets, reader)
    finally:
        reader.close()


def write_pack(workspace: Workspace, tree: str, pack: Path) -> None:
    """Write the objects of `tree` that the base lacks to the file `pack`, as a thin
    pack.
    """
    with pack.open("wb") as sink:
        append_pack(workspace, f"{tree}\n^{workspace.base}^{{tree}}\n", sink)


def append_pack(workspace: Workspace, revisions: str, sink: BinaryIO) -> None:
    """Write the objects of the revisions, as `git rev-list` reads them, to `sink` as a
    thin pack, durably.
    """
    # thin: a delta may be against an object of the base, which the reader has
    argv = [
        *("pack-objects", "-q", "--thin", "--stdout", "--revs"),
        "--delta-base-offset",
    ]
    # git writes to the file itself
    sink.flush()
    workspace.git.run(argv, stdin=revisions.encode(), stdout=sink)
    durable.sync(sink.fileno())


def _borrow(origin: Origin, git_dir: Path) -> None:
    """Let a git directory use the origin's objects and ignore files."""
    info = git_dir / "objects" / "info"
    info.mkdir(parents=True, exist_ok=True)
    folders = [origin.git_dir / "objects", *origin.objects]
    (info / "alternates").write_bytes(alternates(folders))
    # The last pattern in the file wins, as the repository's own exclude file does in git.
    excludes = [*origin.excludes, origin.git_dir / "info" / "exclude"]
    patterns = [path.read_bytes() for path in excludes if path.is_file()]
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info" / "exclude").write_bytes(b"\n".join(patterns))
    shallow = origin.git_dir / "shallow"
    if shallow.exists():  # a clone without its history, as on GitHub Actions
        shutil.copy(shallow, git_dir / "shallow")
