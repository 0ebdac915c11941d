"""The documents that commands print with `--json`.

A field of these is never renamed or removed; a reader ignores those that it does not
know.
"""

from __future__ import annotations

from typing import Literal

from runner.core.documents import Document, Text


class KeptRow(Document):
    """Work of an attempt that did not land, kept by `ref` as one `commit`.

    `reason` is why it did not land, "" if all but a part of it did. `time` is in seconds
    since 1970. `look` and `take` are commands of a shell.
    """

    task: Text
    attempt: int
    ref: Text
    commit: str
    reason: Text
    time: int
    look: Text
    take: Text


class KeptReport(Document):
    """The output of `fanin kept --json`, the oldest work first."""

    version: Literal[1] = 1
    kept: tuple[KeptRow, ...]
