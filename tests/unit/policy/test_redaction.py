"""Secrets are found and masked however they are written."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from runner.policy.redaction import NONE, Secrets
from tests.support.searched_secrets import KEY, SECRETS


def b64(text: str, url: bool = False) -> bytes:
    return (base64.urlsafe_b64encode if url else base64.b64encode)(text.encode())


@pytest.mark.parametrize("data", [
    KEY.encode(), b'{"key": "' + KEY.encode() + b'"}', b64(KEY), b64(KEY, url=True), b64(f"x{KEY}y"), b64(f"xy{KEY}"),
    b64(f"user:{KEY}@host", url=True), quote(KEY, safe="").encode(), quote(KEY).encode(),
    quote(KEY, safe="").lower().encode().replace(b"zz9", b"Zz9"), KEY[:7].encode() + b"\r\n" + KEY[7:].encode(),
    base64.encodebytes(b"p" * 50 + KEY.encode() + b"q" * 50),
    b"\0\xff" + KEY.encode() + b"\xfe", json.dumps(KEY).encode(), json.dumps(KEY, ensure_ascii=False).encode(),
])  # fmt: skip
def test_a_secret_is_found_and_masked_however_it_is_written(data: bytes) -> None:
    assert SECRETS.find([data]) == "KEY"
    masked = SECRETS.masked(data)
    assert b"***" in masked
    assert SECRETS.find([masked]) is None


@pytest.mark.parametrize(
    "data", [b"", KEY[:-1].encode(), KEY.upper().encode(), b64(KEY[1:]), b"sk-ant"]
)
def test_data_without_the_value_is_unchanged(data: bytes) -> None:
    assert SECRETS.find([data]) is None
    assert SECRETS.masked(data) == data


@pytest.mark.parametrize(("environ", "names", "known"), [
    ({"A": "12345678"}, ["A"], {"A"}),
    ({"A": "1234567"}, ["A"], set()),
    ({"A": "  1234567  "}, ["A"], set()),
    ({"A": "12345678", "B": "abcdefgh"}, ["B", "C"], {"B"}),
    ({"A": "ééé"}, ["A"], set()),
    ({"A": "éééé"}, ["A"], {"A"}),
    ({"A": "12345678"}, [], set()),
])  # fmt: skip
def test_set_values_of_eight_bytes_are_secrets(
    environ: dict[str, str], names: list[str], known: set[str]
) -> None:
    assert set(Secrets.of(environ, names).names.values()) == known


def test_repr_does_not_show_the_values() -> None:
    assert KEY not in repr(SECRETS)
    assert NONE.find([KEY.encode()]) is None


@pytest.mark.parametrize("text", ["\ud800 lone", "\udce9 byte", "plain"])
def test_text_with_lone_surrogates_is_searched(text: str) -> None:
    assert SECRETS.find_in_text(text) is None
    assert SECRETS.find_in_text(text + KEY) == "KEY"


def test_a_single_line_of_a_secret_may_be_ordinary_text() -> None:
    secrets = Secrets({'{\n"type": "service_account",\n"id": "0123456789"}': "KEY"})
    assert secrets.find([b'"type": "service_account",']) is None


def test_secrets_are_true_if_there_are_any() -> None:
    assert SECRETS
    assert not NONE
