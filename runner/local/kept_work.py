"""The work that did not land and is kept, in refs of the repository."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from runner.core import kept_commands
from runner.core.message_text import one_line
from runner.core.reports import KeptRow
from runner.fan_in import kept_refs
from runner.repo.repository import Repository

# As `commit_message.kept_message` begins.
_SUBJECT = re.compile(
    r"(?P<task>.+), attempt (?P<attempt>\d+): work that did not land.*"
)
_FORMAT = "%(refname)%00%(objectname)%00%(committerdate:unix)%00%(contents)%00%00"


class KeptWork(NamedTuple):
    """Work of an attempt, kept by `ref`, as one commit on top of what it started from.

    `task` is the id as the commit's message has it, `reason` why the work did not land,
    "" if all but a part of it did. `time` is in seconds since 1970.
    """

    ref: str
    commit: str
    task: str
    attempt: int
    reason: str
    time: int

    def is_of(self, task_id: str) -> bool:
        return self.task == one_line(task_id)

    def row(self, *, own_branch: bool) -> KeptRow:
        """It as a tool reads it; `own_branch` as for `kept_commands.take`."""
        return KeptRow(
            task=self.task,
            attempt=self.attempt,
            ref=self.ref,
            commit=self.commit,
            reason=self.reason,
            time=self.time,
            look=kept_commands.look(self.ref),
            take=kept_commands.take(self.ref, self.task, own_branch=own_branch),
        )


def kept_work(repo: Repository) -> list[KeptWork]:
    """All work that is kept, the oldest first."""
    argv = ["for-each-ref", f"--format={_FORMAT}", kept_refs.ROOT]
    found = []
    for entry in repo.git.text(argv).split("\0\0\n"):
        fields = entry.split("\0")
        if len(fields) != 4 or not fields[2].isdecimal():
            continue  # a ref of somebody else, to no commit
        ref, commit, time, message = fields
        subject, _, body = message.partition("\n")
        match = _SUBJECT.fullmatch(subject)
        if match is not None:
            task, attempt = match["task"], int(match["attempt"])
            found.append(KeptWork(ref, commit, task, attempt, body.strip(), int(time)))
    return sorted(found, key=lambda work: (work.time, work.ref))


def to_prune(
    works: Sequence[KeptWork],
    *,
    task_ids: Sequence[str] = (),
    older_than: float | None = None,
    now: datetime,
) -> list[KeptWork]:
    """The work that meets every condition that is given; `older_than` is in seconds."""
    chosen = []
    for work in works:
        if task_ids and not any(work.is_of(task_id) for task_id in task_ids):
            continue
        if older_than is not None and now.timestamp() - work.time < older_than:
            continue
        chosen.append(work)
    return chosen
