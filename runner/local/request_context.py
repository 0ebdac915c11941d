"""What requests are decided in, and what a run has taken of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.plan.changes import ChangeSet
    from runner.plan.snapshot import Snapshot
    from runner.repo.repository import Repository


class RequestContext:
    """The repository, the settings and the environment in which requests are decided."""

    def __init__(
        self, repo: Repository, settings: Settings, environ: Mapping[str, str]
    ) -> None:
        self.repo = repo
        self.settings = settings
        self.environ = environ


class TakenRequests(NamedTuple):
    """The snapshot with what was asked for, the changes, and what people should know."""

    snapshot: Snapshot
    changes: tuple[ChangeSet, ...] = ()
    notes: tuple[str, ...] = ()
