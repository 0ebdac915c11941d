"""Secrets are masked however they are written and wherever a stream is torn."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from runner.policy.redaction import MASK, Masker
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
