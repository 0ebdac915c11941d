"""What a plan format is: the Protocol every module of `sources/` follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from runner.models import Plan, Status


@dataclass(frozen=True)
class Mark:
    """What the plan's own marks should say of one task; times are ISO 8601 UTC or None, `error` one line."""

    status: Status
    started: str | None = None
    completed: str | None = None
    error: str | None = None


class Source(Protocol):
    """One plan format. Pure: text in, data out; the caller reads and writes files.

    `name`: what `plan: {source: NAME}` says.
    `detect(path, text)`: whether this looks like the format, by name and content.
    `load(path, text)`: the plan with each task's line; raises InvalidInput with every located problem.
    `write_back(text, marks)`: the text with only the marks of the named tasks changed, every other byte kept.
    """

    name: str

    def detect(self, path: str, text: str) -> bool: ...

    def load(self, path: str, text: str) -> Plan: ...

    def write_back(self, text: str, marks: Mapping[str, Mark]) -> str: ...
