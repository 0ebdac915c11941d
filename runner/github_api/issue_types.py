"""GitHub issues, their history and fanin's answers to them, as values.

Times are ISO 8601 in UTC, with whole seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The beginning of fanin's comment on an issue.
MARKER = "<!-- fanin issue"
# GitHub's permissions of a collaborator who may write.
WRITERS = frozenset({"admin", "maintain", "write"})


@dataclass(frozen=True)
class Issue:
    """An issue or pull request as GitHub gives it now.

    `merged` is for pull requests, which share the issues' numbers. `blocked_by` and
    `sub_issues` are how many it has, None if GitHub does not say.
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
    """An event of an issue; `kind` is labeled, unlabeled, renamed or transferred.

    `actor` is a login, None for a deleted account.
    """

    kind: str
    at: str
    actor: str | None
    label: str = ""
    old_title: str = ""
    bot: bool = False


@dataclass(frozen=True)
class Edit:
    """A revision of an issue's body, made at a time by a login.

    `body` is None if the revision was deleted from the history.
    """

    at: str
    body: str | None
    by: str | None = None


@dataclass(frozen=True)
class History:
    """An issue's text and what happened to it, read together, oldest first.

    `edited` is when the body was last edited, None if never.
    """

    title: str
    body: str
    edited: str | None = None
    events: Sequence[Event] = ()
    edits: Sequence[Edit] = ()


@dataclass(frozen=True)
class Answer:
    """A comment on an issue, and the changes of the issue that go with it.

    `stamp` is the comment's first line, the same for the same result. `label` is to be
    added, `unlabel` to be removed.
    """

    number: int
    stamp: str
    body: str
    close: bool = False
    label: str | None = None
    unlabel: str | None = None

    @property
    def changes_issue(self) -> bool:
        """Whether the issue is closed or labelled besides the comment."""
        return self.close or self.label is not None
