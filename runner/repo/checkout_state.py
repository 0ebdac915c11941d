"""What anyone can change in a repository beside a run: HEAD, refs, index, tracked files,
stash, configuration and hooks, with those of submodules.

`stamps` reads nothing but the status of files, so it takes no longer in a large
repository. Git is asked only about parts whose stamps have changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from runner.core.errors import GitFailed
from runner.policy.change import Change
from runner.repo import work_tree
from runner.repo.repository import Repository

# Fanin's own, and what `git fetch` of an editor moves all the time.
_UNWATCHED_REFS = ("refs/fanin/", "refs/remotes/")
_STASH = "refs/stash"
# Of a file: inode, size, mode, and times of the content and of the inode in ns. Nobody
# can set the last one back. For a link, those of what it leads to follow.
Stamp = tuple[int, ...]
_STAMP_LENGTH = 5
_MAX_CONFIG_BYTES = 2**20
_MAX_FILES = 500  # of hooks, or of a folder with configuration
_MAX_DEPTH = 3  # of the folders in such a folder
_MAX_MODULES = 100


class Part(Enum):
    """A part of the repository that is compared as a whole."""

    HEAD = "head"
    REFS = "refs"
    INDEX = "index"
    STASH = "stash"
    CONFIGURATION = "configuration"
    HOOKS = "hooks"


Stamps = Mapping[Part, Mapping[Path, Stamp]]


class CheckoutState(NamedTuple):
    """What the parts hold. `head` is `refs/heads/BRANCH` or a commit, "" before the first.

    `refs` are without fanin's own and those of remotes. `dirty` are the tracked paths
    that differ from HEAD. `configuration` is the text of the files, by path; the other
    mappings have a stamp for each file.
    """

    head: str = ""
    refs: Mapping[str, str] | None = None
    dirty: frozenset[str] = frozenset()
    stash: Mapping[Path, Stamp] | None = None
    configuration: Mapping[Path, bytes] | None = None
    hooks: Mapping[Path, Stamp] | None = None


class Commit(NamedTuple):
    """A commit; `author` and `committer` are `NAME <EMAIL>`."""

    commit: str
    author: str
    committer: str
    subject: str


class CheckoutFiles:
    """The files of a repository that tell whether somebody changed it."""

    def __init__(self, repo: Repository, others: Sequence[Path] = ()) -> None:
        """`others` are files, and folders of files, that count as configuration too.

        Raises GitFailed if git cannot read its configuration.
        """
        self._repo, self._others = repo, others
        git_dir, own = repo.git_dir, repo.own_git_dir
        modules = _module_folders(git_dir)
        configured = _configured(repo)
        self._hooks = [
            _hooks_folder(repo, configured),
            *(each / "hooks" for each in modules),
        ]
        # those with keys
        self._settings_files = {
            *(git_dir / "config", own / "config.worktree"),
            *(each / "config" for each in modules),
            *_settings_files(repo, configured),
        }
        self._config_files = (
            *sorted(self._settings_files),
            *(git_dir / "info" / "exclude", git_dir / "info" / "attributes"),
            *(git_dir / "info" / "sparse-checkout", git_dir / "info" / "grafts"),
            *(git_dir / "shallow", git_dir / "commondir"),
            git_dir / "objects" / "info" / "alternates",
        )

    def stamps(self) -> Stamps:
        """The stamps of all files, by part; of those that do not exist none."""
        repo, git_dir = self._repo, self._repo.git_dir
        refs = _stamps_of([git_dir / "packed-refs", git_dir / "reftable/tables.list"])
        refs |= _stamps_below(git_dir / "refs", git_dir)
        stash = refs.pop(git_dir / _STASH, None)
        stashes = _stamps_of([git_dir / "logs" / _STASH])
        if stash is not None:
            stashes[git_dir / _STASH] = stash
        return {
            Part.HEAD: _stamps_of([repo.own_git_dir / "HEAD"]),
            Part.REFS: refs,
            Part.INDEX: _stamps_of([self.index]),
            Part.STASH: stashes,
            Part.CONFIGURATION: self._configuration(),
            Part.HOOKS: _stamps_of(
                [path for folder in self._hooks for path in _files_in(folder)]
            ),
        }

    def _configuration(self) -> dict[Path, Stamp]:
        stamps = _stamps_of(self._config_files)
        for path in self._others:
            stamps |= _stamps_of(_files_in(path) if path.is_dir() else [path])
        for folder in _entries(str(self._repo.git_dir / "worktrees")):
            files = (Path(folder.path, "gitdir"), Path(folder.path, "config.worktree"))
            stamps |= _stamps_of(files)
        # The folder itself has other times after each lock in it.
        dot_git = self._repo.root / ".git"
        stamps |= {path: stamp[:1] for path, stamp in _stamps_of([dot_git]).items()}
        return stamps

    @property
    def index(self) -> Path:
        return self._repo.own_git_dir / "index"

    def read(
        self, parts: Set[Part], stamps: Stamps, before: CheckoutState
    ) -> CheckoutState:
        """The state where these parts are read anew, and the others are as `before`.

        Raises GitFailed if git cannot read one.
        """
        repo, state = self._repo, before
        if Part.REFS in parts:
            refs = repo.refs("refs/")
            watched = {
                ref: commit
                for ref, commit in refs.items()
                if not ref.startswith(_UNWATCHED_REFS) and ref != _STASH
            }
            state = state._replace(refs=watched)
        # With reftable, HEAD is in the same file as the refs.
        if parts & {Part.HEAD, Part.REFS}:
            branch = repo.current_branch()
            head = f"refs/heads/{branch}" if branch else repo.commit("HEAD") or ""
            state = state._replace(head=head)
        if parts & {Part.HEAD, Part.INDEX}:
            dirty = work_tree.dirty_paths(repo, repo.root)
            state = state._replace(dirty=frozenset(dirty))
        if Part.CONFIGURATION in parts:
            files = stamps[Part.CONFIGURATION]
            texts = {path: _text(path) for path in files}
            state = state._replace(configuration=texts)
        return state._replace(stash=stamps[Part.STASH], hooks=stamps[Part.HOOKS])

    def changed_settings(
        self, before: Mapping[Path, bytes], after: Mapping[Path, bytes]
    ) -> list[str]:
        """The keys that differ between the files' texts; the name of a file without keys."""
        names: set[str] = set()
        for path in {*before, *after}:
            old, new = before.get(path, b""), after.get(path, b"")
            if old == new:
                continue
            differing: set[tuple[str, str]] = set()
            if path in self._settings_files:
                differing = self._settings(old) ^ self._settings(new)
            names |= {key for key, _ in differing} or {self._name(path)}
        return sorted(names)

    def _name(self, path: Path) -> str:
        """The path as people know it."""
        for folder in (self._repo.git_dir, self._repo.root):
            if path != folder and path.is_relative_to(folder):
                return str(path.relative_to(folder))
        home = os.environ.get("HOME", "")
        if home and path.is_relative_to(home):
            return f"~/{path.relative_to(home)}"
        return str(path)

    def _settings(self, text: bytes) -> set[tuple[str, str]]:
        """The keys of a configuration file with their values."""
        argv = ["config", "--file", "-", "-z", "--list"]
        output = self._repo.git.run_unchecked(argv, stdin=text).stdout
        items = output.decode("utf-8", "replace").split("\0")[:-1]
        pairs = [item.partition("\n") for item in items]
        return {(key, value) for key, _, value in pairs}


def special_files(stamps: Stamps) -> list[Path]:
    """The files that are neither regular ones nor folders, such as named pipes: a program
    that opens one may wait for ever.
    """
    return [
        path
        for files in stamps.values()
        for path, stamp in files.items()
        # of a link, what it leads to
        if len(stamp) > 1 and not _is_ordinary(stamp[2 - _STAMP_LENGTH])
    ]


def _is_ordinary(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def new_commits(
    repo: Repository, old: str | None, new: str, own: Sequence[str], most: int
) -> tuple[list[Commit], int]:
    """The newest commits that `new` has and neither `old` nor `own` ones have, and how
    many there are in all. Without `old` only the newest.
    """
    if old is None:
        most, span = 1, ["--max-count=1", new]
    else:
        span = [new, "--not", old, *own]
    commits = _log(repo, [f"--max-count={most}", *span])
    if len(commits) < most or old is None:
        return commits, len(commits)
    return commits, int(repo.git.text(["rev-list", "--count", *span]))


def readable_commit(repo: Repository, name: str) -> list[Commit]:
    """The commit itself, whether or not its parents exist; [] if git cannot read it."""
    try:
        return _log(repo, ["--no-walk", name])
    except GitFailed:
        return []


def _log(repo: Repository, span: Sequence[str]) -> list[Commit]:
    form = "%H%x00%an <%ae>%x00%cn <%ce>%x00%s"
    commits = []
    for line in repo.git.text(["log", f"--format={form}", *span]).splitlines():
        fields = line.split("\0")
        if len(fields) == 4:
            commits.append(Commit(*fields))
    return commits


def follows(repo: Repository, old: str, new: str) -> bool:
    """Whether `new` has all commits of `old`, of which one may be gone."""
    try:
        return repo.is_ancestor(old, new)
    except GitFailed:
        return False


def work_since(repo: Repository, old: str, new: str) -> list[Change]:
    """How the tree of `new` differs from that of `old`; [] if one is gone."""
    try:
        return repo.changes(old, new)
    except GitFailed:
        return []


class _Configured(NamedTuple):
    """A line of git's configuration, and where it is: `file:PATH` or `command line:`."""

    origin: str
    key: str
    value: str


def _configured(repo: Repository) -> list[_Configured]:
    """All that git has as its configuration now, in the order in which it counts."""
    argv = ["config", "--includes", "--show-origin", "-z", "--list"]
    fields = repo.git.text(argv).split("\0")
    lines = []
    for origin, line in zip(fields[::2], fields[1::2], strict=False):
        key, _, value = line.partition("\n")
        lines.append(_Configured(origin, key, value))
    return lines


def _hooks_folder(repo: Repository, configured: Iterable[_Configured]) -> Path:
    """Where git looks for hooks. Fanin's own git runs none, so it cannot be asked."""
    values = [line.value for line in configured if line.key == "core.hookspath"]
    if any(value.startswith(("~", "%(")) for value in values):
        # a user's home, or where git is installed
        argv = ["config", "--path", "--get-all", "core.hooksPath"]
        values = repo.git.text(argv, ok=(0, 1)).splitlines()
    own = [value for value in values if value != os.devnull]
    return repo.root / own[-1] if own else repo.git_dir / "hooks"


def _settings_files(repo: Repository, configured: Iterable[_Configured]) -> list[Path]:
    """The files that git reads its configuration from beside the repository's own, with
    those that they include, and where a person's would be.
    """
    origins = dict.fromkeys(line.origin for line in configured)
    files = [
        repo.root / origin.removeprefix("file:")
        for origin in origins
        if origin.startswith("file:")
    ]
    home = os.environ.get("HOME", "")
    folder = os.environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config")
    if home:
        files.append(Path(home, ".gitconfig"))
    if folder:
        files.append(Path(folder, "git", "config"))
    return files


def _module_folders(git_dir: Path) -> list[Path]:
    """The git directories of submodules, whose names may have slashes."""
    found: list[Path] = []
    folders = [str(git_dir / "modules")]
    while folders and len(found) < _MAX_MODULES:
        for entry in _entries(folders.pop()):
            if not entry.is_dir(follow_symlinks=False):
                continue
            if os.path.lexists(f"{entry.path}/HEAD"):
                found.append(Path(entry.path))
                folders.append(f"{entry.path}/modules")
            else:
                folders.append(entry.path)
    return found


def _text(path: Path) -> bytes:
    """What the file holds; of a folder its inode, and of a link also where it leads."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            return str(path.stat().st_ino).encode()
        link = b""
        if path.is_symlink():  # as a comment, so that the keys can still be read
            link = b"# " + os.fsencode(path.readlink()).replace(b"\n", b" ") + b"\n"
        # A pipe would never end.
        if not path.is_file():
            return link or b"no file"
        with path.open("rb") as stream:
            return link + stream.read(_MAX_CONFIG_BYTES)
    return b""


def _files_in(folder: Path) -> list[Path]:
    """The files below the folder, without samples of hooks, which git never runs.

    Not those of folders too deep or too large to look at each time.
    """
    found: list[Path] = []
    folders = [(str(folder), 1)]
    while folders:
        parent, depth = folders.pop()
        for entry in _entries(parent):
            if len(found) >= _MAX_FILES:
                return found
            if not entry.is_dir(follow_symlinks=False):
                if not entry.name.endswith(".sample"):
                    found.append(Path(entry.path))
            elif depth < _MAX_DEPTH:
                folders.append((entry.path, depth + 1))
    return found


def _stamps_of(paths: Sequence[Path]) -> dict[Path, Stamp]:
    found = {}
    for path in paths:
        with suppress(OSError):
            status = os.lstat(path)
            found[path] = stamp_of(status)
            if stat.S_ISLNK(status.st_mode):
                found[path] += stamp_of(os.stat(path))  # noqa: PTH116 - as os.lstat
    return found


def stamp_of(status: os.stat_result) -> Stamp:
    return (
        status.st_ino,
        status.st_size,
        status.st_mode,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _stamps_below(folder: Path, git_dir: Path) -> dict[Path, Stamp]:
    """The stamps of the files of refs in the folder that are watched."""
    found: dict[Path, Stamp] = {}
    folders = [(str(folder), "refs/")]
    while folders:
        parent, name = folders.pop()
        for entry in _entries(parent):
            ref = f"{name}{entry.name}"
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    if f"{ref}/" not in _UNWATCHED_REFS:
                        folders.append((entry.path, f"{ref}/"))
                    continue
                status = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(status.st_mode) or not ref.endswith(".lock"):
                    found[git_dir / ref] = stamp_of(status)
    return found


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as entries:
        yield from entries
