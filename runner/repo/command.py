"""Starts git: the only module that does."""

from __future__ import annotations

import os
import re
import select
import selectors
import shlex
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from typing import IO, BinaryIO, NamedTuple, cast
from weakref import WeakSet

from runner.core import terminal_signals
from runner.core.errors import EnvironmentBroken, GitFailed, GitStopped, UsageProblem
from runner.repo.environment import (
    ISOLATED_CONFIG,
    REPOSITORY_CONFIG,
    git_environment,
    inherited_environment,
)

# Seconds that one git process may take. Fetching a large repository is the slowest.
TIME_LIMIT = 3_600.0
# Seconds that git has left once its run is cancelled: most finish what they do.
CANCEL_GRACE = 5.0
_KILL_GRACE = (
    5.0  # seconds between SIGTERM, at which git removes its locks, and SIGKILL
)
_MAX_LAST_WORDS = 2**12  # bytes of what a process has said before it ended
_POLL_SECONDS = 0.1  # how often a git that can be cancelled is looked after
_OVERSEER_SECONDS = 0.5  # how often one that answers many requests is looked after
_CHUNK = 2**16  # bytes that are read from a pipe at a time
_MAX_MESSAGES = 2**16  # bytes that are kept of standard error, its end


class Completed(NamedTuple):
    """A git process that has ended: its status, its output, its messages."""

    status: int
    stdout: bytes
    stderr: str


class Git(NamedTuple):
    """Runs git in the folder `cwd`, with `config` (KEY=VALUE) and the environment `env`.

    Inherited GIT_* variables are removed; the process sees only those in `env`. Each
    command is ended after `timeout` seconds, CANCEL_GRACE seconds after `cancel` is set,
    and when it has printed more than `max_output` bytes; that raises GitStopped.
    """

    cwd: Path
    env: Mapping[str, str]
    config: Sequence[str] = REPOSITORY_CONFIG
    timeout: float = TIME_LIMIT
    cancel: threading.Event | None = None
    max_output: int | None = None

    @property
    def watch(self) -> Watch:
        """The limits of one command that starts now."""
        return Watch(self.timeout, self.cancel, self.max_output)

    def with_env(self, env: Mapping[str, str]) -> Git:
        """The same with further environment variables."""
        return self._replace(env={**self.env, **env})

    def with_config(self, *config: str) -> Git:
        """The same with further configuration (KEY=VALUE)."""
        return self._replace(config=(*self.config, *config))

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | BinaryIO | None = None,
        stdout: BinaryIO | None = None,
        ok: Collection[int] = (0,),
    ) -> bytes:
        """Run one git command and return its output.

        Raises GitFailed if its status is not in `ok`.
        """
        done = self.run_unchecked(argv, env=env, stdin=stdin, stdout=stdout)
        if done.status not in ok:
            raise GitFailed(argv, done.status, done.stderr)
        return done.stdout

    def text(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | BinaryIO | None = None,
        ok: Collection[int] = (0,),
    ) -> str:
        """`run`, with the output as text: bytes that are not UTF-8 are replaced."""
        return self.run(argv, env=env, stdin=stdin, ok=ok).decode("utf-8", "replace")

    def status(self, argv: Sequence[str]) -> int:
        """Run one git command and return its exit status."""
        return self.run_unchecked(argv).status

    def run_unchecked(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | BinaryIO | None = None,
        stdout: BinaryIO | None = None,
    ) -> Completed:
        """Run one git command; a non-zero exit status is not an error.

        With `stdout`, the output is written to that file instead of being returned.
        Raises EnvironmentBroken if there is no git.
        """
        if isinstance(stdin, bytes):
            # a pipe could fill up while git's own output is not read
            with _spool() as spool:
                spool.write(stdin)
                spool.seek(0)
                return self._execute(argv, env, spool, stdout)
        return self._execute(argv, env, stdin, stdout)

    def _execute(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        stdin: BinaryIO | None,
        stdout: BinaryIO | None,
    ) -> Completed:
        whole_env = {**self.env, **(env or {})}
        popen = self._start(argv, whole_env, stdin)
        watch = self.watch
        with _until_its_end(popen):
            return self._completed(argv, popen, stdout, watch)

    @contextmanager
    def beside(self, argv: Sequence[str]) -> Iterator[Callable[[], bytes]]:
        """Run one git command while the block does something else.

        The block gets a function that waits for the command and returns its output, as
        `run` does. A command that it does not wait for is ended with the block.
        """
        popen = self._start(argv, self.env, None)
        watch = self.watch

        def output() -> bytes:
            done = self._completed(argv, popen, None, watch)
            if done.status != 0:
                raise GitFailed(argv, done.status, done.stderr)
            return done.stdout

        assert popen.stdout is not None
        assert popen.stderr is not None
        with popen.stdout, popen.stderr, _until_its_end(popen):
            yield output

    def _completed(
        self,
        argv: Sequence[str],
        popen: Popen[bytes],
        stdout: BinaryIO | None,
        watch: Watch,
    ) -> Completed:
        """Wait until the process has ended. GitStopped if `watch` ends it."""
        output, errors = _collect(popen, stdout, watch)
        if watch.stopped is not None:
            _end(popen)
            raise GitStopped(argv, popen.returncode, watch.stopped)
        message = errors.decode("utf-8", "replace")
        _refuse_distrusted(popen.returncode, message)
        return Completed(popen.returncode, output, message.strip())

    def start(self, argv: Sequence[str]) -> Process:
        """Start a git process with pipes for its standard input and output.

        It ends with its pipes, and its limits are those of each answer. Raises
        EnvironmentBroken if there is no git.
        """
        return Process(self._start(argv, self.env, PIPE), self)

    def _start(
        self, argv: Sequence[str], env: Mapping[str, str], stdin: BinaryIO | int | None
    ) -> Popen[bytes]:
        settings = [part for setting in self.config for part in ("-c", setting)]
        whole_env = {**inherited_environment(os.environ), **env}
        try:
            with terminal_signals.blocked():
                return Popen(
                    # -C, because fanin's own folder may be gone
                    [_program(whole_env), "-C", str(self.cwd), *settings, *argv],
                    stdin=DEVNULL if stdin is None else stdin,
                    stdout=PIPE,
                    stderr=PIPE,
                    env=whole_env,
                    # Ctrl-C is fanin's to handle: work must not be lost half-way
                    start_new_session=True,
                )
        except FileNotFoundError:
            _found_on.cache_clear()
            raise _no_git() from None


def _spool() -> BinaryIO:
    """A file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("stdin"), "w+b")  # noqa: PTH123
    import tempfile

    return cast("BinaryIO", tempfile.TemporaryFile())


def _program(env: Mapping[str, str]) -> str:
    return _found_on(env.get("PATH", os.defpath))


@cache
def _found_on(path: str) -> str:
    """The absolute path of git. Raises EnvironmentBroken if there is none."""
    for folder in path.split(os.pathsep):
        program = Path(folder, "git").absolute()
        if os.access(program, os.X_OK) and program.is_file():
            return str(program)
    raise _no_git()


def _refuse_distrusted(status: int, message: str) -> None:
    """Raises UsageProblem if git reads no repository that belongs to another user.

    Else many a command would take its status for an answer, such as "no commit".
    """
    distrusted = re.search(r"dubious ownership in repository at '(.*)'", message)
    if status == 128 and distrusted:
        folder = distrusted[1]
        raise UsageProblem(
            f"git does not read {folder}, because it belongs to another user",
            "if you trust what is in it:  git config --global --add safe.directory "
            f"{shlex.quote(folder)}",
        )


_running: set[Popen[bytes]] = set()
_running_lock = threading.RLock()  # a signal's handler may interrupt who holds it


def end_all() -> None:
    """Ask every git process that fanin waits for to end, because fanin ends."""
    with _running_lock:
        for popen in _running:
            _signal(popen, signal.SIGTERM)
    for process in _overseer.processes():
        if process.watch is not None:
            process.signal(signal.SIGTERM)


@contextmanager
def _until_its_end(popen: Popen[bytes]) -> Iterator[None]:
    """Leave no process behind, whatever ends the wait for it."""
    with _running_lock:
        _running.add(popen)
    try:
        yield
    finally:
        if popen.poll() is None:
            _end(popen)
        with _running_lock:
            _running.discard(popen)


def _end(popen: Popen[bytes]) -> None:
    _signal(popen, signal.SIGTERM)
    with suppress(TimeoutExpired):
        popen.wait(_KILL_GRACE)
    # what git started may ignore the first signal
    _signal(popen, signal.SIGKILL)
    popen.wait()


def _signal(popen: Popen[bytes], number: signal.Signals) -> None:
    # The group keeps its id while any of its processes lives.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(popen.pid, number)


class Watch:
    """Decides how long a process may still run; `stopped` says why it may not."""

    def __init__(
        self,
        timeout: float,
        cancel: threading.Event | None,
        max_output: int | None = None,
    ) -> None:
        self.stopped: str | None = None
        self._timeout, self._cancel, self._max_output = timeout, cancel, max_output
        self._deadline = time.monotonic() + timeout
        self._was_cancelled = False

    def seconds_to_wait(self) -> float:
        """How long to wait before this is asked again; 0 if the process must end."""
        if self.stopped is not None:
            return 0
        now = time.monotonic()
        self._look_at_cancel(now)
        if now < self._deadline:
            remaining = self._deadline - now
            return remaining if self._cancel is None else min(remaining, _POLL_SECONDS)
        self.stopped = f"it was stopped after {self._timeout:.0f} s"
        if self._was_cancelled:
            self.stopped = "it was stopped with the run"
        return 0

    def look_at_output(self, size: int) -> None:
        """Stop the process if this many bytes of output are too many."""
        if self._max_output is not None and size > self._max_output:
            self.stopped = f"it was stopped: more than {self._max_output:,} bytes"

    def _look_at_cancel(self, now: float) -> None:
        if self._was_cancelled or self._cancel is None or not self._cancel.is_set():
            return
        if now + CANCEL_GRACE < self._deadline:
            self._was_cancelled = True
            self._deadline = now + CANCEL_GRACE


def _collect(
    popen: Popen[bytes], sink: BinaryIO | None, watch: Watch
) -> tuple[bytes, bytes]:
    """Standard output, empty if it goes to `sink`, and the end of standard error. The
    process has ended afterwards, or must be ended if `watch` has stopped it.

    Both are read together: a process that fills a pipe which nobody reads waits.
    """
    assert popen.stdout is not None
    assert popen.stderr is not None
    output, messages = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector, popen.stdout, popen.stderr:
        selector.register(popen.stdout, selectors.EVENT_READ)
        selector.register(popen.stderr, selectors.EVENT_READ)
        while selector.get_map() and (seconds := watch.seconds_to_wait()):
            for key, _ in selector.select(seconds):
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is popen.stderr:
                    messages = (messages + data)[-_MAX_MESSAGES:]
                elif sink is None:
                    output += data
                    watch.look_at_output(len(output))
                else:
                    sink.write(data)
    while watch.stopped is None and (seconds := watch.seconds_to_wait()):
        if _ends_within(seconds, popen):
            break
    return bytes(output), bytes(messages)


def _ends_within(seconds: float, popen: Popen[bytes]) -> bool:
    """Wait until the process has ended, at most that long; whether it has."""
    if popen.poll() is not None:
        return True
    try:
        ended = os.pidfd_open(popen.pid)
    except (AttributeError, OSError):  # not on every system
        with suppress(TimeoutExpired):
            popen.wait(seconds)
        return popen.returncode is not None
    # `Popen.wait` with a limit sleeps between its looks at the process, a millisecond at
    # first. Most commands end sooner once they have closed their output.
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.poll(seconds * 1000)
    finally:
        os.close(ended)
    return popen.poll() is not None


class Process:
    """A git process that runs until it is closed. Of its stderr the end is kept.

    From each request on it has the time for an answer that `limits` gives a command,
    until `answered`; then it is ended.
    """

    def __init__(self, popen: Popen[bytes], limits: Git) -> None:
        self._limits = limits
        self.watch: Watch | None = None
        self.is_closed = False
        assert popen.stdin is not None
        assert popen.stdout is not None
        assert popen.stderr is not None
        self.pid = popen.pid
        self.stdout: IO[bytes] = popen.stdout
        self._popen, self._stdin, self._stderr = popen, popen.stdin, popen.stderr
        self._said = b""
        os.set_blocking(self._stderr.fileno(), False)
        _overseer.add(self)

    def send(self, data: bytes) -> None:
        """Write a request to the process. OSError if it has ended."""
        self.watch = self._limits.watch
        # A full pipe would stop git for good (git warns of an ambiguous name each time
        # that it is asked for).
        self._read_stderr()
        self._stdin.write(data)
        self._stdin.flush()

    def last_words(self) -> str:
        """The end of what a process that is over has said on stderr."""
        self._read_stderr()
        return self._said.decode("utf-8", "replace").strip()

    def _read_stderr(self) -> None:
        with suppress(BlockingIOError):
            while part := os.read(self._stderr.fileno(), 2**16):
                self._said = (self._said + part)[-_MAX_LAST_WORDS:]

    def answered(self) -> None:
        """The answer was read; until the next request the process may take its time."""
        self.watch = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and to what it started."""
        _signal(self._popen, number)

    def end(self) -> None:
        """End the process; who reads its answer finds that it is over."""
        if self._popen.poll() is None:
            _end(self._popen)

    def wait(self) -> int:
        """Wait until the process has ended, and return its exit status."""
        return self._popen.wait()

    def close(self) -> None:
        """Close the pipes, so that the process ends, and wait for it."""
        for stream in (self._stdin, self.stdout, self._stderr):
            with suppress(OSError):  # what was not sent yet can be sent no more
                stream.close()
        # busy with an answer, it does not see that nobody reads it
        with suppress(TimeoutExpired):
            self._popen.wait(_KILL_GRACE)
        self.end()
        self.watch = None
        self.is_closed = True


class _Overseer:
    """A thread that ends the processes which take too long for an answer. It runs while
    there are any.
    """

    def __init__(self) -> None:
        # A signal's handler may interrupt who holds it. What the garbage collector may
        # call, such as `Process.close`, does not take it.
        self._lock = threading.RLock()
        # a process that nothing refers to ends with its pipes
        self._processes: WeakSet[Process] = WeakSet()
        self._is_running = False

    def processes(self) -> list[Process]:
        with self._lock:
            return list(self._processes)

    def add(self, process: Process) -> None:
        with self._lock:
            self._processes.add(process)
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="fanin-git", daemon=True).start()

    def _run(self) -> None:
        while self._has_processes():
            for process in self.processes():
                watch = process.watch
                if watch is not None and not watch.seconds_to_wait():
                    process.end()
            time.sleep(_OVERSEER_SECONDS)

    def _has_processes(self) -> bool:
        with self._lock:
            self._is_running = any(not each.is_closed for each in self._processes)
            return self._is_running


_overseer = _Overseer()


def _no_git() -> EnvironmentBroken:
    return EnvironmentBroken(
        "git is not installed or not on PATH", "install git 2.38 or newer"
    )


def isolated_git(cwd: Path, env: Mapping[str, str] | None = None) -> Git:
    """Git without any configuration but fanin's, for folders that an agent writes to."""
    whole_env = {**git_environment(os.environ), **(env or {})}
    return Git(cwd, whole_env, ISOLATED_CONFIG)
