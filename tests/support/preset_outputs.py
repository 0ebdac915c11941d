"""Reads what a preset makes of a program's output."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from runner import agents
from runner.agents.base import AttemptFolder, Verdict
from runner.agents.process import EndReason, Outcome


def read_output(
    preset: str,
    path: Path,
    stdout: str,
    *,
    status: int = 0,
    end_reason: EndReason = "exited",
    stderr: str = "",
) -> Verdict:
    """The preset's verdict on a program that printed this."""
    folder = AttemptFolder(path)
    folder.stdout.write_text(stdout)
    tail = (stdout + stderr)[-65536:]
    return agents.presets()[preset].read(
        Outcome(status, end_reason, 3.0, tail, datetime.now().astimezone()), folder
    )
