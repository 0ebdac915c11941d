"""Objects that are files of their own in a folder of objects, read without git.

A file is a deflated header (type, space, size, NUL) and content.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

from runner.policy.change import GITLINK
from runner.repo.answer_cache import is_full_id
from runner.repo.batch_process import Content, ObjectInfo
from runner.repo.objects import commit_links, file_of, parse_tree

_HEADER = 64  # bytes; a header is shorter


def info(folder: Path, name: str) -> ObjectInfo | None:
    """The object of that id; None if it is no full id, or has no file here."""
    data = _read(folder, name)
    if data is None:
        return None
    header = zlib.decompressobj().decompress(data, _HEADER)
    kind, size = header.partition(b"\0")[0].split()
    return ObjectInfo(name, kind.decode(), int(size))


def content(folder: Path, name: str) -> Content | None:
    """The whole object of that id; None if it is no full id, or has no file here."""
    data = _read(folder, name)
    if data is None:
        return None
    header, _, body = zlib.decompress(data).partition(b"\0")
    return Content(header.split()[0].decode(), body)


def _read(folder: Path, name: str) -> bytes | None:
    if not is_full_id(name):
        return None
    try:
        return file_of(folder, name).read_bytes()
    except FileNotFoundError:
        return None


def reachable(folder: Path, tips: Iterable[str]) -> set[str]:
    """The ids of the files here that the tips reach. What an object elsewhere reaches is
    not looked for.
    """
    found: set[str] = set()
    waiting = list(tips)
    while waiting:
        object_id = waiting.pop()
        if object_id in found:
            continue
        kind = info(folder, object_id)
        if kind is None:
            continue
        found.add(object_id)
        if kind.kind != "blob":  # the only ones that may be large
            waiting += _links(folder, object_id)
    return found


def _links(folder: Path, object_id: str) -> list[str]:
    """The ids that a commit or a tree names."""
    whole = content(folder, object_id)
    assert whole is not None
    if whole.kind == "tree":
        entries = parse_tree(whole.data, len(object_id) // 2)
        return [each for _, (mode, each) in entries if mode != GITLINK]
    return [each for _, each in commit_links(whole.data)]
