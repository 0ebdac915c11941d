"""A log shows what the walls have refused, as far as it can be known."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from runner.sandbox.refusals import refused
from runner.sandbox.rules import Access, Rules


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".cache").mkdir()
    return tmp_path


def _refused(home: Path, log: str) -> str:
    rules = Rules(
        {f"{home}/.ssh": Access.HIDDEN, f"{home}/checkout": Access.WRITE}, "/t"
    )
    return refused(log.format(home=home), rules, str(home))


@pytest.mark.parametrize(
    ("log", "setting"),
    [
        ("OSError: [Errno 30] Read-only file system: '{home}/.cache/x'", "write: [~/.cache/x]"),
        ("npm error EROFS: read-only file system, mkdir '{home}/.cache/y'\nmore", "write: [~/.cache/y]"),
        ("cat: {home}/.ssh: Permission denied", "read: [~/.ssh]"),
        ("ls: cannot access '~/.ssh': No such file or directory", "read: [~/.ssh]"),
        ("git@github.com: Permission denied (publickey).", "sockets: [ssh-agent]"),
        ("ERROR: Cannot connect to the Docker daemon at unix:///x", "sockets: [docker]"),
    ],
)  # fmt: skip
def test_a_refusal_is_named_with_the_line_that_lifts_it(
    home: Path, log: str, setting: str
) -> None:
    sentence = _refused(home, log)
    assert sentence.startswith("the walls refused ")
    assert sentence.endswith(f"to open it:  sandbox: {{{setting}}}")


def test_what_is_only_there_without_walls_is_named() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        log = f"cannot start {folder}/agent: No such file or directory"
        Path(folder, "agent").touch()
        opened = Rules({folder: Access.READ}, "/t")
        assert f"read: [{folder}/agent]" in refused(log, Rules({}, "/t"), "/home/ann")
        assert refused(log, opened, "/home/ann") == ""


@pytest.mark.parametrize(
    "log",
    [
        "AssertionError: 1 != 2",
        "cat: {home}/missing: No such file or directory",
        "sh: {home}/checkout/run.sh: Permission denied",
        "open {home}/.cache/x: no space left on device",
        "cat: /no/such/folder/x: Permission denied",
        "",
    ],
)
def test_other_errors_are_nobodys_refusal(home: Path, log: str) -> None:
    assert _refused(home, log) == ""
