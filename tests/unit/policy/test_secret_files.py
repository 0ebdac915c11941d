"""Which files hold secrets, and which values in them."""

from __future__ import annotations

import json

import pytest

from runner.policy.secret_files import is_public, is_secret_path, secrets_in


@pytest.mark.parametrize(
    "path",
    [
        *(".env", ".env.local", "a/.ENV.production", ".envrc", "a/key.pem", "id_rsa"),
        *("id_ed25519", "id_work.old", ".npmrc", "a/.netrc", "master.key"),
        *(".ssh/config", "home/.aws/anything", "credentials.json", "prod.tfvars"),
    ],
)
def test_files_of_secrets(path: str) -> None:
    assert is_secret_path(path)


@pytest.mark.parametrize(
    "path", ["env.py", "id_rsa.pub", "lib/id_map.js", "package.json", "environment"]
)
def test_files_of_no_secrets(path: str) -> None:
    assert not is_secret_path(path)


@pytest.mark.parametrize(
    ("labels", "public"),
    [
        (["CERTIFICATE"], True),
        (["CERTIFICATE", "PUBLIC KEY"], True),
        (["CERTIFICATE", "RSA PRIVATE KEY"], False),
        ([], False),
    ],
)
def test_a_file_of_certificates_holds_no_secret(
    labels: list[str], public: bool
) -> None:
    data = "".join(f"-----BEGIN {label}-----\nMIIB\n" for label in labels).encode()
    assert is_public("cacert.pem", data) == public
    assert not is_public("id_rsa", data)


def test_values_of_a_file_of_variables() -> None:
    text = """
# a comment
NODE_ENV=development
NEXTAUTH_URL=http://localhost:3000/api
VERSION=10.12.1300
PASSWORD=development
export API_KEY="abc 123 def"
TOKEN=tok-12345678 # of the test account
PORT=3000
DATABASE=postgres://user:pw-of-db-1@db.example/x
LINES="first-line-1
second-line-2"
REGION=us-east-1
"""
    found = secrets_in("app/.env.local", text.encode(), plain=["us-east-1"]).names
    assert found == {
        "development": "PASSWORD in app/.env.local",
        "abc 123 def": "API_KEY in app/.env.local",
        "tok-12345678": "TOKEN in app/.env.local",
        "tok-12345678 # of the test account": "TOKEN in app/.env.local",
        "postgres://user:pw-of-db-1@db.example/x": "DATABASE in app/.env.local",
        "pw-of-db-1": "password in app/.env.local",
        "first-line-1\nsecond-line-2": "LINES in app/.env.local",
    }


@pytest.mark.parametrize(
    ("path", "text", "values"),
    [
        (
            ".npmrc",
            "registry=https://registry.example/\n//registry.example/:_authToken=npm_1234\n",
            ["npm_1234"],
        ),
        (".netrc", "machine a login me\n password pw-123456\n", ["pw-123456"]),
        (".pgpass", "db:5432:x:me:pw-123456\n", ["pw-123456"]),
        (".git-credentials", "https://me:pw-123456@example.org\n", ["pw-123456"]),
        ("credentials", "[a]\naws_secret_access_key = pw-123456\n", ["pw-123456"]),
        (".yarnrc.yml", "npmAuthToken: 'pw-123456'\n", ["pw-123456"]),
        (
            "credentials.json",
            json.dumps({"type": "service_account", "private_key": "pw-123456"}),
            ["pw-123456"],
        ),
        ("secrets.json", '{"token": "pw-123456"', ["pw-123456"]),
        ("id_rsa", "-----BEGIN KEY-----\nab\n", ["-----BEGIN KEY-----\nab"]),
    ],
)
def test_values_of_other_files(path: str, text: str, values: list[str]) -> None:
    assert list(secrets_in(path, text.encode()).names) == values
