"""What cannot be started on this machine is told from what has run and failed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from runner.agents import process
from runner.core.errors import NotStarted
from runner.sandbox.walls import OPEN, Walled

# The arguments are its pause, `--info-fd` and the descriptor.
_WALLS = """
import os, sys, time
os.close(int(sys.argv[3]))
time.sleep(float(sys.argv[1]))
sys.exit("no room for walls")
"""


def run(folder: Path, argv: list[str], walled: Walled = OPEN) -> process.Outcome:
    return process.run(
        argv,
        cwd=folder,
        env=process.environment(os.environ, (), {}),
        stdin=None,
        log=folder / "log",
        timeout=60,
        walled=walled,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="walls are Linux's")
@pytest.mark.parametrize("pause", [0, 0.5])  # the request is there by then
def test_what_the_walls_say_is_the_reason_when_they_end_before_the_program_starts(
    tmp_path: Path, pause: float
) -> None:
    # what bubblewrap does until it finds that it cannot start the command
    walls = Walled((sys.executable, "-c", _WALLS, str(pause)))
    with pytest.raises(NotStarted, match="put up: no room for walls") as raised:
        run(tmp_path, ["true"], walls)
    assert "--sandbox off" in str(raised.value)


def test_a_program_that_the_system_cannot_run_is_not_started(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF of no machine")
    program.chmod(0o755)
    with pytest.raises(NotStarted, match=f"cannot start {program}"):
        run(tmp_path, [str(program)])
