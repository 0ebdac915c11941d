"""The output of agents as text that does nothing to a terminal."""

from __future__ import annotations

import pytest

from runner.ui.log_text import LogText, patch_lines


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\x1b[31mred\x1b[0m\n", "red\n"),
        (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\n", "ab\n"),
        (b"\x1bPq#0\x1b\\a\x1b(Bb\x1bcc\n", "abc\n"),
        (b"10%\r20%\r\n", "10%\n20%\n"),
        (b"no end", "no end\n"),
        (b"\xff\x00\x9b\n", "\ufffd\ufffd\ufffd\n"),
        ("a\u202eb\u200bc\u009bd\n".encode(), "a\ufffdbc\ufffdd\n"),
        (b"\x1b]0;never ended\n", "\ufffd]0;never ended\n"),
    ],
)
def test_what_acts_on_a_terminal_is_left_out(data: bytes, shown: str) -> None:
    whole, torn = LogText(), LogText()
    assert whole.feed(data) + whole.finish() == shown
    pieces = [torn.feed(bytes([byte])) for byte in data]
    assert "".join(pieces) + torn.finish() == shown


def test_a_line_without_an_end_is_not_held_back_for_ever() -> None:
    text = LogText()
    assert len(text.feed(b"x" * 100_000)) == 100_001


def test_each_line_of_a_patch_has_its_style() -> None:
    patch = b"diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-\x1b[2J\n+b\n c\n"
    assert patch_lines(patch) == [
        ("diff --git a/a b/a", "bold"),
        ("--- a/a", "bold"),
        ("+++ b/a", "bold"),
        ("@@ -1 +1 @@", "cyan"),
        ("-", "red"),
        ("+b", "green"),
        (" c", ""),
    ]
