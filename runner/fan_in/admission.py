"""Which results of a batch may be merged, by what they are and by the policy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from runner.core import result_folder
from runner.core.documents import clean
from runner.core.errors import FaninError
from runner.core.manifest import BatchEntry
from runner.core.result import MAX_QUESTIONS, Failure, FailureKind, Result
from runner.core.result_folder import Reading
from runner.core.task import Status
from runner.fan_in.change_review import ChangeReview
from runner.fan_in.context import BatchContext
from runner.fan_in.importing import PackImporter
from runner.fan_in.union import Candidate
from runner.plan import progress
from runner.policy import rules
from runner.policy.change import Change, Refusal

_MAX_LEFT_OUT = 3  # files that a warning names


class Admission:
    """Reads a batch's results and admits those that may be merged.

    Their objects are imported into the batch's quarantine. `changes` are those of the
    work that the policy let in, by task id; `left_out` are the paths of the work of a
    task that did not get in with the rest.
    """

    def __init__(self, batch: BatchContext) -> None:
        self._batch = batch
        self.packs = PackImporter(
            batch.quarantine, batch.base_tree, batch.manifest.limits.size
        )
        self.review = ChangeReview(
            batch.repo,
            batch.quarantine,
            batch.manifest,
            batch.base_tree,
            batch.head_tree,
            self.packs.changes,
        )
        self.changes: dict[str, Sequence[Change]] = {}
        self.left_out: dict[str, tuple[str, ...]] = {}
        # task id → its result's tree without what does not land with the rest
        self.landing_trees: dict[str, str] = {}
        # task id → its result's tree, as far as the policy accepted it
        self.admitted: dict[str, str] = {}
        # Messages of refusals for a secret, and the entries that have one.
        self._secret_refusals: set[str] = set()
        self.with_secret: list[BatchEntry] = []

    # -- the results as read --

    @cached_property
    def readings(self) -> list[Reading]:
        """The batch's results as read, in plan order."""
        checks = self._batch.results.checks._replace(refuse=self._refuse_secret)
        return result_folder.read_batch(
            self._batch.results.folder, self._batch.manifest, checks
        )

    @cached_property
    def by_task(self) -> dict[str, Reading]:
        """The readings by task id."""
        return {reading.entry.task.id: reading for reading in self.readings}

    @property
    def results(self) -> tuple[Result, ...]:
        """The results that could be read, in plan order."""
        results = [reading.result for reading in self.readings]
        return tuple(result for result in results if result is not None)

    def result(self, task_id: str) -> Result:
        """The result of a merged task, which therefore has one."""
        result = self.by_task[task_id].result
        assert result is not None
        return result

    # -- which of them may be merged --

    def admit(self) -> tuple[list[Candidate], dict[str, Failure]]:
        """The results that may be merged, and the failures of the other tasks.

        A task is in neither if its result is recorded already or it never started.
        """
        new = [reading for reading in self.readings if not self._is_recorded(reading)]
        self.packs.import_together(new)
        candidates: list[Candidate] = []
        failed: dict[str, Failure] = {}
        for reading in new:
            self._warn(reading)
            try:
                admitted = self._admit_result(reading)
            except (FaninError, ValueError) as error:
                # one hostile result must not stop the others
                admitted = Failure(
                    kind=FailureKind.CORRUPT,
                    message=f"the result cannot be read: {error}",
                )
            if isinstance(admitted, Candidate):
                candidates.append(admitted)
            elif admitted is not None:
                if admitted.message in self._secret_refusals:
                    self.with_secret.append(reading.entry)
                failed[reading.entry.task.id] = self._batch.masked(admitted)
        # Nothing that started beside such a task may make it conflict once more.
        candidates.sort(key=lambda candidate: not self._has_conflicted(candidate))
        return candidates, failed

    def _has_conflicted(self, candidate: Candidate) -> bool:
        record = self._batch.snapshot.progress.record(
            self._batch.task(candidate.entry.task.id)
        )
        return bool(record.conflict_paths)

    def _is_recorded(self, reading: Reading) -> bool:
        """Whether the head has this result already, because a fan-in was run twice."""
        task = self._batch.snapshot.graph.tasks.get(reading.entry.task.id)
        if task is None or reading.result is None:
            return False
        return self._batch.snapshot.progress.has_recorded(task, reading.result)

    def _warn(self, reading: Reading) -> None:
        """Pass on what the attempt warns of. The texts are an agent's."""
        if reading.result is None:
            return
        for warning in reading.result.warnings:
            text = self._batch.one_line(warning)
            masked = self._batch.results.secrets.masked_text(text)
            self._batch.warnings.append(f"{reading.entry.task.id}: {masked}")

    def _admit_result(self, reading: Reading) -> Candidate | Failure | None:
        if not reading.started and self._batch.results.missing is None:
            return None
        # A stale result is imported as well: its work is kept.
        refused_pack = self.packs.import_one(reading)
        reason = self._reason_not_to_count(reading)
        if reason is not None:
            return Failure(
                kind=FailureKind.STALE, message=f"the result does not count: {reason}"
            )
        if refused_pack is not None:
            return refused_pack
        if not reading.started:
            return self._batch.results.missing
        if reading.failure is not None:
            return self._own_failure(reading, reading.failure)
        if reading.result is None:
            return None
        if reading.entry.index in self._batch.results.refused:
            return Failure(
                kind=FailureKind.POLICY, message="job merge found a secret in it"
            )
        return self._apply_policy(reading, reading.result)

    def _own_failure(self, reading: Reading, failure: Failure) -> Failure:
        """The failure that the attempt itself has reported.

        An agent had control of the machine that wrote it.
        """
        changes: dict[str, object] = {"paths": (), "excused": False}
        task = self._batch.snapshot.graph.tasks[reading.entry.task.id]
        is_question = failure.kind is FailureKind.QUESTION
        if is_question and not self._batch.snapshot.progress.may_ask(task):
            changes["kind"] = FailureKind.AGENT_ERROR
            changes["message"] = (
                f"the agent has asked {MAX_QUESTIONS} times and asks again: "
                f"{failure.message}"
            )
        return failure.model_copy(update=changes)

    def _reason_not_to_count(self, reading: Reading) -> str | None:
        """Return why the result does not follow from the head's progress, or None."""
        if self._batch.results.outdated is not None:
            return self._batch.results.outdated
        entry = reading.entry
        task = self._batch.snapshot.graph.tasks.get(entry.task.id)
        stale = progress.stale_reason(
            self._batch.snapshot.progress, task, entry.task_digest, entry.attempt
        )
        return stale or self._missing_dependency(entry.task.id)

    def _missing_dependency(self, task_id: str) -> str | None:
        """A sentence about a dependency that the head has not completed, or None.

        A rolling run starts tasks on work that has not landed yet. If a person commits
        meanwhile, that work may fail to land.
        """
        graph = self._batch.snapshot.graph
        for dependency in graph.dependencies(task_id):
            record = self._batch.snapshot.progress.record(graph.tasks[dependency])
            if record.status is not Status.COMPLETED:
                return f"{dependency}, which it depends on, is not completed"
        return None

    def _apply_policy(self, reading: Reading, result: Result) -> Candidate | Failure:
        entry = reading.entry
        judged = self.review.judge(entry.task, result.tree, self._batch.warnings)
        refusal = judged.refusal
        if refusal is None:
            refusal = self._find_secret(judged.changes)
        if refusal is not None:
            return refusal
        if judged.left_out:
            self.landing_trees[entry.task.id] = judged.tree
            self.left_out[entry.task.id] = tuple(each.path for each in judged.left_out)
            self._warn_of_left_out(entry.task.id, judged.left_out)
        self.review.accept(judged)
        self.admitted[entry.task.id] = judged.tree
        self.changes[entry.task.id] = judged.changes
        return Candidate(entry, judged.tree, judged.changes)

    def _warn_of_left_out(self, task_id: str, left_out: Sequence[Refusal]) -> None:
        sentence = "; ".join(str(refusal) for refusal in left_out[:_MAX_LEFT_OUT])
        more = len(left_out) - _MAX_LEFT_OUT
        if more > 0:
            sentence += f"; and {more} more"
        text = clean(f"{task_id}: left out: {sentence}").replace("\n", " ")
        self._batch.warnings.append(self._batch.results.secrets.masked_text(text))

    def _refuse_secret(self, data: bytes) -> Failure | None:
        """Refuse a result with a secret in it, wherever in its file that is."""
        name = self._batch.results.secrets.find([data])
        return self._secret_refusal("the agent's result", name) if name else None

    def _secret_refusal(self, location: str, name: str) -> Failure:
        refusal = rules.leaked_secret(location, name)
        self._secret_refusals.add(refusal.message)
        return refusal

    def _find_secret(self, changes: Sequence[Change]) -> Failure | None:
        """Refuse work with a secret in it. The task job has searched it too, but the
        agent had control of that machine.
        """
        leak = self._batch.quarantine.first_secret(changes, self._batch.results.secrets)
        if leak is None:
            return None
        path, name = leak
        return self._secret_refusal(path, name)
