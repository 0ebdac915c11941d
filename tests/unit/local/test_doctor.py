"""The checks of `fanin doctor` that need no repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.config.settings import Settings
from runner.core.sandbox import Mode, SandboxSettings
from runner.local.doctor import git_check, walls_check, workflow_checks
from runner.sandbox.machine import Machine

WALLS = Machine("linux", Path("/usr/bin/bwrap"), "", 7)
NO_WALLS = Machine("darwin", None, "", 0)
EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(
    ("version", "ok"),
    [
        ("git version 2.39.5", True),
        ("git version 2.38.0 (Apple Git-1)", True),
        ("git version 2.37.7", False),
        ("git version 3.0.1", True),
        ("not found", False),
    ],
)
def test_a_git_that_is_too_old_is_named(version: str, ok: bool) -> None:
    assert git_check(version).ok is ok


@pytest.mark.parametrize(
    "name", ["dispatch.yml", "pull-request.yml", "issues.yml", "comment.yml"]
)
def test_the_examples_grant_what_the_workflow_needs(name: str) -> None:
    checks = [*workflow_checks(name, (EXAMPLES / name).read_text())]
    assert checks
    assert all(check.ok for check in checks)


def test_a_missing_permission_is_named() -> None:
    text = (EXAMPLES / "dispatch.yml").read_text().replace("      actions: write\n", "")
    (check,) = workflow_checks("x.yml", text)
    assert not check.ok
    assert check.what == "x.yml: the job fanin does not grant actions: write"


@pytest.mark.parametrize(
    "text", ["", "[", "jobs: []", "jobs: {a: 5}", "jobs: {a: {uses: other/x.yml@v1}}"]
)
def test_a_workflow_that_does_not_call_fanin_is_not_checked(text: str) -> None:
    assert [*workflow_checks("x.yml", text)] == []


@pytest.mark.parametrize(
    ("mode", "there", "is_ok", "what"),
    [
        (
            "off",
            WALLS,
            True,
            "none; to have bubblewrap and Landlock, set  sandbox: auto",
        ),
        ("off", NO_WALLS, True, "none"),
        ("auto", WALLS, True, "bubblewrap and Landlock"),
        ("auto", NO_WALLS, True, "no walls: only Linux has them"),
        ("require", WALLS, True, "bubblewrap and Landlock"),
        ("require", NO_WALLS, False, "sandbox: require: only Linux has them"),
    ],
)
def test_the_walls_of_a_run_are_named(
    mode: Mode, there: Machine, is_ok: bool, what: str
) -> None:
    check = walls_check(Settings(sandbox=SandboxSettings(mode=mode)), there)
    assert check.ok is is_ok
    assert check.what.startswith(what)
