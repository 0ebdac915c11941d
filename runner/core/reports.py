"""The documents that commands print with `--json`.

A field of these is never renamed or removed; a reader ignores those that it does not
know.
"""

from __future__ import annotations

from typing import Literal

from runner.core.documents import Document, Text
from runner.core.result import Failure


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


class AttemptRow(Document):
    """An attempt that a run on this machine knows.

    `state` is one of `core.run_view.AttemptState`. `log` is the path of its log, `kept`
    the ref that keeps its work. None is unknown, or that there is none.
    """

    attempt: int
    run: str
    state: str
    agent: Text
    seconds: float | None
    tokens: int | None
    cost_usd: float | None
    failure: Failure | None
    log: Text | None
    kept: Text | None


class TaskReport(Document):
    """The output of `fanin show ID --json`.

    `state`, `reason` are as in `fanin status`. `depends_on` maps each id to its state.
    `attempt_count` is how many attempts the branch has recorded, `attempts` are those
    that are known on this machine, the oldest first. `commit` is the one that it landed
    with, `kept` is its work that did not land, `error` the last recorded failure.
    """

    version: Literal[1] = 1
    id: str
    title: Text
    state: str
    reason: Text
    depends_on: dict[str, str]
    prompt: Text
    attempt_count: int
    attempts: tuple[AttemptRow, ...]
    kept: tuple[KeptRow, ...]
    commit: str | None
    error: Failure | None
