"""The commits that record a batch on top of its head, and the progress with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from runner.core.result import Failure, FailureKind
from runner.fan_in.admission import Admission
from runner.fan_in.commit_message import LandedTask, commit_message, hold_message
from runner.fan_in.context import BatchContext
from runner.fan_in.outcome import FanIn
from runner.fan_in.union import MergeOutcome
from runner.fan_in.unlanded_results import UnlandedResults
from runner.plan import progress
from runner.plan.changes import unrecorded_failures
from runner.plan.progress import Progress
from runner.plan.snapshot import (
    Snapshot,
    with_marks,
    write_mark_blobs,
    write_progress_blobs,
)


class BatchCommits:
    """Makes the commits of one batch in its quarantine."""

    def __init__(
        self, batch: BatchContext, admission: Admission, unlanded: UnlandedResults
    ) -> None:
        self._batch, self._admission, self._unlanded = batch, admission, unlanded

    def commits(
        self, merged: Sequence[MergeOutcome], failed: Mapping[str, Failure]
    ) -> tuple[list[str], Progress]:
        """The commits that record the batch on top of the head, and the progress with
        them. The last one records the failed attempts.

        There is none if failures are deferred and nothing else is to be recorded.
        """
        counted = {
            task_id: failure for task_id, failure in failed.items() if failure.counted
        }
        if self.defers(merged):
            return [], self._with_failures(self._batch.snapshot.progress, counted)
        # On GitHub Actions a later run must know until when it waits.
        waits = self._batch.results.record_run is not None and any(
            failure.kind is FailureKind.USAGE_LIMIT for failure in failed.values()
        )
        groups = self._commit_groups(merged, record_failures=bool(counted) or waits)
        changed_paths = self._changed_paths(merged)
        recorded = self._batch.snapshot.progress
        if not self._batch.results.defers_progress:
            recorded = recorded.with_every_task(self._batch.snapshot.plan.tasks)
        # a commit without work of its own has the tree of all merged work
        tree = self._batch.last_tree(merged)
        parent = self._batch.snapshot.commit
        commits: list[str] = []
        for number, group in enumerate(groups, start=1):
            failures = counted if number == len(groups) else {}
            for outcome in group:
                task_id = outcome.entry.task.id
                result = self._admission.result(task_id)
                recorded = recorded.after_success(
                    self._batch.task(task_id), result, changed_paths[task_id]
                )
            recorded = self._with_failures(recorded, failures)
            if number == len(groups):
                recorded = self._with_run(recorded, merged, failed)
            group_tree = self._batch.last_tree(group) if group else tree
            earlier = self.earlier_failures if number == 1 else {}
            text = self._message(group, {**earlier, **failures})
            parent = self._batch.commit(
                self._with_state(group_tree, recorded), text, parent
            )
            commits.append(parent)
        return commits, recorded

    @cached_property
    def earlier_failures(self) -> Mapping[str, Failure]:
        """Task id → a failure of an earlier batch that no commit has recorded yet, and the
        first one of this batch does.
        """
        if self._batch.results.defers_progress:
            return {}
        return unrecorded_failures(self._batch.snapshot)

    def defers(self, merged: Sequence[MergeOutcome]) -> bool:
        """Whether a later commit is to record the batch's failed attempts."""
        return self._batch.results.defers_failures and not merged

    def _commit_groups(
        self, merged: Sequence[MergeOutcome], *, record_failures: bool
    ) -> list[Sequence[MergeOutcome]]:
        """The outcomes that each commit records; an empty group records failures only."""
        groups: list[Sequence[MergeOutcome]] = []
        if self._batch.commit_per_task:
            groups += [[outcome] for outcome in merged]
        elif merged:
            groups.append(merged)
        if record_failures and (self._batch.commit_per_task or not groups):
            groups.append([])
        return groups

    def _changed_paths(
        self, merged: Sequence[MergeOutcome]
    ) -> dict[str, Sequence[str]]:
        """For each merged task the paths it changed, with the lines added and removed,
        shortened for prompts.
        """
        trees = {}
        for outcome in merged:
            task_id = outcome.entry.task.id
            tree = self._admission.result(task_id).tree
            trees[task_id] = self._admission.landing_trees.get(task_id, tree)
        distinct = [tree for tree in dict.fromkeys(trees.values()) if tree is not None]
        if not distinct:
            return {task_id: [] for task_id in trees}
        stats = self._batch.quarantine.diffstats(self._batch.base_tree, distinct)
        lines_of = dict(zip(distinct, stats, strict=True))
        changed: dict[str, Sequence[str]] = {}
        for task_id, tree in trees.items():
            changed[task_id] = (
                progress.shortened(lines_of[tree]) if tree is not None else ()
            )
        return changed

    def _with_failures(
        self, recorded: Progress, failures: Mapping[str, Failure]
    ) -> Progress:
        for attempt in self._unlanded.failed_attempts(failures):
            recorded = attempt.applied_to(recorded, self._batch.task(attempt.task))
        return recorded

    def _with_run(
        self,
        recorded: Progress,
        merged: Sequence[MergeOutcome],
        failed: Mapping[str, Failure],
    ) -> Progress:
        """The progress with the run as it is after this batch."""
        if self._batch.results.record_run is None:
            return recorded
        fan_in = FanIn(
            self._batch.snapshot.commit,
            landed=tuple(outcome.entry.task.id for outcome in merged),
            failed=failed,
            snapshot=self.snapshot_with([], recorded),
            results=self._admission.results,
        )
        return recorded.with_run(self._batch.results.record_run(fan_in))

    def _message(
        self, group: Sequence[MergeOutcome], failures: Mapping[str, Failure]
    ) -> str:
        landed = []
        for outcome in group:
            result = self._admission.result(outcome.entry.task.id)
            landed.append(LandedTask(outcome.entry, result.usage.summary))
        landed_ids = {item.entry.task.id for item in landed}
        still_failed = {
            task_id: failure
            for task_id, failure in failures.items()
            if task_id not in landed_ids
        }
        return commit_message(
            self._batch.manifest, landed, still_failed, self._batch.tree_warnings
        )

    def hold_commit(
        self,
        merged: Sequence[MergeOutcome],
        failed: Mapping[str, Failure],
        held_branch: str,
    ) -> tuple[str, Progress]:
        """The commit that records the failures and that the merged work waits on
        `held_branch`, and the progress with it.
        """
        recorded = self._batch.snapshot.progress.with_every_task(
            self._batch.snapshot.plan.tasks
        )
        recorded = self._with_failures(recorded, failed)
        for outcome in merged:
            task = self._batch.task(outcome.entry.task.id)
            recorded = recorded.with_held(task, held_branch)
        recorded = self._with_run(recorded, [], failed)
        text = hold_message(self._batch.manifest, held_branch)
        return self._batch.commit(
            self._with_state(self._batch.head_tree, recorded), text
        ), recorded

    def snapshot_with(self, commits: Sequence[str], recorded: Progress) -> Snapshot:
        """The snapshot of the branch once the commits have landed."""
        if not commits:
            return self._batch.snapshot.with_progress(recorded)
        in_files = marked = None
        if self._batch.results.defers_progress:
            in_files = self._batch.at_head.recorded or self._batch.at_head.progress
            marked = with_marks(self._batch.snapshot, recorded, self._batch.task_ids)
        return self._batch.snapshot._replace(
            commit=commits[-1], progress=recorded, recorded=in_files, marked=marked
        )

    def _with_state(self, tree: str, recorded: Progress) -> str:
        """The tree with the plan's marks brought up to date, and the progress file unless
        the caller writes that.
        """
        if self._batch.results.defers_progress:
            files = write_mark_blobs(
                self._batch.quarantine,
                self._batch.snapshot,
                recorded,
                self._batch.task_ids,
            )
        else:
            files = write_progress_blobs(
                self._batch.quarantine,
                self._batch.snapshot,
                recorded,
                self._batch.manifest.progress,
            )
        return self._batch.quarantine.write_tree(tree, files)
