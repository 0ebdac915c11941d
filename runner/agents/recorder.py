"""Copies what a program prints to its log: masked, as it comes, and not without end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import time
from collections.abc import Callable
from io import FileIO
from typing import IO, BinaryIO

from runner.agents.stream import Stream
from runner.policy.masking import Masker
from runner.policy.redaction import Secrets

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
_CHUNK = 2**16
_CHUNKS_PER_TURN = 64
# Bytes that a program can print before it blocks, where the system allows so much.
_PIPE_SIZE = 2**20
# After a read of more than this many bytes, wait this many seconds: a few long reads
# cost less than many short ones.
_LARGE_READ, _READ_PAUSE = 2**11, 0.008


class Recorder:
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

    def wake_at_exit_of(self, pid: int) -> None:
        """Let the program's exit end a wait for output (Linux only)."""
        if hasattr(os, "pidfd_open"):
            # Fails on kernels before 5.3 and without a free descriptor. Then the wait
            # simply lasts until its timeout.
            with contextlib.suppress(OSError):
                self._exit_fd = os.pidfd_open(pid)
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
