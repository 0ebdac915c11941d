"""What a run lies in, as the walls around it must know."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from runner.core.sandbox import SandboxSettings
from runner.local.walls import _secrets_elsewhere
from runner.sandbox.rules import Access, Surroundings, access_of_run

_SECRETS = (".ssh", ".config/gh", ".codex/auth.json")


def test_secrets_are_hidden_where_variables_say_that_they_are() -> None:
    variables = {
        "XDG_CONFIG_HOME": "/data/config",
        "CODEX_HOME": "/data/codex",
        "KUBECONFIG": f"/data/one{os.pathsep}relative{os.pathsep}/data/two",
        "GNUPGHOME": "/data/gpg",
    }
    places = list(_secrets_elsewhere(variables, _SECRETS, is_root=False))
    assert sorted(map(str, places)) == [
        "/data/codex/auth.json",
        "/data/config/gh",
        "/data/gpg",
        "/data/one",
        "/data/two",
    ]
    around = Surroundings((), (), (Path("/work"),), secrets_elsewhere=tuple(places))
    access = access_of_run(SandboxSettings(mode="auto"), around, str)
    assert access["/data/codex/auth.json"] is Access.HIDDEN


def test_from_root_the_secrets_of_all_persons_are_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def user(name: str, number: int, home: Path) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", number, number, "", str(home), "/bin/sh"))

    users = [
        user("service", 100, tmp_path),
        user("ann", 1000, tmp_path),
        user("nobody", 65534, tmp_path / "missing"),
    ]
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    hidden = [tmp_path / secret for secret in _SECRETS]
    assert list(_secrets_elsewhere({}, _SECRETS, is_root=True)) == hidden
    assert list(_secrets_elsewhere({}, _SECRETS, is_root=False)) == []
