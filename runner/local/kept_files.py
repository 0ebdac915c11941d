"""The event of the journal that keeps the content of files, so that its fsync is theirs."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.core.patterns import lazy_pattern
from runner.core.regular_file import open_regular

EVENT = "files"
# The journal is a file that anyone may edit: nothing else of it is written anywhere.
_FOLDER = lazy_pattern(r"[0-9]*")
_NAMES = {"manifest.json", "result.json", "change.pack"}
_MAX_BYTES = 2**24


def event(
    batch: Mapping[str, object], folder: str, files: Mapping[str, bytes]
) -> dict[str, Any]:
    """The event that keeps these files, by their names, of a batch's result folder, or
    of the batch if `folder` is empty.
    """
    packed = {
        name: b64encode(zlib.compress(data, 1)).decode() for name, data in files.items()
    }
    return {"event": EVENT, **batch, "folder": folder, "files": packed}


def batch_of(line: bytes) -> tuple[str, int] | None:
    """The run and the round of such a line; None if a crash cut it off."""
    try:
        kept = json.loads(line)
        return kept["run"], kept["round"]
    except (ValueError, KeyError):
        return None


def parse(kept: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
    """The folder and the files of an event. KeyError or TypeError if it is not valid."""
    folder, packed = kept["folder"], kept["files"]
    if not isinstance(folder, str) or not _FOLDER().fullmatch(folder):
        raise TypeError(f"{folder!r} is no result folder")
    if not isinstance(packed, dict) or not _NAMES.issuperset(packed):
        raise TypeError("these are not the files of a result")
    try:
        return folder, {name: _content(text) for name, text in packed.items()}
    except (ValueError, zlib.error) as error:
        raise TypeError(f"{error}") from None


def _content(text: str) -> bytes:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(b64decode(text), _MAX_BYTES)
    if not unpacker.eof:
        raise ValueError("the content is cut off or too large")
    return data


def has_content(file: Path, data: bytes) -> bool:
    """Whether there is a regular file with just these bytes."""
    stream = open_regular(file)
    if stream is None:
        return False
    with stream, suppress(OSError):
        return stream.read() == data
    return False
