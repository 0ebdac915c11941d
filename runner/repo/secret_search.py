"""Searches blobs for the values of secrets."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from runner.core.errors import GitFailed
from runner.policy.redaction import Secrets
from runner.repo.command import git_environment

_PIECE = 2**20  # bytes of a file that are in memory at once


def leak_in_blobs(
    paths: Mapping[str, str], secrets: Secrets, cwd: Path, env: Mapping[str, str]
) -> tuple[str, str] | None:
    """(path, secret's name) of the first blob that holds a secret. `paths` is object id
    → path.
    """
    if not secrets or not paths:
        return None
    with tempfile.TemporaryFile() as asked:
        asked.write("".join(f"{blob}\n" for blob in paths).encode())
        asked.seek(0)
        reader = subprocess.Popen(
            ["git", "cat-file", "--batch"],
            cwd=cwd,
            env={**git_environment(os.environ), **env},
            stdin=asked,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with reader:
            assert reader.stdout is not None
            try:
                return _first_leak(reader.stdout, paths, secrets)
            finally:
                reader.kill()


def _first_leak(
    stream: IO[bytes], paths: Mapping[str, str], secrets: Secrets
) -> tuple[str, str] | None:
    """Reads the answers of `cat-file --batch`: a line of id, type and size, then that
    many bytes and a line end.
    """
    while header := stream.readline().split():
        if len(header) != 3:
            raise GitFailed(
                ["cat-file", "--batch"],
                128,
                b" ".join(header).decode("utf-8", "replace"),
            )
        size = int(header[2])
        if name := secrets.find(_pieces(stream, size)):
            return paths[header[0].decode()], name
        stream.read(1)
    return None


def _pieces(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, _PIECE))
        if not piece:
            raise GitFailed(["cat-file", "--batch"], 128, "the object ended early")
        size -= len(piece)
        yield piece
