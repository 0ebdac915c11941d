"""What waiting for a program costs that prints nothing, and what it costs others."""

from __future__ import annotations

import os
import selectors
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.agents import cookie, process

SECONDS = 1.2
SLEEP = f"import time; time.sleep({SECONDS})"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The limits of all waits for output, in seconds."""
    found: list[float | None] = []

    class Counted(selectors.DefaultSelector):
        def select(
            self, timeout: float | None = None
        ) -> list[tuple[selectors.SelectorKey, int]]:
            found.append(timeout)
            return super().select(timeout)

    monkeypatch.setattr(selectors, "DefaultSelector", Counted)
    return found


def run(folder: Path, stdout: Path | None, program: str = SLEEP) -> None:
    ended = process.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=process.environment(os.environ, (), {}),
        stdin=None,
        log=folder / "log",
        timeout=60,
        stdout=stdout,
    )
    assert (ended.end_reason, ended.exit_code) == ("exited", 0)


def test_fanin_wakes_four_times_a_second_for_a_program_that_is_silent_from_the_start(
    waits: list[float | None], tmp_path: Path
) -> None:
    run(tmp_path, stdout=None)
    assert waits.count(0.25) >= SECONDS / 0.25
    # Waits of no length look for what is left at the end.
    assert 0.05 not in waits


def test_a_program_that_has_closed_its_output_is_waited_for_by_its_exit(
    waits: list[float | None], tmp_path: Path
) -> None:
    run(tmp_path, stdout=None, program=f"import os; os.close(1); os.close(2); {SLEEP}")
    assert waits.count(0.25) >= SECONDS / 0.25
    assert 0.05 not in waits


def test_a_file_that_may_grow_is_looked_at_more_often(
    waits: list[float | None], tmp_path: Path
) -> None:
    run(tmp_path, stdout=tmp_path / "stdout")
    assert 0.05 in waits


@pytest.mark.skipif(sys.platform != "linux", reason="there is no supervisor")
def test_a_program_that_runs_is_not_taken_for_one_that_is_starting(
    tmp_path: Path,
) -> None:
    started, cancel = tmp_path / "started", threading.Event()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(
            process.run,
            ["sh", "-c", f"touch {started}; sleep 60"],
            cwd=tmp_path,
            env=process.environment(os.environ, (), {}),
            stdin=None,
            log=tmp_path / "log",
            timeout=60,
            cancel=cancel,
        )
        while not (started.exists() and process._running):
            time.sleep(0.01)
        supervisors = {child.pid for child in process._running}
        starting = cookie._search(b"a needle").without_environment
        cancel.set()
    assert supervisors
    assert supervisors.isdisjoint(starting)
    assert ended.result().end_reason == "cancelled"
