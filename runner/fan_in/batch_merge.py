"""The merge of one batch: the tree that its admitted results make, and which of them it
sends back.

It works in a quarantine and moves no branch. What may be merged is decided in
`admission`, how trees unite in `union`, who makes a tree red in `culprits`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from runner.core.errors import VerdictOutdated
from runner.core.plurals import some_of
from runner.core.result import Failure, FailureKind, Verdict
from runner.core.task import Status, Task
from runner.fan_in.admission import Admission
from runner.fan_in.context import BatchContext
from runner.fan_in.culprits import culprits
from runner.fan_in.folder_moves import left_behind
from runner.fan_in.inputs import (
    RecordedVerdict,
    RunVerify,
    SendBack,
    Verification,
)
from runner.fan_in.union import Candidate, MergeOutcome, unite
from runner.fan_in.verdict_binding import is_verified
from runner.fan_in.verify_runs import VerifyRuns, never_verified
from runner.plan.snapshot import read_progress
from runner.policy import globs
from runner.policy.change import Change

_MAX_NAMED = 5  # tasks in one message
_MAX_MOVED = 20  # files of moved folders that a warning names


class Judgement(NamedTuple):
    """The merged candidates, in order, and the failures of the others."""

    merged: Sequence[MergeOutcome]
    failed: Mapping[str, Failure]


class BatchMerge:
    """Merges the admitted results of one batch in its quarantine."""

    def __init__(self, batch: BatchContext, admission: Admission) -> None:
        self._batch, self._admission = batch, admission

    def judge(
        self, candidates: Sequence[Candidate], verification: Verification | None
    ) -> Judgement:
        """Merge the candidates; send back those that conflict or make the tree red.

        VerdictOutdated if a recorded verdict is about another tree.
        """
        sent_back: Mapping[str, Failure] = {}
        match verification:
            case None:
                outcomes = self.unite(candidates)
            case SendBack(failures):
                outcomes, sent_back = self._send_back(candidates, failures)
            case RecordedVerdict(verdict):
                outcomes, sent_back = self._send_back(candidates, verdict.failed)
                self._check_binding(verdict, outcomes)
            case RunVerify():
                outcomes, sent_back = self._verify(candidates, verification)
        merged = [outcome for outcome in outcomes if outcome.tree]
        # Another job may have written them, and logs of verify are in them.
        failed = {
            task_id: self._batch.masked(failure)
            for task_id, failure in sent_back.items()
        }
        for outcome in outcomes:
            if outcome.failure is not None:
                failed[outcome.entry.task.id] = self._excused(outcome, outcome.failure)
        self._warn_of_moved_folders(candidates, merged)
        return Judgement(merged, failed)

    def unite(self, candidates: Sequence[Candidate]) -> list[MergeOutcome]:
        """Merge the candidates on the head's tree."""
        return unite(
            self._batch.base_tree,
            self._batch.head_tree,
            candidates,
            self._batch.quarantine,
            tree_per_task=self._batch.commit_per_task,
            landed_by=lambda path: self._landed_since_base.get(path),
            refuse=self._refuse_changes,
        )

    def _refuse_changes(
        self, task_id: str, changes: Sequence[Change]
    ) -> Failure | None:
        """Why the task may not make these changes, which a merge made of its work."""
        task = self._batch.snapshot.graph.tasks.get(task_id)
        for entry in self._batch.manifest.entries:
            if entry.task.id == task_id:
                task = entry.task
        if task is None:
            return None
        warned: list[str] = []
        refusal = self._admission.review.check(task, changes, warned=warned)
        # Trees are merged more than once to find the culprit of a red one.
        self._batch.warnings += [
            text for text in warned if text not in self._batch.warnings
        ]
        return refusal

    @cached_property
    def _landed_since_base(self) -> dict[str, str]:
        """Path → the task that changed it and landed after the batch was chosen."""
        manifest = self._batch.manifest
        before = read_progress(
            self._batch.repo, manifest.base, manifest.plan, manifest.progress
        )
        landed = {}
        for task_id, record in self._batch.snapshot.progress.records.items():
            earlier = before.records.get(task_id)
            if record.status is not Status.COMPLETED:
                continue
            if earlier is not None and earlier.status is Status.COMPLETED:
                continue
            if self._batch.results.is_in_base(task_id):
                continue
            for line in record.changed:
                # As `diffstats` writes it: the path, lines added, lines removed.
                landed[line.rsplit(" ", 2)[0]] = task_id
        return landed

    def _excused(self, outcome: MergeOutcome, failure: Failure) -> Failure:
        """The failure, as one that costs no attempt if it is not the task's fault."""
        if failure.kind is not FailureKind.CONFLICT:
            return failure
        task, max_attempts = outcome.entry.task, self._batch.manifest.max_attempts
        if not self._batch.snapshot.progress.excuses_conflict(task, max_attempts):
            return failure
        if self._batch.manifest.scope == "warn" and _is_outside(task, failure.paths):
            return failure
        first, *rest = failure.message.splitlines()
        message = "\n".join([f"{first}; costs no attempt", *rest])
        return failure.model_copy(update={"excused": True, "message": message})

    def _warn_of_moved_folders(
        self, candidates: Sequence[Candidate], merged: Sequence[MergeOutcome]
    ) -> None:
        landing = {outcome.entry.index for outcome in merged}
        changes = {
            candidate.entry.task.id: candidate.changes
            for candidate in candidates
            if candidate.entry.index in landing
        }
        if self._batch.base_tree != self._batch.head_tree and any(changes.values()):
            changes[""] = self._batch.quarantine.changes(
                self._batch.base_tree, self._batch.head_tree
            )
        if len(changes) < 2:  # nobody else can have moved anything
            return
        sentences = left_behind(
            changes, lambda: self._batch.quarantine.paths(self._batch.base_tree)
        )
        moved = [self._batch.one_line(sentence) for sentence in sentences[:_MAX_MOVED]]
        more = len(sentences) - len(moved)
        if more:
            moved.append(f"and {more} more files in moved folders")
        self._batch.warnings += moved
        self._batch.tree_warnings = [*self._batch.results.notices, *moved]

    def _send_back(
        self, candidates: Sequence[Candidate], failures: Mapping[str, Failure]
    ) -> tuple[list[MergeOutcome], dict[str, Failure]]:
        """Merge the candidates without the failed ones, and return their failures."""
        accepted: list[Candidate] = []
        sent_back: dict[str, Failure] = {}
        for candidate in candidates:
            task_id = candidate.entry.task.id
            if task_id in failures:
                sent_back[task_id] = failures[task_id]
            else:
                accepted.append(candidate)
        return self.unite(accepted), sent_back

    def _check_binding(
        self, verdict: Verdict, outcomes: Sequence[MergeOutcome]
    ) -> None:
        if is_verified(
            self._batch.repo,
            self._batch.quarantine,
            self._batch.manifest,
            verdict,
            self._batch.at_head,
            self._batch.last_tree(outcomes),
        ):
            return
        refused = [entry.index for entry in self._admission.with_secret]
        if verdict.head == self._batch.snapshot.commit and refused:
            ids = [entry.task.id for entry in self._admission.with_secret]
            names = some_of(ids[:_MAX_NAMED], len(ids))
            verb = "holds" if len(refused) == 1 else "hold"
            reason = f"{names} {verb} a secret, and was verified with the other work"
            raise VerdictOutdated(reason, refused)
        raise VerdictOutdated(f"{self._batch.manifest.branch} moved", refused)

    def _verify(
        self, candidates: Sequence[Candidate], verification: RunVerify
    ) -> tuple[list[MergeOutcome], dict[str, Failure]]:
        """Merge the candidates and find those that make the tree red.

        A candidate with a conflict stays out, even if the work it conflicts with is
        sent back: with it the tree would be one that nobody has verified.
        """
        outcomes = self.unite(candidates)
        merged = {outcome.entry.index for outcome in outcomes if outcome.tree}
        if not merged:
            return outcomes, {}
        landing = [c for c in candidates if c.entry.index in merged]
        runs = VerifyRuns(
            verification.verify, self._batch.quarantine, self._batch.manifest
        )
        green_trees = {self._batch.head_tree}

        def are_green(subsets: Sequence[Sequence[Candidate]]) -> list[bool | None]:
            trees = [self._batch.last_tree(self.unite(subset)) for subset in subsets]
            commits = [self._batch.commit(tree, "verify") for tree in trees]
            steps = [
                runs.step(commit, _ids_of(subset))
                for commit, subset in zip(commits, subsets, strict=True)
            ]
            verdicts = [_is_green(failure) for failure in runs.failures(steps)]
            green_trees.update(itertools.compress(trees, verdicts))
            return verdicts

        guilty = culprits(landing, are_green, verification.at_once)
        if not guilty:
            return outcomes, {}
        head = None
        if len(guilty) == len(landing):
            head = self._batch.commit(self._batch.head_tree, "verify")
        sent_back = runs.blame(_ids_of(guilty), head)
        accepted = self.unite([c for c in landing if c not in guilty])
        if self._batch.last_tree(accepted) not in green_trees:
            raise never_verified()
        conflicts = [outcome for outcome in outcomes if outcome.failure]
        return [*accepted, *conflicts], sent_back


def _is_green(failure: Failure | None) -> bool | None:
    """Whether a tree is green; None if verify was ended before it could say."""
    if failure is not None and not failure.counted:
        return None
    return failure is None


def _is_outside(task: Task, paths: Sequence[str]) -> bool:
    """Whether some of the paths are not among those that the task declares."""
    if task.files is None:
        return False
    return not all(globs.matches(task.files, path) for path in paths)


def _ids_of(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.entry.task.id for candidate in candidates]
