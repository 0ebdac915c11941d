"""Processes that sleep for a time of their own, by which a test finds what it left behind.

The list of processes is the machine's: tests that run at the same time must not take
each other's for their own.
"""

from __future__ import annotations

import secrets
import subprocess


def own_seconds() -> str:
    """More than an hour, as an argument of `sleep` that nobody else gives it.

    All have the same length, so that none is the beginning of another.
    """
    return f"{4000 + secrets.randbelow(1000)}.{secrets.randbelow(10**12):012}"


def sleeps(seconds: str) -> bool:
    """Whether any process of the machine still sleeps for this time."""
    argv = ["pgrep", "-f", f"sleep.*{seconds}"]
    found = subprocess.run(argv, capture_output=True, check=False)
    assert found.returncode in {0, 1}, found.stderr
    return found.returncode == 0
