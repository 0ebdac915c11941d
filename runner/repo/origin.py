"""The parts of the repository that a checkout borrows: its objects and ignore files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runner.repo.command import isolated_git


class Origin(NamedTuple):
    """The repository that a workspace borrows from.

    `git_dir` is its common git directory, `object_format` sha1 or sha256. `objects` are
    further folders of objects that the base needs: a quarantine, when a merge is
    verified before it is adopted. `excludes` are the user's own ignore files.
    `work_tree` is the person's, which has ignored files that a checkout may get; None
    where there is no person's. `modules` are further folders with the git directories of
    submodules: a linked work tree has its own.
    """

    git_dir: Path
    object_format: str = "sha1"
    objects: tuple[Path, ...] = ()
    excludes: tuple[Path, ...] = ()
    work_tree: Path | None = None
    modules: tuple[Path, ...] = ()


def origin_of(path: Path) -> Origin:
    """The repository that `path` is in. Raises GitFailed outside of a repository."""
    git = isolated_git(path)
    argv = ["rev-parse", "--path-format=absolute", "--git-common-dir"]
    git_dir = git.run(argv).removesuffix(b"\n")
    object_format = git.text(["rev-parse", "--show-object-format"]).strip()
    return Origin(Path(os.fsdecode(git_dir)), object_format)


def alternates(folders: Sequence[Path]) -> bytes:
    """The content of `objects/info/alternates`.

    Quoted only where it must be: gitdb, which GitPython and so aider read repositories
    with, knows no quotes in this file.
    """
    return b"".join(quoted_path(folder) + b"\n" for folder in folders)


def quoted_path(path: Path, special: bytes = b'"\\') -> bytes:
    """The path as git takes it in a list of object folders: C-quoted if it has one of
    the `special` bytes, or one that is not printable ASCII.
    """
    plain = os.fsencode(path)
    unusual = [byte for byte in plain if not _is_printable(byte) or byte in special]
    if plain.startswith(b"/") and not unusual:
        return plain
    quoted = b""
    for byte in plain:
        if _is_printable(byte) and byte not in b'"\\':
            quoted += bytes([byte])
        else:
            quoted += b"\\%03o" % byte
    return b'"' + quoted + b'"'


def _is_printable(byte: int) -> bool:
    return 32 <= byte < 127
