"""A real command at a terminal of its own, at which a person presses Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.support.project import Project

_CTRL_C = b"\x03"
_SEQUENCE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class RunAtTerminal:
    """`fanin run`, or the command of `argv`, whose terminal is ours. A context: it ends
    with it.
    """

    def __init__(
        self,
        project: Project,
        *argv: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runner", *(argv or ("run",))],
            cwd=cwd or project.root,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=env or _environment(project),
            preexec_fn=own_terminal,
        )
        os.close(theirs)
        self._read = bytearray()
        self._reader = threading.Thread(target=self._read_all, daemon=True)
        self._reader.start()

    def __enter__(self) -> RunAtTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def output(self) -> str:
        """All that it has written, without colours and movements."""
        text = self._read.decode("utf-8", "replace").replace("\r\n", "\n")
        return _SEQUENCE.sub("", text)

    def press_ctrl_c(self) -> None:
        os.write(self._ours, _CTRL_C)

    def end(self) -> str:
        """What it has written until its end."""
        self.process.wait(120)
        self._reader.join(10)
        os.close(self._ours)
        return self.output

    def _read_all(self) -> None:
        try:
            while data := os.read(self._ours, 2**16):
                self._read += data
        except OSError:  # the other side is closed
            return


def own_terminal() -> None:
    """Only of its own controlling terminal does a program get signals."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _environment(project: Project) -> dict[str, str]:
    env = {**os.environ, "FAKE_AGENT_LOG": str(project.log), "TERM": "xterm"}
    env.pop("CI", None)
    return env
