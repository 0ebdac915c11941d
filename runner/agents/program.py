"""Starts a program in a session of its own, within its walls, and ends it.

On Linux it runs below a supervisor, which ends all that it has started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from runner.agents import supervisor
from runner.core import terminal_signals
from runner.core.errors import NotStarted
from runner.core.patterns import lazy_pattern
from runner.sandbox import landlock
from runner.sandbox.walls import Walled

_SUPERVISOR = "FANIN_SUPERVISOR"  # a variable of supervisors alone
# What bubblewrap says of the first process in its namespaces.
_FIRST_PROCESS = lazy_pattern(rb'"child-pid":\s*(\d+)')
# Seconds between SIGTERM and SIGKILL.
GRACE = 5.0
_CHUNK = 2**16


class Streams(NamedTuple):
    """The standard streams of a program, as `subprocess` takes them."""

    stdin: BinaryIO
    stdout: BinaryIO | int
    stderr: int


class Program(subprocess.Popen[bytes]):
    """A program that was started, below its supervisor where there is one.

    `report` is the pipe that its supervisor reports to. `first` is a descriptor of the
    supervisor if that is the first process of a process namespace: the child is
    bubblewrap then, which hands on no signal.
    """

    report: int | None = None
    first: int | None = None

    def send_signal(self, sig: int) -> None:
        if self.first is None:
            super().send_signal(sig)
        elif self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.first, sig)

    @property
    def exit_code(self) -> int:
        """The program's, once it has ended; a negative number is a signal."""
        code: int = self.returncode
        if self.report is not None:
            with contextlib.suppress(ValueError):  # it was killed before it could say
                code = int(_available(self.report))
        return code

    def close(self) -> None:
        """Close the descriptors beside the streams."""
        for descriptor in (self.report, self.first):
            if descriptor is not None:
                os.close(descriptor)
        self.report = self.first = None

    def close_all(self) -> None:
        """Close the streams too: nobody is going to read them."""
        self.close()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()


def start(
    argv: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    streams: Streams,
    walled: Walled,
) -> Program:
    """Start a program in a session of its own, on Linux below a supervisor that exits as
    the program does. OSError if that cannot be, NotStarted if its walls cannot.
    """
    if sys.platform != "linux":
        return _popen(argv, cwd, env, streams)
    confinement: list[str] = []
    if walled.landlock:
        confinement = [landlock.__file__, *walled.landlock]
    request = supervisor.encode_request(list(argv), dict(env), confinement)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = _start_supervisor(cwd, streams, theirs, walled.prefix)
        try:
            theirs.close()
            error = b""
            # who killed it so early is found by its exit status
            with contextlib.suppress(ConnectionError):
                ours.sendall(request)
                ours.shutdown(socket.SHUT_WR)
                error = ours.recv(_CHUNK)
            assert child.report is not None
            if walled.prefix and not _available(child.report):
                raise _no_walls(child)
        except BaseException:
            end(child)
            child.close_all()
            raise
    if error:
        child.wait()
        child.close_all()
        raise OSError(int(error), os.strerror(int(error)))
    return child


def _start_supervisor(
    cwd: Path, streams: Streams, request: socket.socket, prefix: Sequence[str]
) -> Program:
    """Start a supervisor, by the command `prefix` if that is not empty."""
    # The program's arguments and variables are not the supervisor's: `pkill -f` in an
    # agent would find it, and variables for Python would change it.
    # Not empty: a process without any is one in the middle of exec, for which the search
    # at every program's end would wait.
    supervisor_env = {_SUPERVISOR: "1"}
    if "LD_LIBRARY_PATH" in os.environ:  # where Python itself may be
        supervisor_env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    report, reported = os.pipe()
    information, informed = os.pipe()
    passed = [request.fileno(), reported]
    command = list(prefix)
    if prefix:
        passed.append(informed)
        command += ["--info-fd", str(informed), "--"]
    parent = 0 if prefix else os.getpid()
    command += [sys.executable, "-I", "-S", supervisor.__file__]
    command += map(str, (request.fileno(), parent, GRACE, reported))
    try:
        # the supervisor gives the program a mask of its own
        with terminal_signals.blocked():
            child = _popen(command, cwd, supervisor_env, streams, passed)
    except BaseException:
        os.close(report)
        os.close(information)
        raise
    finally:
        os.close(reported)
        os.close(informed)
    child.report = report
    with open(information, "rb") as stream:  # noqa: PTH123
        found = _FIRST_PROCESS().search(stream.read()) if prefix else None
    if found is not None:
        with contextlib.suppress(OSError):  # it has ended
            child.first = os.pidfd_open(int(found[1]))
    return child


def _available(pipe: int) -> bytes:
    """What a pipe holds; nothing is waited for."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, _CHUNK)
    except BlockingIOError:
        return b""


def _no_walls(child: Program) -> NotStarted:
    """What to raise when bubblewrap has ended without starting anything."""
    child.wait()
    text = ""
    for stream in (child.stderr, child.stdout):
        if stream is not None:
            text = text or stream.read().decode("utf-8", "replace").strip()
    return NotStarted(
        f"the walls cannot be put up: {text or 'bubblewrap was killed'}",
        "fix that, or run without them:  --sandbox off",
    )


def _popen(
    argv: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    streams: Streams,
    pass_fds: Sequence[int] = (),
) -> Program:
    return Program(
        list(argv),
        cwd=cwd,
        env=env,
        stdin=streams.stdin,
        stdout=streams.stdout,
        stderr=streams.stderr,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def end(child: Program) -> None:
    """End what `start` has started: SIGTERM, GRACE seconds, SIGKILL."""
    if sys.platform != "linux":
        _end_group(child)
        return
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE + 2 * supervisor.END_SECONDS)
    if child.poll() is None:
        child.kill()  # somebody has stopped it
        child.wait()


def _end_group(child: Program) -> None:
    """End the child's process group: SIGTERM, GRACE seconds, SIGKILL."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)
        # Its children may outlive it. The group keeps its id while any of them lives,
        # so this reaches no other group.
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
