"""Starts agents and other foreign programs: the only module that does.

A program gets an argv list, an allow-listed environment, a bounded log and a time
limit. At the end its whole process group is killed. On Linux, so is everything else that
it started: `supervisor` runs it. For what outlives a supervisor, and for the next run
after a crash, processes are also recognised by a cookie in their environment, as
Jenkins' ProcessTreeKiller does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from io import FileIO
from pathlib import Path
from secrets import token_hex
from typing import IO, BinaryIO, Literal, NamedTuple

from runner.agents import supervisor
from runner.agents.stream import Stream
from runner.core import terminal_signals
from runner.core.errors import NotStarted
from runner.core.message_text import without_sequences
from runner.policy.masking import Masker
from runner.policy.redaction import NONE, Secrets
from runner.sandbox import landlock
from runner.sandbox.walls import OPEN, Walled

COOKIE = "FANIN_COOKIE"
_SUPERVISOR = "FANIN_SUPERVISOR"  # a variable of supervisors alone
# What bubblewrap says of the first process in its namespaces.
_FIRST_PROCESS = re.compile(rb'"child-pid":\s*(\d+)')
# Bytes of standard output that are kept, from its end. What is before them is freed while
# the program runs, so that the disk does not fill.
STDOUT_LIMIT = 64 * 2**20
# Where the file system cannot free the beginning of a file, a program that prints more is
# stopped.
_FLOOD_LIMIT = 2**30
# Bytes that are freed at once.
_FREED_AT_ONCE = 2**22
# Bytes kept from the start of a log. The last TAIL_LIMIT bytes are kept as well.
LOG_LIMIT = 16 * 2**20
TAIL_LIMIT = 64 * 2**10
# Seconds between SIGTERM and SIGKILL.
GRACE = 5.0
# Seconds that one wait for output lasts at most, where nothing wakes it: while a file
# grows, and until that has been quiet for so long. Else it lasts longer: sixteen silent
# agents would take 2 % of a processor, so they take 0.3 %.
_POLL_SECONDS, _QUIET_POLL_SECONDS, _QUIET_AFTER = 0.05, 0.25, 2.0
_CHUNK = 2**16
_CHUNKS_PER_TURN = 64
# Bytes that a program can print before it blocks, where the system allows so much.
_PIPE_SIZE = 2**20
# After a read of more than this many bytes, wait this many seconds: a few long reads
# cost less than many short ones.
_LARGE_READ, _READ_PAUSE = 2**11, 0.008
_VERSION_TIMEOUT = 20
# How often processes are searched for, and the seconds in between: exec takes less.
_MAX_SEARCHES, _SEARCH_PAUSE = 10, 0.01
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD of the kernel's sched.h
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


@dataclass(frozen=True)
class Outcome:
    """The exit of a program.

    exit_code: its exit status; a negative number is the signal that killed it.
    end_reason: whether it exited by itself, else why it was stopped.
    seconds: how long it ran.
    tail: the end of its masked output, without escape sequences.
    log_error: why the rest of its output is not in the log; None if it is.
    finished: when it ended, in the local zone.
    """

    exit_code: int
    end_reason: EndReason
    seconds: float
    tail: str
    log_error: str | None = None
    finished: datetime = field(default_factory=lambda: datetime.now().astimezone())

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
        streams = _Streams(
            source,
            stdout_file or subprocess.PIPE,
            subprocess.PIPE if stdout else subprocess.STDOUT,
        )
        try:
            variables = {**env, **walled.variables, COOKIE: cookie}
            child = _start(argv, cwd, variables, streams, walled)
        except OSError as error:
            raise NotStarted(
                f"cannot start {argv[0]}: {error.strerror or error}",
                "check agent.command and that the program is on PATH",
            ) from None
        pipe = child.stderr if stdout else child.stdout
        assert pipe is not None
        # Writable, because its beginning may be freed.
        growing = files.enter_context(stdout.open("r+b")) if stdout else None
        recorder = _Recorder(sink, pipe, growing, stream, echo, secrets)
        recorder.wake_at_exit_of(child)
        _running.add(child)
        try:
            reason = _wait(child, recorder, started, timeout, idle_timeout, cancel)
        finally:
            _end(child)
            _running.discard(child)
            kill_by_cookie(cookie)
            recorder.finish()
            pipe.close()
            exit_code = child.exit_code
            child.close()
    seconds = time.monotonic() - started
    # First the sequences: without them a secret may be whole again.
    tail = secrets.masked_text(without_sequences(recorder.tail()))
    return Outcome(exit_code, reason, seconds, tail, recorder.log_error)


# Without a lock: one call changes it, and a signal's handler may interrupt another.
_running: set[_Program] = set()


def end_all() -> None:
    """End every program that runs, and what it has started, without a grace period."""
    for child in list(_running):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "linux":
                child.send_signal(signal.SIGHUP)  # the supervisor kills the rest
            else:
                os.killpg(child.pid, signal.SIGKILL)


class _Streams(NamedTuple):
    """The standard streams of a program, as `subprocess` takes them."""

    stdin: BinaryIO
    stdout: BinaryIO | int
    stderr: int


class _Program(subprocess.Popen[bytes]):
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


def _start(
    argv: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    streams: _Streams,
    walled: Walled,
) -> _Program:
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
            _end(child)
            child.close_all()
            raise
    if error:
        child.wait()
        child.close_all()
        raise OSError(int(error), os.strerror(int(error)))
    return child


def _start_supervisor(
    cwd: Path, streams: _Streams, request: socket.socket, prefix: Sequence[str]
) -> _Program:
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
        found = _FIRST_PROCESS.search(stream.read()) if prefix else None
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


def _no_walls(child: _Program) -> NotStarted:
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
    streams: _Streams,
    pass_fds: Sequence[int] = (),
) -> _Program:
    return _Program(
        list(argv),
        cwd=cwd,
        env=env,
        stdin=streams.stdin,
        stdout=streams.stdout,
        stderr=streams.stderr,
        start_new_session=True,
        pass_fds=pass_fds,
    )


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


def _wait(
    child: _Program,
    recorder: _Recorder,
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


class _Recorder:
    """Copies a pipe, and optionally a growing file, to a log file.

    The copy is masked. Its first LOG_LIMIT and its last TAIL_LIMIT bytes are kept.
    """

    def __init__(
        self,
        sink: FileIO,
        pipe: IO[bytes],
        growing: BinaryIO | None,
        stream: Stream | None,
        echo: Callable[[bytes], object] | None,
        secrets: Secrets,
    ) -> None:
        self._sink = sink
        self._growing = growing
        self._echo = echo
        self._stream = stream
        # One for each stream: what one prints may come in the middle of a secret.
        self._masker = Masker(secrets.names)
        self._stdout_masker = Masker(secrets.names)
        self._fd = pipe.fileno()
        os.set_blocking(self._fd, False)
        self._read_pause = 0.0
        # Only Linux can enlarge a pipe, and not beyond a total for each user.
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
            # A small pipe would fill up during the pause.
            self._read_pause = _READ_PAUSE
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._fd, selectors.EVENT_READ)
        self._exit_fd: int | None = None
        self._is_open = True
        self._written = 0
        self._dropped = 0
        self._tail = b""
        # Bytes at the beginning of the growing file that were freed.
        self._freed = 0
        self._can_free = True
        self._is_in_gap = False
        self.is_flooded = False
        self.log_error: str | None = None

    def wake_at_exit_of(self, child: _Program) -> None:
        """Let the program's exit end a wait for output (Linux only)."""
        if hasattr(os, "pidfd_open"):
            # Fails on kernels before 5.3 and without a free descriptor. Then the wait
            # simply lasts until its timeout.
            with contextlib.suppress(OSError):
                self._exit_fd = os.pidfd_open(child.pid)
                self._selector.register(self._exit_fd, selectors.EVENT_READ)

    @property
    def is_woken(self) -> bool:
        """Whether output and the program's exit end a wait; a file that grows does not."""
        return self._exit_fd is not None and self._growing is None

    def pump(self, seconds: float) -> bool:
        """Record the available output; return whether there was any.

        Waits up to `seconds` for output or for the program's exit.
        """
        file_grew = self._read_growing_file()
        timeout = 0 if file_grew else seconds
        if not self._selector.get_map():
            time.sleep(timeout)
            return file_grew
        pipe_has_data = self._is_readable(timeout) and self._read_pipe(_CHUNKS_PER_TURN)
        return pipe_has_data or file_grew

    def finish(self) -> None:
        """Record the rest, without waiting for processes that keep the pipe open."""
        while self._read_growing_file():
            pass
        while self._is_open and self._is_readable(0) and self._read_pipe(1):
            pass
        if self._exit_fd is not None:
            os.close(self._exit_fd)
        if self._stream is not None:
            self._record(self._stdout_masker.feed(self._stream.flush()))
        self._record(self._stdout_masker.flush())
        self._record(self._masker.flush())
        if self._dropped:
            gap = f"\n[... {self._dropped} bytes left out ...]\n"
            self._write(gap.encode() + self._tail)
        self._selector.close()

    def tail(self) -> str:
        """The last TAIL_LIMIT bytes that were recorded, as text."""
        return self._tail.decode("utf-8", "replace")

    def _is_readable(self, seconds: float) -> bool:
        return any(key.fd == self._fd for key, _ in self._selector.select(seconds))

    def _read_growing_file(self) -> bool:
        """Record what was added to the growing file; return whether there was any."""
        if self._growing is None:
            return False
        self._free_beginning(self._growing)
        data = self._growing.read(_CHUNKS_PER_TURN * _CHUNK)
        text = self._behind_gap(data)
        if self._stream is not None:
            text = self._stream.feed(text)
        self._record(self._stdout_masker.feed(text))
        return bool(data)

    def _behind_gap(self, data: bytes) -> bytes:
        """The data from its first whole line on, after a part that was not read: the end
        of a secret would not be found.
        """
        if not self._is_in_gap:
            return data
        _, line_end, rest = data.partition(b"\n")
        self._dropped += len(data) - len(rest)
        self._is_in_gap = not line_end
        return rest

    def _free_beginning(self, growing: BinaryIO) -> None:
        """Free what is more than STDOUT_LIMIT bytes before the end of the file."""
        size = os.fstat(growing.fileno()).st_size
        excess = size - STDOUT_LIMIT
        if excess - self._freed < _FREED_AT_ONCE:
            return
        if self._can_free and not _punch_hole(growing.fileno(), excess):
            self._can_free = False
        if not self._can_free:
            self.is_flooded = size > _FLOOD_LIMIT
            return
        self._freed = excess
        unread = excess - growing.tell()
        if unread > 0:
            # It prints faster than it is read. The log has no room for it either.
            self._record(self._stdout_masker.flush())
            if self._stream is not None:
                self._stream.skip()
            self._dropped += unread
            growing.seek(excess)
            self._is_in_gap = True

    def _read_pipe(self, reads: int) -> bool:
        """Record at most `reads` reads of the pipe; return False at its end."""
        for _ in range(reads):
            try:
                data = os.read(self._fd, _PIPE_SIZE)
            except BlockingIOError:
                return True
            if len(data) > _LARGE_READ and self._read_pause:
                time.sleep(self._read_pause)
            if not data:
                self._is_open = False
                self._selector.unregister(self._fd)
                return False
            self._record(self._masker.feed(data))
        return True

    def _record(self, data: bytes) -> None:
        room = max(0, LOG_LIMIT - self._written)
        logged = data[:room]
        if logged:
            self._write(logged)
            if self._echo is not None:
                self._echo(logged)
        self._written += len(logged)
        self._dropped += len(data) - len(logged)
        if len(data) >= TAIL_LIMIT:
            self._tail = data[-TAIL_LIMIT:]
        else:
            self._tail = (self._tail + data)[-TAIL_LIMIT:]

    def _write(self, data: bytes) -> None:
        """Write to the log, until it cannot be written: a full disk ends no agent."""
        rest = memoryview(data)
        try:
            while rest and self.log_error is None:
                rest = rest[self._sink.write(rest) :]
        except OSError as error:
            self.log_error = error.strerror or str(error)


def _punch_hole(file: int, length: int) -> bool:
    """Free the first bytes of a file, which read as zeros then (Linux only).

    Returns whether the system and the file system can do that.
    """
    import ctypes

    try:
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate64
    except (OSError, AttributeError):
        return False
    # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, from linux/falloc.h
    offset, size = ctypes.c_int64(0), ctypes.c_int64(length)
    return bool(fallocate(file, ctypes.c_int(3), offset, size) == 0)


def _end(child: _Program) -> None:
    """End what `_start` has started: SIGTERM, GRACE seconds, SIGKILL."""
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


def _end_group(child: _Program) -> None:
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


def new_cookie() -> str:
    """A cookie that nobody can know before."""
    return token_hex(16)


def kill_by_cookie(cookie: str) -> None:
    """Kill every process that has the cookie in its environment (Linux only).

    Does nothing for a text that is not a complete cookie. A crash may leave an empty
    file in which the cookie should be, and every agent's cookie begins with that.
    """
    if not re.fullmatch(r"[0-9a-f]{32}", cookie):
        return
    needle = f"{COOKIE}={cookie}".encode()
    if not Path("/proc").is_dir():
        return
    # One that is killed may have started another meanwhile. One in the middle of exec
    # has no environment for a moment, as those that have none at all.
    for _ in range(_MAX_SEARCHES):
        found = _search(needle)
        for pid in found.with_cookie:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not found.with_cookie and not found.without_environment:
            return
        time.sleep(_SEARCH_PAUSE)


class _Found(NamedTuple):
    with_cookie: list[int]
    without_environment: list[int]


def _search(needle: bytes) -> _Found:
    """The processes whose environment has the text, and those of this user that have
    none.
    """
    found = _Found([], [])
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    for pid in pids:
        # The process may have ended meanwhile, or belong to another user.
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes()
            if needle in variables:
                found.with_cookie.append(pid)
            elif not variables and _may_be_starting(pid):
                found.without_environment.append(pid)
    return found


def _may_be_starting(pid: int) -> bool:
    """Whether a process without an environment is none of the kernel's, no zombie, and
    this user's. OSError if it has ended.
    """
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    state, flags = fields[0], int(fields[6])
    is_program = not flags & _KERNEL_THREAD and state not in {b"Z", b"X"}
    return is_program and Path(f"/proc/{pid}").stat().st_uid == os.geteuid()
