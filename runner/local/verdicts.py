"""Keeps in `.git/fanin` which trees `verify` was green on, so that no equal tree is
verified twice, and which tests failed and passed on one tree.

The file is read once, before the first agent works, and only this machine's runs write
it. A verdict counts for a day, on the machine that made it; a red one never counts.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.core import durable
from runner.core.clock import age
from runner.core.message_text import one_line
from runner.core.plurals import pluralize
from runner.local.journal import VERDICTS

if TYPE_CHECKING:
    from runner.core.result import Failure

_VERSION = 1
_GREEN_FOR = timedelta(days=1)
_HISTORY_FOR = timedelta(days=30)
_MAX_VERDICTS = 1_000
_MAX_FLAKY = 200
_MAX_NAMED = 5  # flaky tests in one message
_NEVER = datetime.min.replace(tzinfo=UTC)


class Flaky(NamedTuple):
    """A command was red at `first` and green at `time`, on one tree. `tests` are those
    that its output named, () if it named none.
    """

    command: str
    tests: tuple[str, ...]
    first: datetime
    time: datetime

    @property
    def names(self) -> tuple[str, ...]:
        """What to call it: the tests, or the command."""
        return self.tests or (self.command,)


@dataclass
class _Contents:
    """What the file holds. The keys are those of `verdict_key.key_of`."""

    green: dict[str, datetime] = field(default_factory=dict)
    red: dict[str, tuple[datetime, tuple[str, ...]]] = field(default_factory=dict)
    flaky: list[Flaky] = field(default_factory=list)


class Verdicts:
    """The verdicts of one repository. Used by several threads."""

    def __init__(
        self,
        private_folder: Path,
        now: Callable[[], datetime],
        *,
        is_used: bool = True,
    ) -> None:
        """Unless `is_used`, no earlier verdict counts; the history is kept all the same."""
        self._file = private_folder / VERDICTS
        self._now, self._is_used = now, is_used
        self._lock = threading.Lock()
        self._contents = _read(self._file)

    def green_since(self, key: str) -> str | None:
        """How long ago the tree was green, as text; None if that is not known."""
        if not self._is_used:
            return None
        with self._lock:
            time = self._contents.green.get(key, _NEVER)
        now = self._now()
        # A clock that was set back makes no verdict last longer.
        if not timedelta() <= now - time <= _GREEN_FOR:
            return None
        return age(time, now)

    def record(self, key: str, command: str, failure: Failure | None) -> None:
        """Keep the verdict of a run of the command, None if it was green."""
        now = self._now()
        with self._lock:
            contents = self._contents
            if failure is not None:
                from runner.local.failed_tests import failed_tests

                contents.red[key] = (now, failed_tests(failure.log_tail))
            else:
                contents.green[key] = now
                earlier = contents.red.pop(key, None)
                if earlier is not None:
                    first, tests = earlier
                    flaky = Flaky(one_line(command), tests, first, now)
                    contents.flaky.append(flaky)
            self._write(now)

    def save(self) -> None:
        """Write the file anew, as an agent may have changed it."""
        with self._lock:
            self._write(self._now())

    def flaky(self, since: datetime = _NEVER) -> list[str]:
        """A sentence for each flaky test of the last 30 days that was flaky since then,
        with how often; the latest first.
        """
        now = self._now()
        with self._lock:
            recent = [
                each for each in self._contents.flaky if now - each.time <= _HISTORY_FOR
            ]
        times = Counter(name for each in recent for name in each.names)
        latest: dict[str, Flaky] = {}
        for each in recent:
            for name in each.names:
                latest.pop(name, None)
                latest[name] = each
        sentences = [
            _sentence(name, each, times[name], now)
            for name, each in reversed(latest.items())
            if each.time >= since
        ]
        more = len(sentences) - _MAX_NAMED
        if more > 0:
            sentences[_MAX_NAMED:] = [f"and {more} more flaky tests"]
        return sentences

    def _write(self, now: datetime) -> None:
        contents = self._contents
        _forget_old(contents, now)
        document = {
            "version": _VERSION,
            "green": {key: _text(time) for key, time in contents.green.items()},
            "red": {
                key: {"time": _text(time), "tests": tests}
                for key, (time, tests) in contents.red.items()
            },
            "flaky": [
                {
                    "command": each.command,
                    "tests": each.tests,
                    "first": _text(each.first),
                    "time": _text(each.time),
                }
                for each in contents.flaky
            ],
        }
        # Without it, a tree is verified again.
        with suppress(OSError):
            durable.write(self._file, json.dumps(document).encode())


def _sentence(name: str, flaky: Flaky, times: int, now: datetime) -> str:
    text = f"flaky: {name} was red and then green on the same tree"
    if times > 1:
        text += f", {pluralize(times, 'time')} in 30 days"
    return f"{text}; last {age(flaky.time, now)} ago"


def _forget_old(contents: _Contents, now: datetime) -> None:
    for key, time in list(contents.green.items()):
        if now - time > _GREEN_FOR:
            del contents.green[key]
    for key, (time, _) in list(contents.red.items()):
        if now - time > _GREEN_FOR:
            del contents.red[key]
    for verdicts in (contents.green, contents.red):
        for key in list(verdicts)[:-_MAX_VERDICTS]:
            del verdicts[key]
    recent = [each for each in contents.flaky if now - each.time <= _HISTORY_FOR]
    contents.flaky = recent[-_MAX_FLAKY:]


def _read(file: Path) -> _Contents:
    """What the file holds; nothing if it is missing, damaged or of another version."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["version"] != _VERSION:
            return _Contents()
        return _Contents(
            {key: _time(text) for key, text in document["green"].items()},
            {
                key: (_time(each["time"]), _lines(each["tests"]))
                for key, each in document["red"].items()
            },
            [
                Flaky(
                    one_line(str(each["command"])),
                    _lines(each["tests"]),
                    _time(each["first"]),
                    _time(each["time"]),
                )
                for each in document["flaky"]
            ],
        )
    return _Contents()


def _lines(texts: list[Any]) -> tuple[str, ...]:
    return tuple(one_line(str(text)) for text in texts)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
