"""A green verdict is kept for a day, a red one only as a part of a flaky test's history."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.attempt.preparation import SetupCommand
from runner.attempt.verification import VerifyCommand
from runner.core.result import Failure, FailureKind
from runner.core.sandbox import SandboxSettings
from runner.local.verdict_key import key_of
from runner.local.verdicts import Verdicts
from runner.repo.origin import Origin
from runner.sandbox.choose import Choice
from runner.sandbox.walls import NO_WALLS, Walls

START = datetime(2026, 11, 27, 12, tzinfo=UTC)
COMMAND = VerifyCommand("pytest", 60.0, {"A": "1"}, SetupCommand("make", 60.0))


def at(folder: Path, hours: float = 0, **options: Any) -> Verdicts:
    """The verdicts as a run reads them so many hours after the first."""
    return Verdicts(folder, lambda: START + timedelta(hours=hours), **options)


def red(log: str = "FAILED tests/test_a.py::test_b - boom") -> Failure:
    return Failure(kind=FailureKind.VERIFY, message="red", log_tail=log)


def test_a_green_tree_is_known_for_a_day_and_by_the_next_run(tmp_path: Path) -> None:
    at(tmp_path).record("key", "pytest", None)
    assert at(tmp_path, 23).green_since("key") == "23 hours"
    assert at(tmp_path, 25).green_since("key") is None
    # the clock was set back
    assert at(tmp_path, -1).green_since("key") is None
    assert at(tmp_path).green_since("other") is None
    assert at(tmp_path, 1, is_used=False).green_since("key") is None


def test_a_red_tree_is_never_known(tmp_path: Path) -> None:
    at(tmp_path).record("key", "pytest", red())
    assert at(tmp_path).green_since("key") is None
    assert at(tmp_path).flaky() == []


def test_a_test_that_was_red_and_then_green_on_one_tree_is_named_with_its_history(
    tmp_path: Path,
) -> None:
    for hours in (0, 30, 60):
        verdicts = at(tmp_path, hours)
        verdicts.record(f"tree {hours}", "pytest", red())
        # in another run, even where no earlier verdict counts
        at(tmp_path, hours + 1, is_used=False).record(f"tree {hours}", "pytest", None)
    verdicts = at(tmp_path, 61)
    verdicts.record("tree", "make\ntest", red("nothing that names a test"))
    verdicts.record("tree", "make\ntest", None)
    assert verdicts.flaky() == [
        "flaky: make test was red and then green on the same tree; last 0 seconds ago",
        (
            "flaky: tests/test_a.py::test_b was red and then green on the same tree, "
            "3 times in 30 days; last 0 seconds ago"
        ),
    ]
    assert len(verdicts.flaky(START + timedelta(hours=62))) == 0
    assert at(tmp_path, 24 * 40).flaky() == []


def test_many_flaky_tests_are_counted(tmp_path: Path) -> None:
    verdicts = at(tmp_path)
    verdicts.record(
        "key", "go test", red("\n".join(f"--- FAIL: T{n}" for n in range(9)))
    )
    verdicts.record("key", "go test", None)
    assert verdicts.flaky()[-1] == "and 4 more flaky tests"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 1}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "verdicts.json").write_text(text)
    verdicts = at(tmp_path)
    assert verdicts.green_since("key") is None
    verdicts.record("key", "pytest", None)
    assert at(tmp_path).green_since("key") is not None


def _origin(folder: Path) -> Origin:
    return Origin(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda command: command._replace(command="pytest -x"),
        lambda command: command._replace(env={"A": "2"}),
        lambda command: command._replace(setup=SetupCommand("make all", 60.0)),
        lambda command: command._replace(setup=None),
        lambda command: command._replace(include=("*.env",)),
    ],
)
def test_a_verdict_is_about_the_command_and_all_that_it_sees(
    tmp_path: Path, change: Callable[[VerifyCommand], VerifyCommand]
) -> None:
    origin = _origin(tmp_path)
    key = key_of("tree", COMMAND, origin, {"PATH": "/bin"})
    assert key == key_of(
        "tree", COMMAND._replace(timeout=1.0), origin, {"PATH": "/bin"}
    )
    assert key != key_of("tree", change(COMMAND), origin, {"PATH": "/bin"})
    assert key != key_of("other", COMMAND, origin, {"PATH": "/bin"})
    assert key != key_of("tree", COMMAND, origin, {"PATH": "/usr/bin"})


def test_a_verdict_within_walls_is_none_without_them_or_within_others(
    tmp_path: Path,
) -> None:
    def within(choice: Choice, settings: SandboxSettings) -> str:
        walls = Walls(choice, settings, NO_WALLS.surroundings)
        return key_of("tree", COMMAND, _origin(tmp_path), {}, walls)

    auto = SandboxSettings(mode="auto")
    require = SandboxSettings(mode="require")
    offline = SandboxSettings(mode="auto", network="off")
    both, landlock = Choice("/usr/bin/bwrap", 7), Choice("", 7)
    assert within(both, auto) == within(both, require)
    without = {
        within(Choice(), auto),
        key_of("tree", COMMAND, _origin(tmp_path), {}),
    }
    assert len(without) == 1
    others = {within(both, auto), within(landlock, auto), within(both, offline)}
    assert len(others | without) == 4


def test_a_verdict_is_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = _origin(tmp_path)
    key = key_of("tree", COMMAND, origin, os.environ)
    monkeypatch.setattr("platform.node", lambda: "another")
    assert key != key_of("tree", COMMAND, origin, os.environ)
