"""The outcome of a fan-in, as every caller gets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.core.result import Failure, Result
    from runner.plan.changes import FailedAttempt
    from runner.plan.snapshot import Snapshot
    from runner.policy.change import Change


@dataclass(frozen=True)
class FanIn:
    """The outcome of the fan-in of a batch.

    `commits` are on top of `head`, oldest first; none if there is nothing to record.
    `landed` are the ids of the tasks whose work is in them, `failed` maps the others
    to their failure, and `kept_refs` maps a task to the ref that keeps work which is
    not in them. `left_out` maps a task that landed to the paths of its work that did not.
    `carried` are those of these refs from which the next attempts start, with their
    commits, and `acceptable` those with work that the policy refused and a person
    may let land. `failed_attempts` are those that count and that no commit records;
    `earlier_failures` are the tasks of earlier ones that the first commit records.
    `snapshot` is the branch's state with these commits and attempts. `results` are those
    that could be read; `warnings` are for people, `tree_warnings` what the commit's
    message has besides. `changes` maps a task to those of its work, if policy let it in.
    """

    head: str
    commits: tuple[str, ...] = ()
    landed: tuple[str, ...] = ()
    failed: Mapping[str, Failure] = field(default_factory=dict)
    kept_refs: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    carried: Mapping[str, str] = field(default_factory=dict)
    acceptable: Mapping[str, str] = field(default_factory=dict)
    failed_attempts: tuple[FailedAttempt, ...] = ()
    earlier_failures: tuple[str, ...] = ()
    snapshot: Snapshot | None = None
    results: tuple[Result, ...] = ()
    warnings: tuple[str, ...] = ()
    tree_warnings: tuple[str, ...] = ()
    changes: Mapping[str, Sequence[Change]] = field(default_factory=dict)

    @property
    def records(self) -> bool:
        """Whether something has landed or failed, so that the snapshot has changed."""
        return bool(self.commits or self.failed_attempts)

    @property
    def tip(self) -> str:
        """The newest of the commits, or the head."""
        return self.commits[-1] if self.commits else self.head
