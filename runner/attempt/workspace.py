"""An agent's checkout: made from the base, moved to another one, or made anew.

Its own `.git` is the agent's: it borrows the repository's objects and has no remote.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from runner.attempt.emptied_folders import EmptiedFolders, FolderState
from runner.attempt.git_directory import Seed
from runner.attempt.included_files import NOTHING, Included
from runner.core.errors import GitFailed
from runner.core.folders import remove_folder
from runner.core.regular_file import open_regular
from runner.policy.change import Change
from runner.repo.command import TIME_LIMIT, Git, isolated_git
from runner.repo.objects import format_of
from runner.repo.origin import Origin, alternates

_MAX_INDEX_BYTES = 2**30
# Bytes of what git prints about a result. A list of a million paths has a tenth of it; a
# tree that holds itself many times over would fill the memory.
_MAX_GIT_OUTPUT = 2**30
# Bytes of an index that stays in memory, which there are as many as attempts.
_MAX_INDEX_IN_MEMORY = 2**18


class Submodule(NamedTuple):
    """A submodule that fanin checked out at `path`: the contents of a git directory to
    capture it with, the tree of its commit, and the tree that its files were before the
    agent, None if git could not take them then.
    """

    path: str
    seed: Seed
    commit_tree: str
    tree: str | None


class Start(NamedTuple):
    """What is in a checkout beside its base before the agent: what its prompt says of it,
    and a warning for people, "" if there is nothing to say. `marked` are the files with
    markers of conflicts.
    """

    text: str = ""
    warning: str = ""
    marked: tuple[str, ...] = ()


class CaptureLimits(NamedTuple):
    """What git may take for work that an agent left.

    timeout: seconds, for each command.
    cancel: ends it when set.
    max_bytes: of changed files; None: any number.
    """

    timeout: float = TIME_LIMIT
    cancel: threading.Event | None = None
    max_bytes: int | None = None

    def applied_to(self, git: Git) -> Git:
        return git._replace(
            timeout=self.timeout, cancel=self.cancel, max_output=_MAX_GIT_OUTPUT
        )


_DEFAULT_LIMITS = CaptureLimits()


class IndexRecord(NamedTuple):
    """The index as fanin wrote it, in `data` if it is small; else `digest` tells whether
    the copy of its file is still that. `time` is the file's, in nanoseconds.
    """

    digest: bytes
    time: int
    data: bytes | None = None

    @classmethod
    def of(cls, file: Path, copy: Path) -> IndexRecord:
        """The record of the index in `file`, and its copy if it is large."""
        data, time = file.read_bytes(), file.stat().st_mtime_ns
        if len(data) <= _MAX_INDEX_IN_MEMORY:
            return cls(digest_of(data), time, data)
        copy.write_bytes(data)
        return cls(digest_of(data), time)


class Workspace(NamedTuple):
    """The folder of one attempt on commit `base`.

    `checkout` is for the agent. The git directory `capture` is for fanin alone: it is
    made by `capture()`, from `seed`, under a name that nobody can know before.
    `index_record` is the checkout's index from before the agent, `index_copy` a copy of it
    where it is large, and `git_index` the digest of the checkout's own. `tree` is the base's, if the
    caller knows it. `submodules` are those that are checked out. `prepared` are the
    changes that set-up made before the agent, `left_out` the paths that could not be
    captured then, `set_up` the files of the base that set-up changed. `included` came
    from the person's work tree. `is_moved`: git has just written some of its files, not
    all. `is_ready`: neither set-up nor what is included is needed again.
    `limits` are those of every git command on what is there. `new_folder` is what a folder
    is like that was just made beside the checkout; None: not known.
    """

    folder: Path
    base: str
    seed: Seed
    capture: Path
    index_record: IndexRecord
    git_index: bytes
    tree: str | None = None
    submodules: tuple[Submodule, ...] = ()
    prepared: tuple[Change, ...] = ()
    left_out: frozenset[str] = frozenset()
    set_up: tuple[str, ...] = ()
    included: Included = NOTHING
    is_moved: bool = False
    is_ready: bool = False
    limits: CaptureLimits = _DEFAULT_LIMITS
    new_folder: FolderState | None = None

    @property
    def checkout(self) -> Path:
        return _checkout_in(self.folder)

    @property
    def index_copy(self) -> Path:
        return _index_in(self.folder)

    @property
    def object_format(self) -> str:
        """`sha1` or `sha256`, as the base's id has it."""
        return format_of(self.base)

    @property
    def number_of_files(self) -> int:
        """How many files the index has, by its header. To be asked before the agent."""
        data = self.index_record.data
        if data is None:
            with self.index_copy.open("rb") as file:
                data = file.read(12)
        return int.from_bytes(data[8:12])

    @property
    def objects(self) -> Path:
        """The folder of the objects that `capture()` and later steps write."""
        return self.capture

    @property
    def git(self) -> Git:
        """Git that works in the git directory `capture`, once that is made."""
        git = isolated_git(self.folder, self.seed.environment(self.capture))
        return self.limits.applied_to(git)

    def remove(self) -> None:
        remove_folder(self.folder)


def create(
    origin: Origin,
    base: str,
    folder: Path,
    branch: str,
    seed: Seed | None = None,
    folders: EmptiedFolders | None = None,
) -> Workspace:
    """Make a checkout of commit `base` in `folder`, on a branch of that name.

    `seed` is one of this origin, from a folder on the same file system; None: make one.
    `folders` are those to take one of. Raises GitFailed if git cannot.
    """
    new_folder = None
    if folders is None:
        folder.mkdir(parents=True)
    else:
        new_folder = folders.make(folder)
    if seed is None:
        seed = Seed.of(origin, folder)
    seed.write_for_agent(_checkout_in(folder) / ".git", branch, base)
    record = _check_out(folder, base)
    space = Workspace(folder, base, seed, new_capture(folder), record, record.digest)
    return space._replace(new_folder=new_folder)


def moved(workspace: Workspace, base: str, folder: Path, branch: str) -> Workspace:
    """Move a workspace that no agent has used yet to another folder and another base.

    Only files that differ are written. Raises GitFailed if git cannot, or if another
    attempt's agent has changed the index or a file.
    """
    workspace.folder.rename(folder)
    workspace = workspace._replace(folder=folder)
    _refuse_touched(renew_git_directory(workspace, base, branch))
    record = workspace.index_record
    if base != workspace.base:
        record = _check_out(folder, base)
        workspace = workspace._replace(is_moved=True)
    return _at(workspace, base, record)


def borrowing(workspace: Workspace, origin: Origin) -> Workspace:
    """The workspace with another origin, which has its commit too. What set-up has made
    of the git directory stays.
    """
    seed = workspace.seed.borrowing(origin)
    file = workspace.checkout / ".git" / "objects" / "info" / "alternates"
    data = read_regular(file)
    if data is None:
        raise GitFailed(["init"], 128, f"set-up has removed {file}")
    data = data.replace(alternates(workspace.seed.objects), alternates(seed.objects))
    try:
        copy = file.with_name(f"alternates-{token_hex(8)}")
        copy.write_bytes(data)
        copy.replace(file)
    except OSError as error:
        raise GitFailed(["init"], 128, str(error)) from None
    return workspace._replace(seed=seed)


def _refuse_touched(git: Git) -> None:
    """Raise GitFailed unless the checkout has the files of its index and no others.

    The index has the change time (ctime) of each, which no program can set back.
    """
    # Neither waits for the other: somebody waits for both.
    with git.beside(["ls-files", "--others"]) as others:
        refuse_changed(git)
        if others():
            raise GitFailed(["ls-files"], 1, "a spare checkout was changed")


def refuse_changed(git: Git) -> None:
    """Raise GitFailed if a file of the index was changed, or a pipe is there."""
    # Git sees no pipes, and opens one that is called .gitattributes.
    _, special = folders_of(git.cwd)
    if special or git.status(["diff-files", "--quiet"]):
        raise GitFailed(["diff-files"], 1, "a spare checkout was changed")


def folders_of(checkout: Path) -> tuple[list[str], list[str]]:
    """The checkout and every folder in it but its `.git`; and what is neither a file nor
    a folder nor a link. OSError if a folder cannot be read.
    """
    folders, special = [str(checkout)], []
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) or entry.is_symlink():
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    special.append(entry.path)
                elif entry.name != ".git" or folder != folders[0]:
                    folders.append(entry.path)
    return folders, special


def renew_git_directory(workspace: Workspace, base: str, branch: str) -> Git:
    """Make the checkout's `.git` anew, on commit `base`, with the index of before. The
    files stay as they are.

    Returns the git of the checkout. Raises GitFailed if an agent has changed the index.
    """
    record = workspace.index_record
    data = index_data(workspace)
    if data is None:
        raise GitFailed(["read-tree"], 128, "the index of a spare checkout was changed")
    # An agent may have changed the rest as well: fanin's git reads none of it.
    git_dir = workspace.checkout / ".git"
    if git_dir.is_dir() or git_dir.is_symlink():
        remove_folder(git_dir)
    else:
        git_dir.unlink(missing_ok=True)
    workspace.seed.write_for_agent(git_dir, branch, base)
    write_index(git_dir / "index", data, record.time)
    return isolated_git(workspace.checkout)


def reset_files(workspace: Workspace, base: str) -> Workspace:
    """Give every file of the index the content that it has in commit `base`, and remove
    those that are not in it. Other files stay.

    To be called with a new git directory. Raises GitFailed if git cannot.
    """
    record = _check_out(workspace.folder, base, "--reset")
    return _at(workspace, base, record)


def keep_files(workspace: Workspace) -> Workspace:
    """The workspace with its new git directory and the files that it has."""
    return _at(workspace, workspace.base, workspace.index_record)


def move_files(workspace: Workspace, base: str) -> Workspace:
    """Give the files of the index, which are as it has them, the content of commit `base`.
    Other files stay.

    To be called with a new git directory. Raises GitFailed if git cannot.
    """
    return _at(workspace, base, _check_out(workspace.folder, base))


def write_files(workspace: Workspace, git: Git, paths: Iterable[str]) -> Workspace:
    """Write those files of the index at these paths that are not as git wrote them.

    To be called with a new git directory. Raises GitFailed if git cannot.
    """
    lines = b"".join(os.fsencode(path) + b"\0" for path in paths)
    git.run(["checkout-index", "-q", "-f", "-u", "-z", "--stdin"], stdin=lines)
    return _with_own_index(workspace)


def remove_beside(workspace: Workspace) -> None:
    """Remove what an agent and fanin left beside the checkout and the copy of its index.
    Raises GitFailed if something stays.
    """
    kept = {workspace.checkout.name, workspace.index_copy.name}
    names = os.listdir(workspace.folder)  # noqa: PTH208
    remove_paths(workspace.folder, [name for name in names if name not in kept])


def remove_paths(folder: Path, paths: Iterable[str]) -> None:
    """Remove these files and folders. Raises GitFailed if one stays."""
    for path in paths:
        place = folder / path
        if place.is_dir() and not place.is_symlink():
            remove_folder(place)
        else:
            place.unlink(missing_ok=True)
        if os.path.lexists(place):
            raise GitFailed(["clean"], 1, f"{place} cannot be removed")


def write_again(workspace: Workspace) -> Workspace:
    """Write each file of the index that is not as git wrote it. Other files stay.

    To be called with a new git directory. Raises GitFailed if git cannot.
    """
    git = isolated_git(workspace.checkout)
    git.run(["checkout-index", "-q", "-f", "-u", "-a"])
    return _with_own_index(workspace)


def _with_own_index(workspace: Workspace) -> Workspace:
    """The workspace with the index that the checkout has now."""
    own = workspace.checkout / ".git" / "index"
    record = IndexRecord.of(own, workspace.index_copy)
    return _at(workspace, workspace.base, record)


def _at(workspace: Workspace, base: str, record: IndexRecord) -> Workspace:
    return workspace._replace(
        base=base,
        tree=None,
        capture=new_capture(workspace.folder),
        index_record=record,
        git_index=record.digest,
    )


def _checkout_in(folder: Path) -> Path:
    return folder / "checkout"


def _index_in(folder: Path) -> Path:
    return folder / "checkout.index"


def new_capture(folder: Path) -> Path:
    """Where to capture: nothing is there, and no agent can put anything there."""
    return folder / f"capture-{token_hex(16)}"


def _check_out(folder: Path, base: str, how: str = "-m") -> IndexRecord:
    """Give the checkout the base's files. The branch and HEAD are set already."""
    checkout = _checkout_in(folder)
    isolated_git(checkout).run(["read-tree", how, "-u", base])
    # with the index's own time: git needs it to know which files may have changed within
    # the same tick of the clock
    return IndexRecord.of(checkout / ".git" / "index", _index_in(folder))


def is_there(checkout: Path) -> bool:
    """Whether the agent has left its checkout.

    A link in its place is none: what it leads to would be taken for the task's work.
    """
    return checkout.is_dir() and not checkout.is_symlink()


def write_index(file: Path, data: bytes, time: int) -> None:
    file.write_bytes(data)
    os.utime(file, ns=(time, time))


def index_data(workspace: Workspace) -> bytes | None:
    """The index as fanin wrote it, None if it is another one now."""
    record = workspace.index_record
    if record.data is not None:
        return record.data
    data = read_regular(workspace.index_copy)
    return data if data is not None and digest_of(data) == record.digest else None


def digest_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def read_regular(file: Path, max_bytes: int = _MAX_INDEX_BYTES) -> bytes | None:
    """The bytes of a file that an agent can reach; None if it is anything but a regular
    file of at most that size.
    """
    stream = open_regular(file)
    if stream is None:
        return None
    with stream, suppress(OSError):
        if os.fstat(stream.fileno()).st_size <= max_bytes:
            return stream.read()
    return None
