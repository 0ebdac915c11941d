"""Ctrl-C at the moment in which a program starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.agents import process

STARTS = 60
# Both run in a process group of their own, whose members get SIGINT all the time, as the
# group in the foreground of a terminal does at Ctrl-C.
GIT = """
import os
from pathlib import Path
from runner.repo.command import Git
def start():
    Git(Path.cwd(), {}).run(["--version"])
"""
PROGRAM = """
import os
from pathlib import Path
from runner.agents import process
def start():
    ended = process.run(["true"], cwd=Path.cwd(), env={"PATH": os.defpath}, stdin=None,
                        log=Path("log"), timeout=60)
    assert (ended.end_reason, ended.exit_code) == ("exited", 0), ended
"""
STORM = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, lambda *_: None)
press = f'''import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
while True:
    os.killpg({os.getpid()}, signal.SIGINT)
    time.sleep(0.0005)
'''
presses = subprocess.Popen([sys.executable, "-c", press], stdout=subprocess.PIPE)
presses.stdout.readline()
try:
    for _ in range(%d):
        start()
finally:
    presses.kill()
"""

# What it finds blocked, and of these signals ignored.
TELL = """
import signal
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
ours = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
ignored = [each for each in ours if signal.getsignal(each) is signal.SIG_IGN]
print(blocked, ignored)
"""


@pytest.mark.parametrize("program", [GIT, PROGRAM], ids=["git", "agent"])
def test_it_reaches_no_program_that_is_being_started(
    tmp_path: Path, program: str
) -> None:
    script = program + STORM % STARTS
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        process_group=0,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_agent_gets_them_as_at_a_terminal(tmp_path: Path) -> None:
    told = tmp_path / "stdout"
    process.run(
        [sys.executable, "-c", TELL],
        cwd=tmp_path,
        env=process.environment(os.environ, (), {}),
        stdin=None,
        log=tmp_path / "log",
        timeout=60,
        stdout=told,
    )
    assert told.read_text() == "set() []\n"
