"""Credentials that a checkout leaves in its configuration, and the token that fanin's
git commands are given.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.repo.remote import Remote
from runner.repo.repository import Repository
from tests.support.github.forge import Forge
from tests.support.github.standin import checkout

NAME = "octo/work"


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    with Forge(tmp_path / "forge") as running:
        running.create(NAME, {"a.txt": "a\n"})
        yield running


@pytest.fixture
def clone(forge: Forge, tmp_path: Path) -> Path:
    """A checkout of main with a commit of its own on top."""
    where = tmp_path / "clone"
    subprocess.run(
        ["git", "clone", "--quiet", f"{forge.server_url}/{NAME}", str(where)],
        check=True,
    )
    checkout.git(where, "commit", "--quiet", "--allow-empty", "-m", "Mine")
    return where


def header_key(forge: Forge) -> str:
    return checkout.HEADER_KEY.format(server=forge.server_url)


def persist_in_repository(forge: Forge, clone: Path, token: str, temp: Path) -> None:
    """As actions/checkout v2 to v5."""
    checkout.git(
        clone, "config", "--local", header_key(forge), checkout.auth_header(token)
    )


def persist_in_included_file(forge: Forge, clone: Path, token: str, temp: Path) -> None:
    """As actions/checkout v6 and later."""
    checkout.persist(clone, header_key(forge), token, str(temp))


def persist_for_every_server(forge: Forge, clone: Path, token: str, temp: Path) -> None:
    """As a workflow step may, in a key without an address."""
    checkout.git(
        clone, "config", "--local", "http.extraheader", checkout.auth_header(token)
    )


Persist = Callable[[Forge, Path, str, Path], None]
LAYOUTS: list[Persist] = [
    persist_in_repository,
    persist_in_included_file,
    persist_for_every_server,
]


@pytest.mark.parametrize("persist", LAYOUTS)
def test_token_of_a_remote_replaces_persisted_credentials(
    forge: Forge, clone: Path, tmp_path: Path, persist: Persist
) -> None:
    persist(forge, clone, forge.mint({"contents": "read"}), tmp_path)
    remote = Remote(
        Repository(clone, os.environ),
        forge.mint({"contents": "write"}),
        forge.server_url,
    )
    base = remote.fetch("main")
    assert remote.branches("") == {"main": base}
    new = checkout.git(clone, "rev-parse", "HEAD")
    assert remote.push("main", new, base).landed
    assert forge.repositories[NAME].git.tip() == new


@pytest.mark.parametrize("persist", LAYOUTS)
def test_remote_without_a_token_uses_persisted_credentials(
    forge: Forge, clone: Path, tmp_path: Path, persist: Persist
) -> None:
    persist(forge, clone, forge.mint({"contents": "write"}), tmp_path)
    remote = Remote(Repository(clone, os.environ), "", forge.server_url)
    base = remote.fetch("main")
    assert remote.push("main", checkout.git(clone, "rev-parse", "HEAD"), base).landed


def test_two_authorization_headers_are_a_bad_request(
    forge: Forge, clone: Path, tmp_path: Path
) -> None:
    token = forge.mint({"contents": "read"})
    persist_in_included_file(forge, clone, token, tmp_path)
    given = (f"{header_key(forge)}={checkout.auth_header(token)}",)
    with pytest.raises(
        checkout.CheckoutError,
        match=r'Duplicate header: "Authorization"(?s:.*)error: 400',
    ):
        checkout.git(clone, "fetch", "origin", "main", config=given)
