"""Keeps files that git cannot take in an archive beside an attempt's result.

The archive may be uploaded: files with a secret, and what is too large, stay out of it.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from runner.core import durable
from runner.policy.paths import shortened
from runner.policy.redaction import Secrets

_PIECE_SIZE = 2**20  # bytes of a file that are in memory at once


@dataclass
class Archived:
    """How many files are in the archive, and sentences about those that are not."""

    files: int = 0
    missing: list[str] = field(default_factory=list)


def archive(
    root: Path, paths: Sequence[str], target: Path, secrets: Secrets, max_bytes: int
) -> Archived:
    """Write the files and folders `paths` of `root` to the tar file `target`, durably.

    The path `.` is the whole of `root` without its `.git`. What cannot be kept is named
    in the answer, never an error; without any file there is no archive.
    """
    archived = Archived()
    # whatever an agent put there, a link for example
    with suppress(OSError):
        target.unlink(missing_ok=True)
    try:
        with target.open("xb") as stream:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                writer = _Writer(root, tar, secrets, max_bytes, archived)
                for path in paths:
                    writer.add_all_below(path)
            stream.flush()
            durable.sync(stream.fileno())
        durable.sync_folder(target.parent)
    except OSError as error:
        archived = Archived(
            missing=[f"the archive cannot be written: {error.strerror}"]
        )
    if not archived.files:
        with suppress(OSError):
            target.unlink(missing_ok=True)
    return archived


@dataclass
class _Writer:
    root: Path
    tar: tarfile.TarFile
    secrets: Secrets
    bytes_left: int
    archived: Archived

    def add_all_below(self, path: str) -> None:
        # A list and no recursion: an agent may nest folders as deep as it likes.
        waiting = [self.root / path]
        while waiting:
            file = waiting.pop()
            name = str(file.relative_to(self.root))
            try:
                self._add(file, name, waiting)
            except OSError as error:
                self.archived.missing.append(f"{shortened(name)}: {error.strerror}")

    def _add(self, file: Path, name: str, waiting: list[Path]) -> None:
        mode = file.lstat().st_mode
        if stat.S_ISDIR(mode):
            _make_readable(file, mode, 0o700)
            waiting += [
                Path(entry.path)
                for entry in sorted(os.scandir(file), key=lambda entry: entry.name)
                if name != "." or entry.name != ".git"
            ]
        elif self.secrets.find_in_text(name) is not None:
            self.archived.missing.append("a file whose name holds a secret")
        elif stat.S_ISLNK(mode):
            self._add_link(file, name)
        elif stat.S_ISREG(mode):
            _make_readable(file, mode, 0o600)
            with open(file, "rb", opener=_without_following) as stream:
                self._add_file(stream, name)

    def _add_link(self, file: Path, name: str) -> None:
        if self.secrets.find_in_text(str(file.readlink())) is not None:
            self.archived.missing.append(f"{name}: holds a secret")
            return
        self.tar.addfile(self.tar.gettarinfo(str(file), name))
        self.archived.files += 1

    def _add_file(self, stream: BinaryIO, name: str) -> None:
        info = self.tar.gettarinfo(arcname=name, fileobj=stream)
        # sparse files too: their size decides before a byte is read
        if info.size > self.bytes_left:
            self.archived.missing.append(f"{name}: {info.size:,} bytes are too many")
            return
        if self.secrets.find(_pieces(stream)) is not None:
            self.archived.missing.append(f"{name}: holds a secret")
            return
        stream.seek(0)
        # two names of one file would otherwise be a link to a file outside
        info.type, info.linkname = tarfile.REGTYPE, ""
        self.tar.addfile(info, stream)
        self.bytes_left -= info.size
        self.archived.files += 1


def _make_readable(file: Path, mode: int, wanted: int) -> None:
    if mode & wanted != wanted:
        with suppress(OSError):
            file.chmod(stat.S_IMODE(mode) | wanted)


def _without_following(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    yield from iter(partial(stream.read, _PIECE_SIZE), b"")
