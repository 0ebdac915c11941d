"""Secrets are found and masked however they are written."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import textwrap
from urllib.parse import quote

import pytest

from runner.policy.masking import Masker
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


def random_line(number: int) -> str:
    """64 digits of base64, as a line of a PEM key."""
    digest = hashlib.sha384(str(number).encode()).digest()
    return base64.b64encode(digest).decode()


PEM = "\n".join(
    [
        "-----BEGIN PRIVATE KEY-----",
        *map(random_line, range(25)),
        "pJ4=",
        "-----END PRIVATE KEY-----",
    ]
)
ACCOUNT = {
    "type": "service_account",
    "project_id": "my-project-1",
    "private_key_id": "0123456789abcdef0123456789abcdef01234567",
    "private_key": f"{PEM}\n",
    "client_email": "robot-with-a-long-name@my-project-1.iam.gserviceaccount.com",
    "client_id": "123456789012345678901",
    "auth_uri": "https://accounts.google.com/o/oauth2/auth",
    "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
    "client_x509_cert_url": (
        "https://www.googleapis.com/robot/v1/metadata/x509/robot%40my-project-1"
    ),
}
KEYS_OF_SEVERAL_LINES = {
    "pem": PEM,
    "pem in one line": PEM.replace("\n", "\\n"),
    "account": json.dumps(ACCOUNT, indent=2),
    "account in one line": json.dumps(ACCOUNT),
    "account with crlf": json.dumps(ACCOUNT, indent=2).replace("\n", "\r\n"),
}
WRITTEN = {
    "as it is": PEM,
    "with crlf": PEM.replace("\n", "\r\n"),
    "indented": textwrap.indent(PEM, "    "),
    "quoted": textwrap.indent(PEM, "> ", lambda line: True),
    "as JSON": json.dumps({"key": PEM}),
    "as lines of JSON": json.dumps(PEM.splitlines(), indent=1),
    "in an account with another indent": json.dumps(ACCOUNT, indent=4),
    "one line": f"x{random_line(7)}y",
    "folded otherwise": textwrap.fill("".join(map(random_line, range(25))), 76),
    "one line in an address": quote(random_line(7), safe=""),
    "one line in base64": base64.b64encode(random_line(7).encode()).decode(),
}


@pytest.mark.parametrize("key", KEYS_OF_SEVERAL_LINES)
@pytest.mark.parametrize("written", WRITTEN)
def test_one_line_of_a_key_is_found_and_masked_however_it_is_written(
    key: str, written: str
) -> None:
    value, text = KEYS_OF_SEVERAL_LINES[key], WRITTEN[written]
    secrets = Secrets({value: "KEY"})
    assert secrets.find_in_text(text) == "KEY"
    assert secrets.find_in_text(secrets.masked_text(text)) is None
    masker = Masker([value])
    streamed = masker.feed(text.encode()) + masker.flush()
    assert secrets.find([streamed]) is None


@pytest.mark.parametrize("key", KEYS_OF_SEVERAL_LINES)
def test_an_ordinary_line_of_a_key_refuses_no_file(key: str) -> None:
    secrets = Secrets({KEYS_OF_SEVERAL_LINES[key]: "KEY"})
    lines = [*PEM.splitlines(), *json.dumps(ACCOUNT, indent=2).splitlines()]
    ordinary = [line for line in lines if not HAS_PRIVATE_PART.search(line)]
    assert len(ordinary) == 12
    for line in ordinary:
        assert secrets.find_in_text(f"{line}\n") is None


HAS_PRIVATE_PART = re.compile(r"[A-Za-z0-9+/]{64}|private_key")


def test_secrets_are_true_if_there_are_any() -> None:
    assert SECRETS
    assert not NONE
