"""What a checkout borrows from the repository: its objects, its excludes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.repo.command import git


@dataclass(frozen=True)
class Origin:
    """The repository a workspace borrows from: its common git directory, its object
    format, and further folders of objects that the base needs (a quarantine, when a
    merge is verified before it is let in). `excludes` are the user's own ignore files.
    """

    git_dir: Path
    object_format: str = "sha1"
    objects: tuple[Path, ...] = ()
    excludes: tuple[Path, ...] = ()


def origin_of(path: Path) -> Origin:
    """The repository that `path` is in. GitFailed if there is none."""
    git_dir = (
        git(["rev-parse", "--path-format=absolute", "--git-common-dir"], cwd=path)
        .decode()
        .strip()
    )
    return Origin(
        Path(git_dir),
        git(["rev-parse", "--show-object-format"], cwd=path).decode().strip(),
    )


def alternates(folders: Sequence[Path]) -> bytes:
    """The content of `objects/info/alternates`, a path C-quoted where it must be to be
    taken as it is.

    Only there: gitdb, which GitPython and so aider read repositories with, knows no
    quotes in this file.
    """
    return b"".join(_quoted(folder) + b"\n" for folder in folders)


def _quoted(path: Path, special: bytes = b'"\\') -> bytes:
    """The path as git takes it in a list of object folders: C-quoted if it has one of
    the `special` bytes.
    """
    plain = os.fsencode(path)
    if plain.startswith(b"/") and all(
        32 <= byte < 127 and byte not in special for byte in plain
    ):
        return plain
    escaped = (
        b"\\%03o" % byte if byte < 32 or byte > 126 or byte in b'"\\' else bytes([byte])
        for byte in plain
    )
    return b'"' + b"".join(escaped) + b'"'
