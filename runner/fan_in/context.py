"""A batch and the head that it is merged on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from runner.core.documents import clean
from runner.core.manifest import Manifest
from runner.core.result import Failure
from runner.core.task import Task
from runner.fan_in.inputs import BatchResults
from runner.fan_in.union import MergeOutcome
from runner.plan.progress import Progress
from runner.plan.snapshot import Snapshot
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository

_MAX_WARNING_LENGTH = 1_000


class BatchContext:
    """One batch, the head that it is merged on, and the quarantine that it is merged in.

    `at_head` is the head as it is, whose commit may be in the quarantine. `snapshot` is
    the same with what a person granted when the batch was chosen. `warnings` are for
    people, `tree_warnings` what the commit's message has besides.
    """

    def __init__(
        self,
        repo: Repository,
        quarantine: Quarantine,
        results: BatchResults,
        at_head: Snapshot,
    ) -> None:
        self.repo, self.quarantine, self.results = repo, quarantine, results
        self.manifest = results.manifest
        self.at_head = at_head
        self.snapshot = at_head._replace(progress=_with_grants(at_head, self.manifest))
        self.base_tree = repo.tree(self.manifest.base)
        self.head_tree = quarantine.tree(at_head.commit)
        self.warnings: list[str] = []
        self.tree_warnings: list[str] = list(results.notices)

    @cached_property
    def task_ids(self) -> set[str]:
        """The ids of the batch's tasks."""
        return {entry.task.id for entry in self.manifest.entries}

    @property
    def commit_per_task(self) -> bool:
        """Whether each task gets a commit of its own."""
        return self.manifest.commit_strategy == "individual"

    def task(self, task_id: str) -> Task:
        """The task as the head's plan has it."""
        return self.snapshot.graph.tasks[task_id]

    def last_tree(self, outcomes: Sequence[MergeOutcome]) -> str:
        """The head's tree with all merged work."""
        for outcome in reversed(outcomes):
            if outcome.tree is not None:
                return outcome.tree
        return self.head_tree

    def commit(self, tree: str, text: str, parent: str | None = None) -> str:
        """A commit on top of `parent`, or of the head."""
        parents = [parent or self.snapshot.commit]
        return self.quarantine.commit_tree(tree, parents, text)

    def one_line(self, text: str) -> str:
        """A text of an agent's, or of its files, as a warning may have it."""
        return clean(text).replace("\n", " ")[:_MAX_WARNING_LENGTH]

    def masked(self, failure: Failure) -> Failure:
        """The failure without the secrets that its texts may quote."""
        mask = self.results.secrets.masked_text
        texts = {
            "message": mask(failure.message),
            "log_tail": mask(failure.log_tail),
        }
        return failure.model_copy(update=texts)


def _with_grants(snapshot: Snapshot, manifest: Manifest) -> Progress:
    """The head's progress with what a person granted when the batch was chosen: attempts
    and approvals.

    A task whose attempt is recorded already gets none: a fan-in that runs twice must
    not grant an attempt twice.
    """
    recorded = snapshot.progress
    if not manifest.retry and not manifest.approve:
        return recorded
    attempts = {entry.task.id: entry.attempt for entry in manifest.entries}
    for task in snapshot.plan.tasks:
        attempt = attempts.get(task.id)
        if attempt is not None and recorded.record(task).attempts >= attempt:
            continue
        if task.id in manifest.retry:
            recorded = recorded.with_retry(task, manifest.max_attempts)
        if task.id in manifest.approve:
            recorded = recorded.with_gate(task, closed=False)
    return recorded
