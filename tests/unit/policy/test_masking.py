"""Secrets in a stream are masked, however they are written and wherever they are torn."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from runner.attempt.reports import LastLine
from runner.policy.masking import Masker
from runner.policy.redaction import MASK
from tests.support.masked_secret import SECRET


def masked(values: list[str], text: str) -> str:
    masker = Masker(values)
    return (masker.feed(text.encode()) + masker.flush()).decode()


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET, safe=""),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
    ],
)
def test_a_secret_is_masked_as_others_write_it(written: str) -> None:
    shown = masked([SECRET], f"before {written} after")
    assert MASK in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "123" not in shown


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", ["", ":", "::", ":::"])
def test_a_secret_inside_a_base64_text_is_masked(before: int, after: str) -> None:
    encoded = base64.b64encode(f"{'u' * before}{SECRET}{after}".encode()).decode()
    shown = masked([SECRET], encoded)
    assert MASK in shown
    assert len(shown) - len(MASK) <= 10, "but for what surrounds it, nothing is left"


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    assert masked(["longsecret", "longsecret-and-more"], "longsecret-and-more") == MASK


def test_a_short_value_is_an_ordinary_word() -> None:
    assert masked(["true", ""], "it is true") == "it is true"
    assert Masker().feed(b"all at once") == b"all at once"


def test_length_is_counted_in_bytes() -> None:
    assert masked(["ééé"], "ééé") == "ééé"
    assert masked(["éééé"], "éééé") == MASK


def test_the_lines_of_a_key_are_masked_each() -> None:
    assert (
        masked(["first-line\nsecond-line"], "| first-line\n| second-line")
        == f"| {MASK}\n| {MASK}"
    )


API_KEY = "sk-ant-api03-Zz9xYw8vUt7s"
WRITTEN = [
    API_KEY.encode(),
    # without the characters that depend on what follows
    base64.b64encode(API_KEY.encode())[: len(API_KEY) * 8 // 6],
    SECRET.encode(),
    quote(SECRET, safe="").encode(),
]


@pytest.mark.parametrize("written", WRITTEN)
def test_a_key_that_is_torn_at_any_byte_is_masked(written: bytes) -> None:
    whole = b"key: " + written + b"; more\n"
    unbroken = Masker([API_KEY, SECRET])
    expected = unbroken.feed(whole) + unbroken.flush()
    assert MASK.encode() in expected
    for cut in range(len(whole) + 1):
        masker = Masker([API_KEY, SECRET])
        pieces = masker.feed(whole[:cut]), masker.feed(whole[cut:]), masker.flush()
        assert b"".join(pieces) == expected


@pytest.mark.parametrize("written", WRITTEN)
def test_of_a_key_that_ends_at_any_byte_seven_bytes_are_shown_at_most(
    written: bytes,
) -> None:
    for cut in range(len(written)):
        masker = Masker([API_KEY, SECRET])
        shown = masker.feed(b"key: " + written[:cut])
        assert shown == b"key: "[: len(shown)]
        shown += masker.flush()
        assert len(shown) < len("key: ") + 8
        assert shown.endswith((MASK.encode(), written[: min(cut, 7)]))


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_key_that_is_folded_at_any_byte_is_masked(
    written: bytes, line_end: bytes
) -> None:
    for cut in range(1, len(written)):
        masker = Masker([API_KEY, SECRET])
        shown = masker.feed(b"key: " + written[:cut] + line_end)
        shown += masker.feed(written[cut:] + b"; more\n") + masker.flush()
        # Its first two bytes are out before it is known what they are.
        early = written[:cut] + line_end if cut <= 2 else b""
        assert shown == b"key: " + early + MASK.encode() + b"; more\n"


def test_what_cannot_begin_a_secret_is_shown_at_once() -> None:
    masker = Masker([API_KEY])
    for line in (b"reads files\n", b"no end", b" of a line", b"\n", b"ends with sk\n"):
        assert masker.feed(line) == line
    assert masker.feed(b"now sk-") == b"now "
    assert masker.feed(b"ull\n") == b"sk-ull\n"


def test_line_ends_around_a_secret_stay() -> None:
    masker = Masker([API_KEY])
    shown = [masker.feed(b"sk\n"), masker.feed(b"\n" + API_KEY.encode() + b"\n\n")]
    assert shown == [b"sk\n", b"\n***\n\n"]


def test_secrets_that_overlap_are_masked_as_one() -> None:
    assert (
        masked(["one-secret-two", "two-secret-one"], "one-secret-two-secret-one")
        == MASK
    )


def test_no_last_line_holds_a_key_that_is_torn_at_any_byte() -> None:
    key = API_KEY.encode()
    for cut in range(len(key)):
        lines: list[str] = []
        last_line = LastLine(lines.append, clock=iter(range(9)).__next__)
        masker = Masker([API_KEY])
        for piece in (b"key: " + key[:cut], key[cut:] + b" is it\n"):
            last_line.feed(masker.feed(piece))
        last_line.feed(masker.flush())
        last_line.finish()
        assert lines[-1] == "key: *** is it"
        assert set(lines) <= {"key:", "key: *** is it"}
