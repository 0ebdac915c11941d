"""The file with an agent's question: read once, removed, and nothing else is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.attempt import question


def _checkout(root: Path) -> Path:
    checkout = root / "checkout"
    checkout.mkdir()
    assert question.make_room(checkout)
    return checkout


def test_a_question_is_read_and_its_file_removed(tmp_path: Path) -> None:
    checkout = _checkout(tmp_path)
    assert question.take(checkout) == ""
    assert question.make_room(checkout)
    (checkout / ".fanin" / "question.md").write_bytes(b"\n Which\xff one?\n")
    assert not question.make_room(checkout)
    assert question.take(checkout) == "Which\ufffd one?"
    assert question.take(checkout) == ""
    assert list(checkout.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_or_a_pipe_is_removed_and_not_read(tmp_path: Path, kind: str) -> None:
    file = _checkout(tmp_path) / ".fanin" / "question.md"
    secret = tmp_path / "secret"
    secret.write_text("precious")
    if kind == "link":
        file.symlink_to(secret)
    else:
        os.mkfifo(file)
    assert question.take(tmp_path / "checkout") == ""
    assert secret.read_text() == "precious"
    assert not os.path.lexists(file)


def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = _checkout(tmp_path) / ".fanin" / "question.md"
    outside.write_text("precious")
    checkout = tmp_path / "other"
    checkout.mkdir()
    (checkout / ".fanin").symlink_to(outside.parent)
    assert (question.make_room(checkout), question.take(checkout)) == (True, "")
    assert outside.read_text() == "precious"
