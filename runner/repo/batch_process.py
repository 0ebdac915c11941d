"""Git processes that live as long as their owner: one reads objects, one updates refs.

A run asks small questions all the time, and starting a process takes longer than the
answer. Both look at the disk for every question, so that changes by others are seen.
This is the one place that reads the answers of `git cat-file`.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, NamedTuple, TypeVar

from runner.core.errors import GitFailed
from runner.repo.command import Git, Process

T = TypeVar("T")
# Buffered: it writes its answers together, where each would wake this process.
_CAT_FILE = ("cat-file", "--batch-command", "--buffer")
_FLUSH = "flush\n"
_UPDATE_REF = ("update-ref", "--create-reflog", "-m", "fanin", "--stdin")
# What surely fits into a pipe, whatever else git says: the bytes of questions, or of the
# first lines of their answers. Nobody reads its warnings, one for each ambiguous name,
# before it has answered. Linux has pipes of 8 KiB where a user has many.
_MAX_BATCH = 2**12
_ANSWER = (
    80  # bytes beside the name: the command, or the id, type and size of an object
)
_PIECE_SIZE = 2**20  # bytes of an object that are in memory at once


class ObjectInfo(NamedTuple):
    """The line that git writes before an object's content; `size` is in bytes."""

    object_id: str
    kind: str
    size: int


class Content(NamedTuple):
    """A whole object."""

    kind: str
    data: bytes


class _BatchProcess:
    """One git process, started by the first request and again after it died."""

    def __init__(self, git: Git, argv: Sequence[str]) -> None:
        self._git, self._argv = git, argv
        self._running: list[Process] = []
        self.lock = threading.Lock()
        self.close = weakref.finalize(self, _close, self._running)

    @property
    def is_running(self) -> bool:
        return bool(self._running)

    def send(self, text: str) -> IO[bytes]:
        """Send a request; the stream has the answer."""
        if not self._running:
            self._running.append(self._git.start(self._argv))
        process = self._running[0]
        process.send(text.encode("utf-8", "surrogateescape"))
        return process.stdout

    def last_words(self) -> str:
        """What the process has said before it ended; "" if nothing."""
        return "".join(process.last_words() for process in self._running)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take a turn. If it fails, half an answer may be in the pipe: the process ends."""
        with self.lock:
            try:
                yield
            except BaseException:
                self.abandon()
                raise
            for process in self._running:
                process.answered()

    def abandon(self) -> None:
        """End a process that cannot be asked again; the next request starts another."""
        _close(self._running)


def _close(running: list[Process]) -> None:
    while running:
        running.pop().close()


class ObjectReader:
    """Reads objects through one `git cat-file --batch-command`.

    Names are object ids or whatever else git takes for an object. Threads take turns.
    Every method raises GitFailed if the process ends before it has answered, and
    ValueError for a name with a line end.
    """

    def __init__(self, git: Git) -> None:
        self.git = git
        self._process = _BatchProcess(git, _CAT_FILE)

    @property
    def is_running(self) -> bool:
        """Whether the process has been started."""
        return self._process.is_running

    def close(self) -> None:
        """End the process."""
        self._process.abandon()

    def info(self, name: str) -> ObjectInfo | None:
        """The object that `name` stands for now; None if it does not exist."""
        return self.infos([name])[0]

    def infos(self, names: Sequence[str]) -> list[ObjectInfo | None]:
        """`info` of each name."""
        return self._ask("info", names, lambda info, _: info)

    def content(self, name: str) -> Content | None:
        """The object that `name` stands for; None if it does not exist."""
        return self.contents([name])[0]

    def contents(self, names: Sequence[str]) -> list[Content | None]:
        """`content` of each name."""
        return self._ask("contents", names, _read_content)

    def first_match(
        self, names: Sequence[str], match: Callable[[Iterator[bytes]], T | None]
    ) -> tuple[str, T] | None:
        """The first name whose object `match` returns something for, and that.

        `match` gets an object's content in pieces. Raises GitFailed for an object that
        is not there.
        """
        with self._process.turn():
            for name, info, stream in self._answers("contents", names):
                if info is None:
                    raise GitFailed(_CAT_FILE, 128, f"{name} missing")
                pieces = _pieces(stream, info.size)
                if (result := match(pieces)) is not None:
                    # the answers that were not read are still in the pipe
                    self._process.abandon()
                    return name, result
                for _ in pieces:
                    pass
                stream.read(1)
        return None

    def _ask(
        self,
        command: str,
        names: Sequence[str],
        read: Callable[[ObjectInfo, IO[bytes]], T],
    ) -> list[T | None]:
        results: list[T | None] = []
        with self._process.turn():
            for _, info, stream in self._answers(command, names):
                results.append(read(info, stream) if info else None)
        return results

    def _answers(
        self, command: str, names: Sequence[str]
    ) -> Iterator[tuple[str, ObjectInfo | None, IO[bytes]]]:
        """Each name with the first line of its answer; the caller reads the rest."""
        if any("\n" in name for name in names):
            raise ValueError("the name of a git object has no line end")
        for batch in _batches(names):
            requests = "".join(f"{command} {name}\n" for name in batch) + _FLUSH
            try:
                stream = self._process.send(requests)
            except OSError:
                raise self._ended_early() from None
            for name in batch:
                line = stream.readline()
                if not line.endswith(b"\n"):
                    raise self._ended_early()
                yield name, _info(line), stream

    def _ended_early(self) -> GitFailed:
        reason = self._process.last_words() or "git ended before it answered"
        return GitFailed(_CAT_FILE, 128, reason)


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    """The names in the groups in which they are asked for. A long one is alone."""
    batch: list[str] = []
    size = 0
    for name in names:
        length = len(name.encode("utf-8", "surrogateescape")) + _ANSWER
        if batch and size + length > _MAX_BATCH:
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += length
    if batch:
        yield batch


def _info(line: bytes) -> ObjectInfo | None:
    """The first line of an answer; None if no object, or more than one, has the name."""
    fields = line.split()
    if len(fields) != 3 or not fields[2].isdigit():
        return None
    return ObjectInfo(fields[0].decode(), fields[1].decode(), int(fields[2]))


def _read_content(info: ObjectInfo, stream: IO[bytes]) -> Content:
    data = stream.read(info.size + 1)
    if len(data) != info.size + 1:
        raise GitFailed(_CAT_FILE, 128, f"{info.object_id} ended early")
    return Content(info.kind, data[:-1])


def _pieces(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, _PIECE_SIZE))
        if not piece:
            raise GitFailed(_CAT_FILE, 128, "the object ended early")
        size -= len(piece)
        yield piece


class RefUpdater:
    """Updates refs through one `git update-ref --stdin`. Threads take turns."""

    def __init__(self, git: Git) -> None:
        self._process = _BatchProcess(git, _UPDATE_REF)

    def commit(self, commands: Sequence[str]) -> bool:
        """Carry out all the commands or none. False if git refused; it gives no reason."""
        lines = ("start", *commands, "commit")
        with self._process.turn():
            try:
                stream = self._process.send("".join(f"{line}\n" for line in lines))
                started = stream.readline() == b"start: ok\n"
                done = started and stream.readline() == b"commit: ok\n"
            except OSError:
                done = False
            if not done:
                self._process.abandon()
            return done
