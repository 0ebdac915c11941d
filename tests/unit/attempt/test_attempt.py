"""A verify command is green by its exit status alone, and its failure names the command."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from runner.attempt.context import AttemptContext
from runner.attempt.preparation import SetupCommand, run_setup
from runner.attempt.verification import VerifyCommand, run_verify
from runner.core.result import Failure, FailureKind


def _verify(
    folder: Path, command: str, *, timeout: float = 60, context: AttemptContext
) -> Failure | None:
    verify = VerifyCommand(command, timeout, {"PLAIN": "value"})
    return run_verify(verify, folder, folder / "verify.log", context)


@pytest.fixture
def context() -> AttemptContext:
    return AttemptContext({**os.environ, "HIDDEN": "secret"})


def test_a_command_that_exits_with_0_is_green(
    tmp_path: Path, context: AttemptContext
) -> None:
    assert _verify(tmp_path, "echo noise >&2", context=context) is None


def test_a_red_command_is_named_with_its_exit_status_and_its_log(
    tmp_path: Path, context: AttemptContext
) -> None:
    failure = _verify(tmp_path, "echo broken; exit 3", context=context)
    assert failure is not None
    assert failure.kind is FailureKind.VERIFY
    assert failure.message == "verify is red (exit status 3): echo broken; exit 3"
    assert "broken" in failure.log_tail


def test_what_a_signal_has_ended_is_named_with_the_signal(
    tmp_path: Path, context: AttemptContext
) -> None:
    failure = _verify(tmp_path, "kill -9 $$", context=context)
    assert failure is not None
    assert failure.message == "verify is red (signal 9): kill -9 $$"
    failure = run_setup(
        SetupCommand("kill -9 $$", 60, {}, ()),
        tmp_path,
        tmp_path / "setup.log",
        context.environ,
        slot=1,
        cookie=None,
    )
    assert failure is not None
    assert failure.message == "setup failed (signal 9)"


def test_a_command_over_its_time_limit_is_red_and_the_limit_is_named(
    tmp_path: Path, context: AttemptContext
) -> None:
    failure = _verify(tmp_path, "sleep 60", timeout=1, context=context)
    assert failure is not None
    assert failure.kind is FailureKind.VERIFY
    assert failure.message == "verify exceeded its time limit of 1 s: sleep 60"


def test_a_cancelled_command_is_interrupted_and_not_red(
    tmp_path: Path, context: AttemptContext
) -> None:
    cancel = threading.Event()
    cancel.set()
    cancelled = AttemptContext(context.environ, cancel)
    failure = _verify(tmp_path, "sleep 60", context=cancelled)
    assert failure is not None
    assert failure.kind is FailureKind.INTERRUPTED


def test_a_command_sees_the_plain_variables_and_no_variable_of_an_agent(
    tmp_path: Path, context: AttemptContext
) -> None:
    command = 'test "$PLAIN" = value && test -z "$HIDDEN"'
    assert _verify(tmp_path, command, context=context) is None
