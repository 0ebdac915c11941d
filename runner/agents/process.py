"""Runs agents and other foreign programs: the only module that does.

A program gets an argv list, an allow-listed environment, a bounded log and a time
limit. At the end its whole process group is killed. On Linux, so is everything else that
it started: a supervisor runs it. What outlives that, also for the next run after a crash,
is known by the cookie in its environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from runner.agents import program
from runner.agents.cookie import COOKIE, kill_by_cookie, new_cookie
from runner.agents.program import Program, Streams
from runner.agents.recorder import Recorder
from runner.agents.stream import Stream
from runner.core.errors import NotStarted
from runner.core.message_text import without_sequences
from runner.policy.redaction import NONE, Secrets
from runner.sandbox.walls import OPEN, Walled

# Seconds that one wait for output lasts at most, where nothing wakes it: while a file
# grows, and until that has been quiet for so long. Else it lasts longer: sixteen silent
# agents would take 2 % of a processor, so they take 0.3 %.
_POLL_SECONDS, _QUIET_POLL_SECONDS, _QUIET_AFTER = 0.05, 0.25, 2.0
_VERSION_TIMEOUT = 20
_MAX_VERSION = 100

# What a program needs to find other programs, its language and its temporary folder.
# None of these names is one that tokens have.
BASE_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "LOGNAME",
    "SHELL",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)

# "exited": by itself. The rest is why fanin stopped it: the time limit, no output for
# too long, a person, or too much output.
EndReason = Literal["exited", "timeout", "idle", "cancelled", "flooded"]


class Outcome(NamedTuple):
    """The exit of a program.

    exit_code: its exit status; a negative number is the signal that killed it.
    end_reason: whether it exited by itself, else why it was stopped.
    seconds: how long it ran.
    tail: the end of its masked output, without escape sequences.
    finished: when it ended, in the local zone.
    log_error: why the rest of its output is not in the log; None if it is.
    """

    exit_code: int
    end_reason: EndReason
    seconds: float
    tail: str
    finished: datetime
    log_error: str | None = None

    @property
    def status(self) -> str:
        """How it ended, in words."""
        if self.exit_code < 0:
            return f"signal {-self.exit_code}"
        return f"exit status {self.exit_code}"


def environment(
    environ: Mapping[str, str], allowed: Sequence[str], extra: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a foreign program: base names, `allowed` names, `extra`."""
    names = (*BASE_ENVIRONMENT, *allowed)
    inherited = {name: environ[name] for name in names if name in environ}
    return {**inherited, **extra}


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: Path | None,
    log: Path,
    timeout: float,
    idle_timeout: float | None = None,
    cancel: threading.Event | None = None,
    cookie: str | None = None,
    echo: Callable[[bytes], object] | None = None,
    stdout: Path | None = None,
    stream: Stream | None = None,
    secrets: Secrets = NONE,
    walled: Walled = OPEN,
) -> Outcome:
    """Run a program to its end. Raises NotStarted if it cannot be started.

    timeout, idle_timeout: limits in seconds, in all and without output.
    cancel: stops the program when set.
    cookie: marks its processes, so that those which outlive a crash of fanin can be
        found. The caller has written it down, or has none.
    log: gets all output, masked and as it arrives; its start and its end are kept. If
        it cannot be written, the program goes on.
    echo: gets the masked output as it arrives.
    stdout: gets standard output alone, as it is.
    stream: makes text for people of that, for the log, the tail and `echo`.
    secrets: masked in the log, in the tail and in what `echo` gets.
    walled: the walls around it.
    """
    cookie = cookie or new_cookie()
    started = time.monotonic()
    with ExitStack() as files:
        # Without a buffer, so that it can be followed and survives a crash.
        sink = files.enter_context(log.open("wb", buffering=0))
        source = files.enter_context(open(stdin or os.devnull, "rb"))  # noqa: PTH123
        # A file, because some agents exit without waiting for a slow reader of a pipe:
        # Claude Code 2.1.197 then loses all but the first 64 KiB of its answer.
        stdout_file = files.enter_context(stdout.open("wb")) if stdout else None
        streams = Streams(
            source,
            stdout_file or subprocess.PIPE,
            subprocess.PIPE if stdout else subprocess.STDOUT,
        )
        try:
            variables = {**env, **walled.variables, COOKIE: cookie}
            child = program.start(argv, cwd, variables, streams, walled)
        except OSError as error:
            what = f"cannot start {argv[0]}: {error.strerror or error}"
            refusal = _refusal(what, walled)
            remedy = "check agent.command and that the program is on PATH"
            raise NotStarted(what, refusal or remedy) from None
        pipe = child.stderr if stdout else child.stdout
        assert pipe is not None
        # Writable, because its beginning may be freed.
        growing = files.enter_context(stdout.open("r+b")) if stdout else None
        recorder = Recorder(sink, pipe, growing, stream, echo, secrets)
        recorder.wake_at_exit_of(child.pid)
        _running.add(child)
        try:
            reason = _wait(child, recorder, started, timeout, idle_timeout, cancel)
        finally:
            program.end(child)
            _running.discard(child)
            kill_by_cookie(cookie)
            recorder.finish()
            pipe.close()
            exit_code = child.exit_code
            child.close()
    seconds = time.monotonic() - started
    finished = datetime.now().astimezone()
    # First the sequences: without them a secret may be whole again.
    tail = secrets.masked_text(without_sequences(recorder.tail()))
    return Outcome(exit_code, reason, seconds, tail, finished, recorder.log_error)


# Without a lock: one call changes it, and a signal's handler may interrupt another.
_running: set[Program] = set()


def end_all() -> None:
    """End every program that runs, and what it has started, without a grace period."""
    for child in list(_running):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "linux":
                child.send_signal(signal.SIGHUP)  # the supervisor kills the rest
            else:
                os.killpg(child.pid, signal.SIGKILL)


def first_line(
    argv: Sequence[str],
    environ: Mapping[str, str],
    names: Sequence[str] = (),
    limit: int = _MAX_VERSION,
) -> str | None:
    """The first line that a program prints, such as its version: `limit` characters.

    It sees the variables `names` beside those that every program does. None if it fails
    or takes longer than _VERSION_TIMEOUT seconds.
    """
    try:
        process = subprocess.run(
            list(argv),
            env=environment(environ, names, {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_TIMEOUT,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = process.stdout.decode("utf-8", "replace").strip().splitlines()
    if process.returncode or not lines:
        return None
    return lines[0][:limit]


def _refusal(error: str, walled: Walled) -> str:
    """What the walls have refused, "" for nothing."""
    if walled.rules is None:
        return ""
    # Here, as only a program that cannot be started needs it.
    from runner.sandbox.refusals import refused

    return refused(error, walled.rules, str(Path.home()))


def _wait(
    child: Program,
    recorder: Recorder,
    started: float,
    timeout: float,
    idle_timeout: float | None,
    cancel: threading.Event | None,
) -> EndReason:
    """Record output until the program exits or has to be stopped; say which.

    The exit of the program ends the wait, not the end of its output: a daemon that it
    started may keep the pipe open.
    """
    last_output = started
    is_quiet = False
    while True:
        waits_long = recorder.is_woken or is_quiet
        if recorder.pump(_QUIET_POLL_SECONDS if waits_long else _POLL_SECONDS):
            last_output = time.monotonic()
        if child.poll() is not None:
            return "exited"
        if recorder.is_flooded:
            return "flooded"
        now = time.monotonic()
        is_quiet = now - last_output > _QUIET_AFTER
        if cancel is not None and cancel.is_set():
            return "cancelled"
        if now - started > timeout:
            return "timeout"
        if idle_timeout is not None and now - last_output > idle_timeout:
            return "idle"
