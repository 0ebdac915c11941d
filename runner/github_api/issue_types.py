"""GitHub issues, their history and the answers to them, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MARKER = "<!-- fanin issue"
# of GitHub's permissions of a collaborator
WRITERS = frozenset({"admin", "maintain", "write"})


@dataclass(frozen=True)
class Issue:
    """An issue as GitHub gives it now; `blocked_by` and `sub_issues` say how many it
    has, None if GitHub does not say.

    Times are ISO 8601 UTC with seconds. `merged` is for pull requests, which have
    numbers of the same series.
    """

    number: int
    url: str
    updated_at: str
    repository: str = ""
    state: str = "open"
    state_reason: str | None = None
    pull_request: bool = False
    merged: bool = False
    blocked_by: int | None = None
    sub_issues: int | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened to an issue: labeled, unlabeled, renamed or transferred.
    `bot`: no person did it.
    """

    kind: str
    at: str
    actor: str | None
    label: str = ""
    old_title: str = ""
    bot: bool = False


@dataclass(frozen=True)
class Edit:
    """A state of the body: what it was from `at` on; None if that revision was deleted
    from the history.
    """

    at: str
    body: str | None
    by: str | None = None


@dataclass(frozen=True)
class History:
    """An issue's text and all that happened to it, read together, oldest first.
    `edited`: when its body last was.
    """

    title: str
    body: str
    edited: str | None = None
    events: Sequence[Event] = ()
    edits: Sequence[Edit] = ()


@dataclass(frozen=True)
class Answer:
    """What one issue is told: a comment that begins with `stamp`, and what is done to
    it besides.
    """

    number: int
    stamp: str
    body: str
    close: bool = False
    label: str | None = None
    unlabel: str | None = None

    @property
    def deeds(self) -> bool:
        return self.close or self.label is not None
