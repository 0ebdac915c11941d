"""The outcome of moving a branch, in this repository or on a server."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """The kind of outcome."""

    LANDED = "landed"  # the branch has the new commit
    MOVED = "moved"  # the branch was not at the expected commit
    REFUSED = "refused"  # the branch is unchanged, and refuses the commit


class Reason(StrEnum):
    """The reason why a branch refuses a commit."""

    WORKFLOWS = "workflows"
    SECRET = "secret"  # noqa: S105 - a kind of refusal, no password
    SIGNATURES = "signatures"
    PROTECTED = "protected"
    PERMISSION = "permission"
    OBSTACLE = "obstacle"  # files of the work tree are in the way
    OTHER = "other"


class RefUpdate(NamedTuple):
    """The outcome of an update. Only a refusal has `text`, the message of git or of the
    server, and `reason`, the kind of refusal. `commit` is the one that the server made
    in place of the given one. If it is not `undone`, files of the refused commit may
    still be in the work tree.
    """

    outcome: Outcome
    text: str = ""
    reason: Reason | None = None
    commit: str | None = None
    undone: bool = True

    @property
    def landed(self) -> bool:
        return self.outcome is Outcome.LANDED

    @property
    def moved(self) -> bool:
        return self.outcome is Outcome.MOVED

    @property
    def refused(self) -> bool:
        return self.outcome is Outcome.REFUSED


LANDED = RefUpdate(Outcome.LANDED)
MOVED = RefUpdate(Outcome.MOVED)


def refusal(text: str, reason: Reason) -> RefUpdate:
    """The outcome of a refused update."""
    return RefUpdate(Outcome.REFUSED, text, reason)
