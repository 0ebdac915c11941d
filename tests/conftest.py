"""Guards for every test: no inherited git, GitHub or fanin variables, a known identity,
no socket to the outside.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

IDENTITY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.com",
    "GIT_COMMITTER_NAME": "Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.com",
}

# Without bytecode each start of fanin, of which there are thousands, compiles all that
# it imports, and each worker of the tests compiles all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell has what it starts in the background ignore Ctrl-C, and so would each program
# that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(
            ("GIT_", "GITHUB_", "FANIN_", "INPUT_", "RUNNER_", "ACTIONS_")
        ):
            monkeypatch.delenv(name)
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def _no_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in {
            "127.0.0.1",
            "::1",
            "localhost",
        }:
            raise AssertionError(f"a test reaches for {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """No workers for `pytest tests/unit/PACKAGE`: they start slower than it runs.

    One for each core for all of `tests/unit`, and two otherwise: most other tests wait
    for git, agents and workflow engines.
    """
    unit = Path(__file__).parent / "unit"
    paths = [Path(argument.split("::")[0]).resolve() for argument in config.args]
    if all(unit in path.parents for path in paths):
        return 0
    cores = os.cpu_count() or 1
    return cores if paths == [unit] else 2 * cores


def pytest_collection_finish() -> None:
    """Thousands of tests would be looked at in each full collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def resources() -> Path:
    return Path(__file__).parent / "resources"
