"""However many signals come, a command that was interrupted exits as one."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

AFTER_A_RUN = """
import os, signal, sys
from runner.cli import EXIT_INTERRUPTED
from runner.core.interrupts import interrupt_on_signals
from runner.local.stopping import StopRequests, stops_on_signals

number = int(sys.argv[1])
interrupt_on_signals()
requests = StopRequests()
with stops_on_signals(requests, print):
    os.kill(os.getpid(), number)
    requests.cancel.wait()
try:
    os.kill(os.getpid(), number)
except KeyboardInterrupt:
    print("interrupted")

class AtTheVeryEnd:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, number)

sys.modules["at the very end"] = AtTheVeryEnd()
sys.exit(EXIT_INTERRUPTED)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_later_signal_changes_how_the_process_exits(number: int) -> None:
    done = _python(AFTER_A_RUN, str(int(number)))
    assert done.returncode == 130, done.stderr
    assert done.stdout.endswith("interrupted\n")


TWICE = """
import os, signal, sys
from runner.core.interrupts import interrupt_on_signals

interrupt_on_signals()
try:
    os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    os.kill(os.getpid(), signal.SIGHUP)
    print("not ended")
"""


def test_the_second_signal_ends_the_process_as_interrupted() -> None:
    done = _python(TWICE)
    assert (done.returncode, done.stdout) == (130, "interrupted\n"), done.stderr


def test_what_is_ignored_stays_ignored() -> None:
    code = TWICE.replace(
        "interrupt_on_signals()\ntry",
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\ninterrupt_on_signals()\ntry",
    )
    assert _python(code).stdout == "interrupted\nnot ended\n"


def _python(code: str, *argv: str) -> subprocess.CompletedProcess[str]:
    # No terminal, at which the first Ctrl-C asks for less.
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
