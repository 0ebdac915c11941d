"""The long texts of a report: what of them is shown, and how they are stored."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from runner.report.document import TaskText
from runner.ui.log_text import LogText, patch_lines

MAX_LOG_LINES = 200
MAX_LOG_BYTES = 64_000
MAX_DIFF_BYTES = 64_000
_MAX_PROMPT_BYTES = 32_000
# Bytes of all texts as they are stored. A report of 500 tasks is smaller than 3 MB.
MAX_STORED = 2_200_000
_SAMPLE = 20  # texts by which the size of all is estimated
# More of a patch than is shown: a secret at the end of what is shown is masked whole.
_READ_AHEAD = 2 * MAX_DIFF_BYTES


class Share(NamedTuple):
    """How much of a task's texts a report has: lines of log, bytes of the others."""

    log_lines: int
    diff: int
    prompt: int


# The first with which all texts fit into the report.
SHARES = (
    Share(MAX_LOG_LINES, MAX_DIFF_BYTES, _MAX_PROMPT_BYTES),
    Share(100, 32_000, _MAX_PROMPT_BYTES),
    Share(50, 16_000, 16_000),
    Share(25, 8_000, 8_000),
    Share(15, 4_000, 4_000),
    Share(10, 2_000, 2_000),
    Share(5, 500, 500),
    Share(0, 0, 0),
)


@dataclass(frozen=True)
class Excerpt:
    """A part of a text; `is_whole` if nothing is left out."""

    text: str
    is_whole: bool = True


NO_TEXT = Excerpt("")


def log_end(stream: BinaryIO) -> Excerpt:
    """The last lines of an agent's log, without what acts on a terminal."""
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - MAX_LOG_BYTES)
    stream.seek(start)
    data = stream.read(MAX_LOG_BYTES)
    if start:
        data = data.partition(b"\n")[2] or data
    cleaner = LogText()
    lines = (cleaner.feed(data) + cleaner.finish()).splitlines()
    shown = lines[-MAX_LOG_LINES:]
    return Excerpt("\n".join(shown), not start and shown == lines)


def diff_start(patch: bytes, masked: Callable[[str], str]) -> Excerpt:
    """The first lines of a patch as git prints it, without what acts on a terminal."""
    lines = [text for text, _ in patch_lines(patch[:_READ_AHEAD])]
    whole = Excerpt(masked("\n".join(lines)), len(patch) <= _READ_AHEAD)
    return first_bytes(whole, MAX_DIFF_BYTES)


def first_bytes(part: Excerpt, limit: int) -> Excerpt:
    """As many first lines as fit in `limit` bytes."""
    data = part.text.encode()
    if len(data) <= limit:
        return part
    cut = data[:limit]
    kept = cut[: cut.rfind(b"\n") + 1] or cut
    return Excerpt(kept.decode(errors="ignore").rstrip("\n"), is_whole=False)


def last_lines(part: Excerpt, limit: int) -> Excerpt:
    """At most `limit` last lines."""
    lines = part.text.splitlines()
    if len(lines) <= limit:
        return part
    return Excerpt("\n".join(lines[len(lines) - limit :]), is_whole=False)


def packed(text: TaskText) -> str:
    """The text as it is stored: JSON, zlib, base64."""
    data = text.model_dump_json(exclude_defaults=True).encode()
    return base64.b64encode(zlib.compress(data)).decode()


def all_packed(text_of: Callable[[int, Share], TaskText], tasks: int) -> list[str]:
    """The stored texts of so many tasks, with the largest share that they fit with."""
    stored: list[str] = []
    for share in SHARES:
        if share is not SHARES[-1] and _estimate(text_of, tasks, share) > MAX_STORED:
            continue
        stored = [packed(text_of(index, share)) for index in range(tasks)]
        if sum(map(len, stored)) <= MAX_STORED:
            break
    return stored


def _estimate(
    text_of: Callable[[int, Share], TaskText], tasks: int, share: Share
) -> float:
    """About how many bytes all texts take, by some of them."""
    sample = range(0, tasks, max(1, tasks // _SAMPLE))
    taken = sum(len(packed(text_of(index, share))) for index in sample)
    return taken * tasks / len(sample) if sample else 0.0
