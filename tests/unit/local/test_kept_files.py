"""The journal keeps small files whole, and nothing that its lines say leads elsewhere."""

from __future__ import annotations

import json
import os
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from runner.local import kept_files

BATCH = {"run": "r1", "round": 2}
FILES = {"result.json": b'{"a": 1}', "change.pack": bytes(range(256))}


def read_back(event: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    line = json.dumps(event).encode()
    assert line.startswith(b'{"event": "files"')  # by which the journal knows it
    return kept_files.parse(json.loads(line))


@pytest.mark.parametrize("folder", ["", "003"])
def test_files_come_back_as_they_were(folder: str) -> None:
    event = kept_files.event(BATCH, folder, FILES)
    assert read_back(event) == (folder, FILES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("folder", "../../hooks"),
        ("folder", "0/0"),
        ("folder", "000\n"),
        ("folder", 3),
        ("files", ["result.json"]),
        ("files", {"../result.json": ""}),
        ("files", {"agent.log": ""}),
        ("files", {"result.json": "no base64!"}),
        ("files", {"result.json": b64encode(b"not packed").decode()}),
        ("files", {"result.json": b64encode(zlib.compress(b"whole")[:-3]).decode()}),
        ("files", {"result.json": 1}),
    ],
)
def test_a_line_that_somebody_edited_is_refused(name: str, value: object) -> None:
    event = kept_files.event(BATCH, "003", FILES) | {name: value}
    with pytest.raises(TypeError):
        kept_files.parse(event)


def test_content_that_unpacks_to_more_than_a_journal_has_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = kept_files.event(BATCH, "003", {"result.json": b"0" * 11})
    monkeypatch.setattr(kept_files, "_MAX_BYTES", 10)
    with pytest.raises(TypeError):
        kept_files.parse(event)


def test_only_a_plain_file_has_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    assert kept_files.has_content(file, b"x")
    assert not kept_files.has_content(file, b"y")
    assert not kept_files.has_content(tmp_path / "gone", b"x")
    (tmp_path / "link").symlink_to(file)
    assert not kept_files.has_content(tmp_path / "link", b"x")
    os.mkfifo(tmp_path / "pipe")
    assert not kept_files.has_content(tmp_path / "pipe", b"x")
    assert not kept_files.has_content(tmp_path, b"")
