"""An agent's checkout: made from the base, and what the agent left in it captured as a
git tree.

The checkout's own `.git` is the agent's: it borrows the repository's objects and has no
remote. Work is captured with a second git directory and index outside the checkout,
because `core.fsmonitor` or a clean filter set in the agent's `.git` would run code.
Plain git processes and no GitPython: a matrix leg installs as little as it can.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.core import durable
from runner.core.errors import GitFailed
from runner.policy.redaction import Secrets
from runner.repo.command import AUTHOR, git
from runner.repo.origin import Origin, _quoted, alternates
from runner.repo.secret_search import leak_in_blobs

_ON_DEMAND = ("objects/pack", "refs/tags")  # git makes them when it needs them
_AGENT = (
    f"[user]\n\tname = fanin agent\n\temail = {AUTHOR['GIT_AUTHOR_EMAIL']}\n".encode()
)


@dataclass(frozen=True)
class Workspace:
    """One attempt's folder: `checkout` for the agent; `index`, `objects` and the git
    directory `capture`, which several may share, for fanin alone. `tree` is the base's,
    where it is known already.
    """

    folder: Path
    base: str
    capture: Path
    tree: str | None = None

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
    def env(self) -> dict[str, str]:
        """Makes git read with the capture's eyes, and write objects to this workspace
        alone.
        """
        borrowed = os.fsdecode(_quoted(self.capture / "objects", special=b'"\\:'))
        return {
            "GIT_DIR": str(self.capture),
            "GIT_OBJECT_DIRECTORY": str(self.objects),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": borrowed,
        }

    def remove(self) -> None:
        remove_folder(self.folder)


@dataclass(frozen=True)
class Seed:
    """A git directory that borrows the origin's objects, to capture with, and what is
    in it, to be written again and again: every agent gets one of its own.
    """

    capture: Path
    folders: tuple[str, ...]
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, origin: Origin, where: Path) -> Seed:
        """Let git make it in the folder `where`, because what is in it depends on the
        disk.
        """
        where.mkdir(parents=True, exist_ok=True)
        git(
            [
                "init",
                "-q",
                "--template=",
                f"--object-format={origin.object_format}",
                str(where),
            ],
            cwd=where,
        )
        own = where / ".git"
        _borrow(origin, own)
        found = [
            path
            for path in sorted(own.rglob("*"))
            if str(path.relative_to(own)) not in _ON_DEMAND
        ]
        files = {
            str(path.relative_to(own)): path.read_bytes()
            for path in found
            if path.is_file()
        }
        return cls(
            own,
            tuple(str(path.relative_to(own)) for path in found if path.is_dir()),
            files,
        )

    def plant(self, git_dir: Path, branch: str, commit: str) -> None:
        """Write an agent's git directory, with the branch checked out."""
        git_dir.mkdir(parents=True)
        where = str(git_dir)
        for name in self.folders:  # parents come first
            os.mkdir(f"{where}/{name}")  # noqa: PTH102 - a Path for each costs as much again
        own = {
            "config": self.files["config"] + _AGENT,
            "HEAD": f"ref: refs/heads/{branch}\n".encode(),
        }
        for name, data in {**self.files, **own}.items():
            (git_dir / name).write_bytes(data)
        _point(git_dir, branch, commit)


def _point(git_dir: Path, branch: str, commit: str) -> None:
    """Let the branch, the only one there, stand at the commit. One file: a loose ref
    and its log are eight.
    """
    header = "# pack-refs with: peeled fully-peeled sorted \n"
    (git_dir / "packed-refs").write_text(f"{header}{commit} refs/heads/{branch}\n")


def create(
    origin: Origin, base: str, folder: Path, branch: str, seed: Seed | None = None
) -> Workspace:
    """A checkout of commit `base` at `folder`/checkout, on a branch of that name.
    GitFailed if git cannot.

    `seed` is this origin's, from a folder on the same disk: what git made there is not
    asked for again.
    """
    folder.mkdir(parents=True)
    if seed is None:
        seed = Seed.of(origin, folder / "seed")
    workspace = Workspace(folder, base, seed.capture)
    workspace.objects.mkdir()
    seed.plant(workspace.checkout / ".git", branch, base)
    _fill(workspace)
    return workspace


def moved(workspace: Workspace, base: str, folder: Path, branch: str) -> Workspace:
    """A workspace that no agent has seen, at another place and on another base; only
    what differs is written.
    """
    workspace.folder.rename(folder)
    there = replace(workspace, folder=folder, base=base, tree=None)
    if base != workspace.base:
        _point(there.checkout / ".git", branch, base)
        _fill(there)
    return there


def _fill(workspace: Workspace) -> None:
    """Give the checkout the base's files. What `git checkout` would do beside that is
    done already.
    """
    git(["read-tree", "-m", "-u", workspace.base], cwd=workspace.checkout)
    # copy2 keeps the index's own time: git tells racily clean files by it.
    shutil.copy2(workspace.checkout / ".git" / "index", workspace.index)


def settle(workspace: Workspace, file: Path) -> None:
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


def capture(workspace: Workspace) -> str | None:
    """The id of the tree the agent left, ignored files left out, None if it is the
    base's; its new objects lie in `workspace.objects`.

    GitFailed if the checkout is gone or holds what git cannot add.
    """
    if not workspace.checkout.is_dir():
        raise GitFailed(["add", "-A"], 128, "the agent deleted its checkout")
    seen = {
        **workspace.env,
        "GIT_WORK_TREE": str(workspace.checkout),
        "GIT_INDEX_FILE": str(workspace.index),
    }
    before = _written(workspace.index)
    git(["add", "-A", "--", "."], cwd=workspace.checkout, env=seen)
    # git writes the index anew whenever it added or removed anything
    if _written(workspace.index) == before:
        return None
    tree = git(["write-tree"], cwd=workspace.folder, env=seen).decode().strip()
    return None if tree == (workspace.tree or _tree_of(workspace)) else tree


def _written(index: Path) -> tuple[int, int, int]:
    found = index.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _tree_of(workspace: Workspace) -> str:
    return (
        _captured(workspace, ["rev-parse", f"{workspace.base}^{{tree}}"])
        .decode()
        .strip()
    )


def leak(workspace: Workspace, tree: str, secrets: Secrets) -> tuple[str, str] | None:
    """(path, secret's name) of the first new file or new path in `tree` that holds a
    secret, None if there is none.
    """
    if not secrets:
        return None
    fields = _captured(
        workspace,
        [
            "diff-tree",
            "-r",
            "-z",
            "--raw",
            "--no-renames",
            "--no-abbrev",
            f"{workspace.base}^{{tree}}",
            tree,
        ],
    ).split(b"\0")
    pairs = [
        (fields[i].decode().split(), os.fsdecode(fields[i + 1]))
        for i in range(0, len(fields) - 1, 2)
    ]
    paths = {
        meta[3]: path for meta, path in pairs if meta[1] not in {"000000", "160000"}
    }
    named = (
        (path, name) for path in paths.values() if (name := secrets.find_in_text(path))
    )
    return next(named, None) or leak_in_blobs(
        paths, secrets, workspace.folder, workspace.env
    )


def write_pack(workspace: Workspace, tree: str, pack: Path) -> None:
    """Write the objects of `tree` that the base lacks to the file `pack`, as a thin
    pack.
    """
    revisions = f"{tree}\n^{workspace.base}^{{tree}}\n"
    with pack.open("wb") as sink:
        git(
            [
                "pack-objects",
                "-q",
                "--thin",
                "--stdout",
                "--revs",
                "--delta-base-offset",
            ],
            cwd=workspace.folder,
            env=workspace.env,
            stdin=revisions.encode(),
            stdout=sink,
        )
        sink.flush()
        durable.sync(sink.fileno())


def _captured(workspace: Workspace, argv: Sequence[str]) -> bytes:
    return git(argv, cwd=workspace.folder, env=workspace.env)


def _borrow(origin: Origin, git_dir: Path) -> None:
    info = git_dir / "objects" / "info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "alternates").write_bytes(
        alternates([origin.git_dir / "objects", *origin.objects])
    )
    # In one file the last word counts: for git that is the repository's own.
    ignored = [
        path.read_bytes()
        for path in (*origin.excludes, origin.git_dir / "info" / "exclude")
        if path.is_file()
    ]
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info" / "exclude").write_bytes(b"\n".join(ignored))
    shallow = origin.git_dir / "shallow"
    if shallow.exists():  # a history cut short, as a matrix leg's checkout has it
        shutil.copy(shallow, git_dir / "shallow")


def remove_folder(folder: Path) -> None:
    """Delete everything, also what an agent made unwritable; what resists is left to
    the next run.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        _make_removable(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _make_removable(folder: Path) -> None:
    for parent, names, _ in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink() and not os.access(path, os.W_OK | os.X_OK):
                with contextlib.suppress(OSError):
                    path.chmod(0o700)
