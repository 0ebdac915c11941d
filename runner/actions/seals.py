"""Compares results with what the jobs of their tasks said of them.

Every job of a run can upload an artifact under any name and delete another job's. It
cannot name another job's steps: the step that uploads a result is named with the digest
of its `result.json`, and GitHub lists the steps of each job.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.core.errors import FaninError
from runner.core.manifest import BatchEntry
from runner.core.result_folder import RefuseSeal, accept_any_seal

if TYPE_CHECKING:
    from runner.actions.workflow_io import JobIO
    from runner.github_api.client import Job

# As round.yml names the step.
_STEP = re.compile(r"Upload result ([0-9a-f]{32})")


@dataclass(frozen=True)
class Seals:
    """Task id → the seals that its jobs gave. A task is missing if GitHub lists no job
    of it that has ended.
    """

    by_task: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, entries: Sequence[BatchEntry], jobs: Iterable[Job]) -> Seals:
        """The seals in the names of the steps."""
        by_task: dict[str, frozenset[str]] = {}
        task_ids = [entry.task.id for entry in entries]
        for job in jobs:
            task_id = _task_of(job.name, task_ids)
            found = {match[1] for match in map(_STEP.fullmatch, job.steps) if match}
            # the names of a job's steps may come late, so none means nothing yet
            if task_id is not None and (found or job.has_ended):
                by_task[task_id] = by_task.get(task_id, frozenset()) | found
        return cls(by_task)

    def refusal(self, entry: BatchEntry, seal: str) -> str | None:
        """Why a result with this seal is not the entry's; None if it is, or if nothing
        is known against it.
        """
        given = self.by_task.get(entry.task.id)
        if given is None or seal in given:
            return None
        if given:
            return "the result is not the one that the task's job uploaded"
        # Without a seal of any job, the workflow gives none.
        if any(self.by_task.values()):
            return "the task's job uploaded no result, so another job made this one"
        return None


def _task_of(job_name: str, task_ids: Iterable[str]) -> str | None:
    """The task of a job: jobs of a called workflow are named `CALLER / task ID`."""
    matching = []
    for task_id in task_ids:
        own_name = f"task {task_id}"
        if job_name == own_name or job_name.endswith(f" / {own_name}"):
            matching.append(task_id)
    # an id may hold what looks like the name of another task's job
    return max(matching, key=len, default=None)


def seal_check(
    entries: Sequence[BatchEntry], list_jobs: Callable[[], list[Job]], job_io: JobIO
) -> RefuseSeal:
    """Ask for the run's jobs, and return what refuses a result by its seal.

    If GitHub does not answer, results are taken as they are, with a warning: they are
    paid for.
    """
    try:
        seals = Seals.of(entries, list_jobs())
    except FaninError as error:
        job_io.annotate(
            "warning",
            "the results are not compared with the jobs that made them: GitHub's list "
            f"of jobs cannot be read: {error.message}",
            title="fanin",
        )
        return accept_any_seal
    return seals.refusal
