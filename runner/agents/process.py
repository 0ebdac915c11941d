"""Only starter of agents and other foreign programs: argv list, allow-listed
environment, bounded log, time limit.

The whole process group is ended, and on Linux also what escaped from it, found by a
cookie in its environment (the way Jenkins' ProcessTreeKiller does it).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from runner.core.errors import EnvironmentBroken
from runner.policy.redaction import Masker

COOKIE = "FANIN_COOKIE"
# bytes of a program's answer; one that prints more is ended before the disk is full
ANSWER_LIMIT = 64 * 2**20
# bytes of one log that are kept from its start; the end is always kept as well
LOG_LIMIT = 16 * 2**20
TAIL = 64 * 2**10
GRACE = 5.0  # seconds between SIGTERM and SIGKILL
_CHUNK = 2**16
_PIPE = 2**20  # what a program may print while nobody reads
# bytes that came at once, and seconds in which more is let come: few long turns
_FLOOD, _BREATH = 2**15, 0.008

# What a program needs to find itself, its language and its temporary folder; no token
# has such a name.
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


@dataclass(frozen=True)
class Outcome:
    """How a program ended. `ended` says who ended it: itself, the time limit, silence,
    or a person.
    """

    exit_code: int
    ended: str  # "exited" | "timeout" | "idle" | "cancelled" | "flooded"
    seconds: float
    tail: str


def environment(
    environ: Mapping[str, str], allowed: Sequence[str], extra: Mapping[str, str]
) -> dict[str, str]:
    """The allow-listed environment of a foreign program: the base names, the `allowed`
    ones, then `extra`.
    """
    names = (*BASE_ENVIRONMENT, *allowed)
    return {name: environ[name] for name in names if name in environ} | dict(extra)


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
    on_start: Callable[[str], object] = lambda _: None,
    echo: Callable[[bytes], object] | None = None,
    answer: Path | None = None,
    masker: Masker | None = None,
) -> Outcome:
    """Run to the end, output to `log` (bounded: its start and its end are kept). Times
    are seconds.

    `answer` gets standard output alone, as it is. `log`, the tail and `echo` are masked
    by `masker`.

    `on_start` gets the cookie before the program starts, so that what outlives a crash
    can be found. `echo` gets the output as it comes. EnvironmentBroken if the program
    cannot be started.
    """
    cookie = secrets.token_hex(16)
    on_start(cookie)
    started = time.monotonic()
    with ExitStack() as files:
        sink = files.enter_context(log.open("wb"))
        source = files.enter_context(open(stdin or os.devnull, "rb"))  # noqa: PTH123
        # A file, because some agents end without waiting for a slow reader of a pipe:
        # Claude Code 2.1.197 then loses all but the first 64 KiB of its answer.
        written = files.enter_context(answer.open("wb")) if answer else subprocess.PIPE
        try:
            child = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env={**env, COOKIE: cookie},
                stdin=source,
                stdout=written,
                stderr=subprocess.PIPE if answer else subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise EnvironmentBroken(
                f"cannot start {argv[0]}: {error.strerror or error}",
                "check agent.command and that the program is on PATH",
            ) from None
        pipe = child.stderr if answer else child.stdout
        assert pipe is not None
        follow = files.enter_context(answer.open("rb")) if answer else None
        recorder = _Recorder(sink, pipe, follow, echo, masker or Masker())
        recorder.wake_at_end_of(child)
        try:
            ended = _watch(child, recorder, started, timeout, idle_timeout, cancel)
        finally:
            end_group(child)
            end_cookie(cookie)
            recorder.finish()
            pipe.close()
    return Outcome(child.returncode, ended, time.monotonic() - started, recorder.tail())


def first_line(argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """The first line that a program prints (its version), None if it does not end well
    within seconds.
    """
    try:
        done = subprocess.run(
            list(argv),
            env=environment(environ, (), {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return lines[0][:100] if lines and not done.returncode else None


def _watch(
    child: subprocess.Popen[bytes],
    recorder: _Recorder,
    started: float,
    timeout: float,
    idle: float | None,
    cancel: threading.Event | None,
) -> str:
    """Wait for the end of the program or of its patience; output is read on the way.

    The program's own exit ends the wait, never the end of its output: a daemon it
    leaves may hold the pipe.
    """
    heard = started
    while True:
        if recorder.pump(0.05):
            heard = time.monotonic()
        if child.poll() is not None:
            return "exited"
        if recorder.followed > ANSWER_LIMIT:
            return "flooded"
        now = time.monotonic()
        if cancel is not None and cancel.is_set():
            return "cancelled"
        if now - started > timeout:
            return "timeout"
        if idle is not None and now - heard > idle:
            return "idle"


class _Recorder:
    """Copies a pipe, and a file that grows, to a file, masked, keeping the first
    LOG_LIMIT and the last TAIL bytes.
    """

    def __init__(
        self,
        sink: BinaryIO,
        pipe: IO[bytes],
        follow: BinaryIO | None,
        echo: Callable[[bytes], object] | None,
        masker: Masker,
    ) -> None:
        self._sink = sink
        self._follow = follow
        self._echo = echo
        self._masker = masker
        self._fd = pipe.fileno()
        os.set_blocking(self._fd, False)
        self._breath = 0.0
        # Linux, if the user's pipes are not too many already
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE)
            self._breath = _BREATH  # a small pipe would be full long before
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._fd, selectors.EVENT_READ)
        self._end: int | None = None  # becomes readable when the program ends
        self._open = True
        self._written = 0
        self._dropped = 0
        self._tail = b""
        self.followed = 0  # bytes of the file that were seen

    def wake_at_end_of(self, child: subprocess.Popen[bytes]) -> None:
        """Let the end of the program end a wait as well, where the system can tell it
        (Linux).
        """
        if hasattr(os, "pidfd_open"):
            # a kernel older than 5.3, or no descriptor left: the wait is short
            with contextlib.suppress(OSError):
                self._end = os.pidfd_open(child.pid)
                self._selector.register(self._end, selectors.EVENT_READ)

    def pump(self, wait: float) -> bool:
        """Read what is there, waiting at most `wait` seconds for it or for the end;
        whether anything came.
        """
        came = self._follow_some(64)
        if not self._selector.get_map():
            time.sleep(0 if came else wait)
            return came
        return (self._readable(0 if came else wait) and self._read_some(64)) or came

    def _readable(self, wait: float) -> bool:
        return any(key.fd == self._fd for key, _ in self._selector.select(wait))

    def finish(self) -> None:
        """Take what is still there, without waiting for those who hold the pipe open."""
        while self._follow_some(64):
            pass
        while self._open and self._readable(0) and self._read_some(1):
            pass
        if self._end is not None:
            os.close(self._end)
        self._keep(self._masker.flush())
        if self._dropped:
            self._sink.write(
                f"\n[... {self._dropped} bytes left out ...]\n".encode() + self._tail
            )
        self._sink.flush()
        self._selector.close()

    def tail(self) -> str:
        return self._tail.decode("utf-8", "replace")

    def _follow_some(self, chunks: int) -> bool:
        if self._follow is None:
            return False
        data = self._follow.read(chunks * _CHUNK)
        self.followed += len(data)
        self._keep(self._masker.feed(data))
        return bool(data)

    def _read_some(self, chunks: int) -> bool:
        for _ in range(chunks):
            try:
                data = os.read(self._fd, _PIPE)
            except BlockingIOError:
                return True
            if len(data) > _FLOOD and self._breath:
                time.sleep(self._breath)
            if not data:
                self._open = False
                self._selector.unregister(self._fd)
                return False
            self._keep(self._masker.feed(data))
        return True

    def _keep(self, data: bytes) -> None:
        room = max(0, LOG_LIMIT - self._written)
        if room:
            self._sink.write(data[:room])
        if self._echo is not None and room and data:
            self._echo(data[:room])
        self._written += min(room, len(data))
        self._dropped += max(0, len(data) - room)
        self._tail = data[-TAIL:] if len(data) >= TAIL else (self._tail + data)[-TAIL:]


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End the child's whole process group: SIGTERM, a grace period, SIGKILL."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)
        # Its children may live on though it has ended; the group's id is theirs as long
        # as one of them lives.
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def end_cookie(cookie: str) -> None:
    """Kill every process that carries the cookie in its environment. Linux only:
    elsewhere the group must do.

    Nothing for a text that is no whole cookie: a crash may leave its file empty, and
    every agent's would begin with it.
    """
    if not re.fullmatch(r"[0-9a-f]{32}", cookie):
        return
    needle = f"{COOKIE}={cookie}".encode()
    with contextlib.suppress(FileNotFoundError), os.scandir("/proc") as listed:
        for number in [entry.name for entry in listed if entry.name.isdecimal()]:
            environment_file = Path("/proc", number, "environ")
            with (
                contextlib.suppress(OSError),
                environment_file.open("rb", buffering=0) as environ,
            ):
                if needle in environ.read():
                    os.kill(int(number), signal.SIGKILL)
