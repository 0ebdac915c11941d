"""What becomes of a batch's results that do not land: their work is kept in commits, and
their failures say what the next attempts start from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from runner.core.manifest import BatchEntry
from runner.core.result import (
    CARRIED_ON,
    MAX_MESSAGE,
    REFUSED,
    Failure,
    FailureKind,
    KeptWork,
    Result,
)
from runner.core.result_folder import Reading
from runner.fan_in import kept_refs
from runner.fan_in.admission import Admission
from runner.fan_in.commit_message import kept_message
from runner.fan_in.context import BatchContext
from runner.plan.changes import FailedAttempt

_WORKFLOWS = ".github/workflows/"


@dataclass(frozen=True)
class KeptResult:
    """The commit with the work of an attempt that did not land, or not all of it, and
    the ref that keeps it. `next` is what the next attempt starts from, kept by
    `next_ref`, None if no attempt does. `acceptable`: the policy refused it, and a person
    on another machine may let it land.
    """

    commit: str
    ref: str
    next: KeptWork | None = None
    next_ref: str = ""
    acceptable: bool = False


class UnlandedResults:
    """The results of one batch that do not land on its head."""

    def __init__(self, batch: BatchContext, admission: Admission) -> None:
        self.kept: dict[str, KeptResult] = {}  # task id → its work
        self._batch, self._admission = batch, admission

    def keep(self, failed: Mapping[str, Failure]) -> dict[str, Failure]:
        """Make a commit with the work of each failed attempt, and of each of which a
        part was left out, because the work is paid for.

        Returns the failures, which say why no attempt goes on with work where that is
        so. Work with a secret in it is not kept: these refs are pushed.
        """
        failures = dict(failed)
        in_part = self._admission.landing_trees
        for reading in self._admission.readings:
            entry, result = reading.entry, reading.result
            task_id = entry.task.id
            is_whole = task_id not in failed and task_id not in in_part
            if is_whole or result is None or result.tree is None:
                continue
            if not self._admission.packs.has_tree(result.tree):
                continue
            if self._has_secret(result.tree):
                continue
            text = kept_message(entry, failed.get(task_id))
            commit = self._commit(result.tree, text)
            kept = KeptResult(commit, kept_refs.name(self._batch.manifest, entry))
            self.kept[task_id] = kept
            failure = failed.get(task_id)
            if failure is None:
                continue
            if _may_carry(entry, failure):
                self.kept[task_id], failures[task_id] = self._carried(
                    entry,
                    result,
                    failure,
                    kept,
                    text,
                    self._admission.admitted.get(task_id),
                )
            elif failure.kind in REFUSED:
                acceptable = self._is_acceptable(entry, result.tree)
                self.kept[task_id] = replace(kept, acceptable=acceptable)
        return failures

    def _carried(
        self,
        entry: BatchEntry,
        result: Result,
        failure: Failure,
        kept: KeptResult,
        text: str,
        tree: str | None,
    ) -> tuple[KeptResult, Failure]:
        """The kept work with what the next attempt starts from; or without that, and the
        failure that says why. `tree` is what the policy accepted, None if unknown.
        """
        if tree is None:
            judged = self._admission.review.judge(entry.task, result.tree)
            if judged.refusal is not None:
                return kept, _from_base(failure, judged.refusal.message)
            tree = judged.tree
        workflow = self._workflow_in(tree) if self._batch.results.pushes_kept else None
        if workflow is not None:
            reason = f"{workflow} is a workflow, which no kept work is pushed with"
            return kept, _from_base(failure, reason)
        commit, ref = kept.commit, kept.ref
        if tree != result.tree:
            commit, ref = self._commit(tree, text), f"{ref}-allowed"
        work = KeptWork(
            commit=commit, attempt=entry.attempt, request=entry.task.request_digest
        )
        return replace(kept, next=work, next_ref=ref), failure

    def _is_acceptable(self, entry: BatchEntry, tree: str) -> bool:
        if self._batch.results.pushes_kept and self._workflow_in(tree) is not None:
            return False
        return self._admission.review.may_be_accepted(entry.task, tree)

    def _workflow_in(self, tree: str) -> str | None:
        """The first changed workflow. GitHub takes one from no token that job merge has
        by default.
        """
        base_tree = self._admission.review.base_tree
        for path in self._batch.quarantine.changed_paths(base_tree, tree):
            if path.casefold().startswith(_WORKFLOWS):
                return path
        return None

    def _has_secret(self, tree: str) -> bool:
        secrets = self._batch.results.secrets
        if not secrets:
            return False
        changes = self._admission.review.changes_to(tree)
        return self._batch.quarantine.first_secret(changes, secrets) is not None

    def _commit(self, tree: str, text: str) -> str:
        return self._batch.quarantine.commit_tree(
            tree, [self._batch.manifest.base], text
        )

    # -- what was kept --

    @property
    def kept_refs(self) -> dict[str, str]:
        """Task id → the ref that keeps its work."""
        return {task_id: kept.ref for task_id, kept in self.kept.items()}

    @property
    def carried(self) -> dict[str, str]:
        """Ref → commit of the work that next attempts start from."""
        carried = {}
        for kept in self.kept.values():
            if kept.next is not None:
                carried[kept.next_ref] = kept.next.commit
        return carried

    @property
    def acceptable(self) -> dict[str, str]:
        """Ref → commit of the work that the policy refused and a person may accept."""
        return {kept.ref: kept.commit for kept in self.kept.values() if kept.acceptable}

    @property
    def commits_by_ref(self) -> dict[str, str]:
        """All refs to set → their commits."""
        whole = {kept.ref: kept.commit for kept in self.kept.values()}
        return whole | self.carried

    # -- the failures --

    def failed_attempts(
        self, failures: Mapping[str, Failure]
    ) -> tuple[FailedAttempt, ...]:
        """The failed attempts that count."""
        return tuple(
            self._failed_attempt(self._admission.by_task[task_id], failure)
            for task_id, failure in failures.items()
            if failure.counted  # else its task may not be in the plan any more
        )

    def _failed_attempt(self, reading: Reading, failure: Failure) -> FailedAttempt:
        entry = reading.entry
        return FailedAttempt(
            task=entry.task.id,
            attempt=entry.attempt,
            failure=failure,
            result=reading.result,
            kept=self._work_for_next(entry.task.id, failure),
            from_work=entry.start is not None,
        )

    def _work_for_next(self, task_id: str, failure: Failure) -> KeptWork | None:
        """The work that the task's next attempt may start from."""
        kept = self.kept.get(task_id)
        if kept is not None and failure.kind in CARRIED_ON:
            return kept.next
        if failure.kind in REFUSED:
            return None
        # The attempt left nothing to go on with: what it started from is still there.
        task = self._batch.snapshot.graph.tasks[task_id]
        return self._batch.snapshot.progress.record(task).kept


def _may_carry(entry: BatchEntry, failure: Failure) -> bool:
    return failure.kind in CARRIED_ON and entry.retry_from == "work"


def _from_base(failure: Failure, reason: str) -> Failure:
    """The failure, with the reason why the next attempt starts from the base."""
    if failure.kind is FailureKind.QUESTION:
        note = f"\n\n(The next attempt starts without this work: {reason})"
        text = failure.message[: max(0, MAX_MESSAGE - len(note))]
        return failure.model_copy(update={"message": text + note})
    first, *rest = failure.message.splitlines() or [""]
    sentence = f"the next attempt starts without this work: {reason}"
    message = "\n".join([first, sentence, *rest])
    return failure.model_copy(update={"message": message})
