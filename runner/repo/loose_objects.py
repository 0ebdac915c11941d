"""Objects that are files of their own in a folder of objects, read without git.

A file is a deflated header (type, space, size, NUL) and content.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from runner.repo.answer_cache import is_full_id
from runner.repo.batch_process import Content, ObjectInfo
from runner.repo.objects import file_of

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
