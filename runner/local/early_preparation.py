"""Prepares workspaces while verify runs, for the tasks of a rolling run that become ready
if it is green.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.attempt import preparation, recorded_attempt
from runner.attempt.early_workspaces import EarlyWorkspaces, Preparation

if TYPE_CHECKING:
    from runner.attempt.early_workspaces import EarlyWorkspace
    from runner.attempt.pooled_workspaces import PooledWorkspaces
    from runner.attempt.workspace_pool import WorkspacePool
    from runner.core.manifest import Manifest
    from runner.core.task import Task
    from runner.local.context import RunContext
    from runner.local.joint_merge import Candidate
    from runner.repo.quarantine import Quarantine
    from runner.schedule.ready_queue import ReadyQueue


class EarlyPreparation:
    """As many workspaces as are worth it, and there are tasks for."""

    def __init__(
        self,
        context: RunContext,
        workspaces: WorkspacePool | PooledWorkspaces,
        scratch: Path,
    ) -> None:
        self._workspaces = workspaces
        self._early = EarlyWorkspaces(
            workspaces,
            context.repo.origin,
            scratch,
            context.attempt_context,
            context.settings.slots,
        )
        # the commit and the number of workspaces that it was last looked at for
        self._prepared_for: tuple[str, int] | None = None

    def claim(self, manifest: Manifest) -> EarlyWorkspace | None:
        """The workspace that is being prepared for such a batch, if there is one."""
        branch = recorded_attempt.branch_of(manifest.entries[0].folder)
        return self._early.claim(Preparation.of(manifest, manifest.base, branch))

    def keep_for(self, candidates: Sequence[Candidate]) -> None:
        """Give up the workspaces of all other commits."""
        self._early.keep([each.snapshot.commit for each in candidates])

    def prepare_for(
        self,
        candidate: Candidate,
        quarantine: Quarantine,
        ready: ReadyQueue,
        running: Sequence[Task],
        *,
        free: int,
        at_work: int,
    ) -> None:
        """Prepare workspaces of a candidate whose objects are in the quarantine.

        `ready` are the tasks of the head before it, `running` those that are not in it.
        So many slots would be `free`, and so many attempts are `at_work`.
        """
        commit = candidate.snapshot.commit
        most = preparation.most_ahead(
            free,
            self._workspaces.setup_seconds,
            is_large=self._workspaces.is_large,
            at_work=at_work,
            cores=os.cpu_count() or 1,
        )
        if (commit, most) == self._prepared_for or most <= len(self._early):
            return
        self._prepared_for = (commit, most)
        if candidate.snapshot.problems:
            return
        wanted = Preparation.of(
            candidate.manifest, commit, recorded_attempt.branch_of("000")
        )
        queue = ready.copy()
        queue.sync(candidate.snapshot, [task.id for task in running])
        tasks = queue.pick(most, running)
        for _ in tasks[len(self._early) :]:
            self._early.prepare(wanted, quarantine.folder)

    def when_at_rest(self, end: Callable[[], object]) -> None:
        """As `EarlyWorkspaces.when_at_rest`."""
        self._early.when_at_rest(end)

    def close(self) -> None:
        """Give up all that nobody has claimed, and wait until nothing happens there."""
        self._early.close()
