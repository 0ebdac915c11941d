"""Git processes that live as long as their repository object: one answers questions
about objects, one moves refs.

A run asks small questions all the time, and starting a process takes longer than the
answer. Both read what is on the disk for every question, so that what others did
meanwhile is seen.
"""

from __future__ import annotations

import subprocess
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")
Answer = tuple[str, str, int]  # object id, type, size
# questions that surely fit into a pipe, so that both sides never wait for each other
_AT_ONCE = 256


class _Child:
    """One git process that is spoken to line by line; it starts with the first line and
    again after it died.
    """

    def __init__(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self._argv, self._cwd, self._env = list(argv), cwd, dict(env)
        self._running: list[subprocess.Popen[bytes]] = []
        self.lock = threading.Lock()
        self.close = weakref.finalize(self, _end, self._running)

    def say(self, text: str) -> IO[bytes]:
        """Where the answer is to be read."""
        if not self._running:
            started = subprocess.Popen(
                self._argv,
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is fanin's to handle
            )
            self._running.append(started)
        child = self._running[0]
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(text.encode("utf-8", "surrogateescape"))
        child.stdin.flush()
        return child.stdout

    def forget(self) -> None:
        """The process is in no state to be asked again."""
        _end(self._running)


def _end(running: list[subprocess.Popen[bytes]]) -> None:
    while running:
        child = running.pop()
        for stream in (child.stdin, child.stdout):
            with suppress(OSError):  # what was not sent yet has nobody to go to
                stream.close()  # type: ignore[union-attr]
        child.wait()


class Questions:
    """Answers about objects, through one `git cat-file --batch-command`. Threads take
    turns.
    """

    def __init__(self, git: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self._child = _Child([*git, "cat-file", "--batch-command"], cwd, env)

    def info(self, name: str) -> Answer | None:
        """What the name stands for now, None if it stands for nothing."""
        return self._ask("info", [name], lambda answer, _: answer)[0]

    def content(self, name: str) -> tuple[str, bytes] | None:
        """Type and content of the object that the name stands for, None if there is
        none.
        """
        return self.contents([name])[0]

    def contents(self, names: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """`content` of each; the questions go ahead of the answers."""

        def read(answer: Answer, stream: IO[bytes]) -> tuple[str, bytes]:
            return answer[1], stream.read(answer[2] + 1)[:-1]

        found: list[tuple[str, bytes] | None] = []
        for at in range(0, len(names), _AT_ONCE):
            found += self._ask("contents", names[at : at + _AT_ONCE], read)
        return found

    def _ask(
        self, command: str, names: Sequence[str], read: Callable[[Answer, IO[bytes]], T]
    ) -> list[T | None]:
        if any("\n" in name for name in names):
            raise ValueError("a name of git's has no line end")
        with self._child.lock:
            try:
                stream = self._child.say(
                    "".join(f"{command} {name}\n" for name in names)
                )
                return [
                    read(answer, stream) if (answer := _head(stream)) else None
                    for _ in names
                ]
            except BaseException:
                self._child.forget()  # half an answer may stand in the pipe
                raise


def _head(stream: IO[bytes]) -> Answer | None:
    """The line before an object's content; None where there is no such object, or more
    than one.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise BrokenPipeError("git ended before it answered")
    fields = line.split()
    if len(fields) != 3 or not fields[2].isdigit():
        return None
    return fields[0].decode(), fields[1].decode(), int(fields[2])


class Moves:
    """Moves refs, through one `git update-ref --stdin`."""

    def __init__(self, git: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self._child = _Child(
            [*git, "update-ref", "--create-reflog", "-m", "fanin", "--stdin"], cwd, env
        )

    def commit(self, lines: Sequence[str]) -> bool:
        """Do all of it or nothing; False if git refused, without its words."""
        with self._child.lock:
            try:
                stream = self._child.say(
                    "".join(f"{line}\n" for line in ("start", *lines, "commit"))
                )
                done = (
                    stream.readline() == b"start: ok\n"
                    and stream.readline() == b"commit: ok\n"
                )
            except OSError:
                done = False
            except BaseException:
                self._child.forget()
                raise
            if not done:
                self._child.forget()
            return done
