"""The fan-in of one batch: which results are merged, the tree they make, and the
commits that record it.

It works in a quarantine and moves no branch. The decisions are made in `change_review`,
`union`, `culprits` and `plan.progress`; this module gives them what they need from git.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from runner.core import result_folder
from runner.core.documents import clean
from runner.core.errors import FaninError, VerdictOutdated
from runner.core.manifest import BatchEntry, Manifest
from runner.core.plurals import some_of
from runner.core.result import (
    MAX_QUESTIONS,
    Failure,
    FailureKind,
    Result,
    Verdict,
)
from runner.core.result_folder import Reading
from runner.core.task import Status, Task
from runner.fan_in.change_review import ChangeReview
from runner.fan_in.commit_message import (
    LandedTask,
    commit_message,
    hold_message,
)
from runner.fan_in.culprits import culprits
from runner.fan_in.folder_moves import left_behind
from runner.fan_in.importing import PackImporter
from runner.fan_in.inputs import (
    BatchResults,
    RecordedVerdict,
    RunVerify,
    SendBack,
    Verification,
)
from runner.fan_in.union import Candidate, MergeOutcome, unite
from runner.fan_in.unlanded_results import UnlandedResults
from runner.fan_in.verdict_binding import is_verified
from runner.fan_in.verify_runs import VerifyRuns, never_verified
from runner.plan import progress
from runner.plan.changes import FailedAttempt, unrecorded_failures
from runner.plan.progress import Progress
from runner.plan.snapshot import (
    Snapshot,
    read_progress,
    with_marks,
    write_mark_blobs,
    write_progress_blobs,
)
from runner.policy import globs, rules
from runner.policy.change import Change, Refusal
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository

_MAX_NAMED = 5  # tasks in one message

_MAX_MOVED = 20  # files of moved folders that a warning names
_MAX_WARNING_LENGTH = 1_000
_MAX_LEFT_OUT = 3  # files that a warning names


@dataclass(frozen=True)
class FanIn:
    """The outcome of the fan-in of a batch.

    `commits` are on top of `head`, oldest first; none if there is nothing to record.
    `landed` are the ids of the tasks whose work is in them, `failed` maps the others
    to their failure, and `kept_refs` maps a task to the ref that keeps work which is
    not in them. `left_out` maps a task that landed to the paths of its work that did not.
    `carried` are those of these refs from which the next attempts start, with their
    commits, and `acceptable` those with work that the policy refused and a person on
    another machine may let land. `failed_attempts` are those that count and that no commit records;
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


class Judgement(NamedTuple):
    """The merged candidates, in order, and the failures of the others."""

    merged: Sequence[MergeOutcome]
    failed: Mapping[str, Failure]


class BatchMerge:
    """The fan-in of one batch in one quarantine."""

    def __init__(
        self,
        repo: Repository,
        quarantine: Quarantine,
        results: BatchResults,
        snapshot: Snapshot,
    ) -> None:
        """`snapshot` is the head to merge on; its commit may be in the quarantine."""
        self.repo = repo
        self.quarantine = quarantine
        self.results = results
        self.manifest = results.manifest
        self._at_head = snapshot
        self.snapshot = snapshot._replace(
            progress=_with_grants(snapshot, results.manifest)
        )
        self.warnings: list[str] = []
        # for the commit's message
        self.tree_warnings: list[str] = list(results.notices)
        self.changes: dict[str, Sequence[Change]] = {}  # task id → those of its work
        # task id → its result's tree without what does not land with the rest
        self._trees_without: dict[str, str] = {}
        self.left_out: dict[str, tuple[str, ...]] = {}  # task id → paths
        # Messages of refusals for a secret, and the entries that have one.
        self._secret_refusals: set[str] = set()
        self._with_secret: list[BatchEntry] = []
        # task id → its result's tree, as far as the policy accepted it
        self._admitted: dict[str, str] = {}
        self.base_tree = repo.tree(results.manifest.base)
        self.head_tree = quarantine.tree(snapshot.commit)
        self._packs = PackImporter(
            quarantine, self.base_tree, results.manifest.limits.size
        )
        self._review = ChangeReview(
            repo,
            quarantine,
            results.manifest,
            self.base_tree,
            self.head_tree,
            self._packs.changes,
        )
        self.unlanded = UnlandedResults(
            quarantine, results, self.snapshot, self._review, self._packs
        )

    @cached_property
    def readings(self) -> list[Reading]:
        """The batch's results as read, in plan order."""
        checks = self.results.checks._replace(refuse=self._refuse_secret)
        return result_folder.read_batch(self.results.folder, self.manifest, checks)

    # -- which results may be merged --

    def admit(self) -> tuple[list[Candidate], dict[str, Failure]]:
        """The results that may be merged, and the failures of the other tasks.

        A task is in neither if its result is recorded already or it never started.
        """
        new = [reading for reading in self.readings if not self._is_recorded(reading)]
        self._packs.import_together(new)
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
                    self._with_secret.append(reading.entry)
                failed[reading.entry.task.id] = self._masked(admitted)
        # Nothing that started beside such a task may make it conflict once more.
        candidates.sort(key=lambda candidate: not self._has_conflicted(candidate))
        return candidates, failed

    def _has_conflicted(self, candidate: Candidate) -> bool:
        record = self.snapshot.progress.record(self._task(candidate.entry.task.id))
        return bool(record.conflict_paths)

    def _is_recorded(self, reading: Reading) -> bool:
        """Whether the head has this result already, because a fan-in was run twice."""
        task = self.snapshot.graph.tasks.get(reading.entry.task.id)
        if task is None or reading.result is None:
            return False
        return self.snapshot.progress.has_recorded(task, reading.result)

    def _warn(self, reading: Reading) -> None:
        """Pass on what the attempt warns of. The texts are an agent's."""
        if reading.result is None:
            return
        for warning in reading.result.warnings:
            text = clean(warning).replace("\n", " ")[:_MAX_WARNING_LENGTH]
            masked = self.results.secrets.masked_text(text)
            self.warnings.append(f"{reading.entry.task.id}: {masked}")

    def _admit_result(self, reading: Reading) -> Candidate | Failure | None:
        if not reading.started and self.results.missing is None:
            return None
        # A stale result is imported as well: its work is kept.
        refused_pack = self._packs.import_one(reading)
        reason = self._reason_not_to_count(reading)
        if reason is not None:
            return Failure(
                kind=FailureKind.STALE, message=f"the result does not count: {reason}"
            )
        if refused_pack is not None:
            return refused_pack
        if not reading.started:
            return self.results.missing
        if reading.failure is not None:
            return self._own_failure(reading, reading.failure)
        if reading.result is None:
            return None
        if reading.entry.index in self.results.refused:
            return Failure(
                kind=FailureKind.POLICY, message="job merge found a secret in it"
            )
        return self._apply_policy(reading, reading.result)

    def _own_failure(self, reading: Reading, failure: Failure) -> Failure:
        """The failure that the attempt itself has reported.

        An agent had control of the machine that wrote it.
        """
        changes: dict[str, object] = {"paths": (), "excused": False}
        task = self.snapshot.graph.tasks[reading.entry.task.id]
        is_question = failure.kind is FailureKind.QUESTION
        if is_question and not self.snapshot.progress.may_ask(task):
            changes["kind"] = FailureKind.AGENT_ERROR
            changes["message"] = (
                f"the agent has asked {MAX_QUESTIONS} times and asks again: "
                f"{failure.message}"
            )
        return failure.model_copy(update=changes)

    def _reason_not_to_count(self, reading: Reading) -> str | None:
        """Return why the result does not follow from the head's progress, or None."""
        entry = reading.entry
        task = self.snapshot.graph.tasks.get(entry.task.id)
        stale = progress.stale_reason(
            self.snapshot.progress, task, entry.task_digest, entry.attempt
        )
        return stale or self._missing_dependency(entry.task.id)

    def _missing_dependency(self, task_id: str) -> str | None:
        """A sentence about a dependency that the head has not completed, or None.

        A rolling run starts tasks on work that has not landed yet. If a person commits
        meanwhile, that work may fail to land.
        """
        graph = self.snapshot.graph
        for dependency in graph.dependencies(task_id):
            record = self.snapshot.progress.record(graph.tasks[dependency])
            if record.status is not Status.COMPLETED:
                return f"{dependency}, which it depends on, is not completed"
        return None

    def _apply_policy(self, reading: Reading, result: Result) -> Candidate | Failure:
        entry = reading.entry
        judged = self._review.judge(entry.task, result.tree, self.warnings)
        refusal = judged.refusal
        if refusal is None:
            refusal = self._find_secret(judged.changes)
        if refusal is not None:
            return refusal
        if judged.left_out:
            self._trees_without[entry.task.id] = judged.tree
            self.left_out[entry.task.id] = tuple(each.path for each in judged.left_out)
            self._warn_of_left_out(entry.task.id, judged.left_out)
        self._review.accept(judged)
        self._admitted[entry.task.id] = judged.tree
        self.changes[entry.task.id] = judged.changes
        return Candidate(entry, judged.tree, judged.changes)

    def _warn_of_left_out(self, task_id: str, left_out: Sequence[Refusal]) -> None:
        sentence = "; ".join(str(refusal) for refusal in left_out[:_MAX_LEFT_OUT])
        more = len(left_out) - _MAX_LEFT_OUT
        if more > 0:
            sentence += f"; and {more} more"
        text = clean(f"{task_id}: left out: {sentence}").replace("\n", " ")
        self.warnings.append(self.results.secrets.masked_text(text))

    def _refuse_secret(self, data: bytes) -> Failure | None:
        """Refuse a result with a secret in it, wherever in its file that is."""
        name = self.results.secrets.find([data])
        return self._secret_refusal("the agent's result", name) if name else None

    def _secret_refusal(self, location: str, name: str) -> Failure:
        refusal = rules.leaked_secret(location, name)
        self._secret_refusals.add(refusal.message)
        return refusal

    def _find_secret(self, changes: Sequence[Change]) -> Failure | None:
        """Refuse work with a secret in it. The task job has searched it too, but the
        agent had control of that machine.
        """
        leak = self.quarantine.first_secret(changes, self.results.secrets)
        if leak is None:
            return None
        path, name = leak
        return self._secret_refusal(path, name)

    def _masked(self, failure: Failure) -> Failure:
        """The failure without the secrets that its texts may quote."""
        mask = self.results.secrets.masked_text
        texts = {
            "message": mask(failure.message),
            "log_tail": mask(failure.log_tail),
        }
        return failure.model_copy(update=texts)

    # -- one tree, and its verification --

    def unite(self, candidates: Sequence[Candidate]) -> list[MergeOutcome]:
        """Merge the candidates on the head's tree."""
        return unite(
            self.base_tree,
            self.head_tree,
            candidates,
            self.quarantine,
            tree_per_task=self._commit_per_task,
            landed_by=lambda path: self._landed_since_base.get(path),
            refuse=self._refuse_changes,
        )

    def _refuse_changes(
        self, task_id: str, changes: Sequence[Change]
    ) -> Failure | None:
        """Why the task may not make these changes, which a merge made of its work."""
        task = self.snapshot.graph.tasks.get(task_id)
        for entry in self.manifest.entries:
            if entry.task.id == task_id:
                task = entry.task
        if task is None:
            return None
        warned: list[str] = []
        refusal = self._review.check(task, changes, warned=warned)
        # Trees are merged more than once to find the culprit of a red one.
        self.warnings += [text for text in warned if text not in self.warnings]
        return refusal

    @cached_property
    def _landed_since_base(self) -> dict[str, str]:
        """Path → the task that changed it and landed after the batch was chosen."""
        manifest = self.manifest
        before = read_progress(
            self.repo, manifest.base, manifest.plan, manifest.progress
        )
        landed = {}
        for task_id, record in self.snapshot.progress.records.items():
            earlier = before.records.get(task_id)
            if record.status is not Status.COMPLETED:
                continue
            if earlier is not None and earlier.status is Status.COMPLETED:
                continue
            if self.results.is_in_base(task_id):
                continue
            for line in record.changed:
                # As `diffstats` writes it: the path, lines added, lines removed.
                landed[line.rsplit(" ", 2)[0]] = task_id
        return landed

    @property
    def _commit_per_task(self) -> bool:
        """Whether each task gets a commit of its own."""
        return self.manifest.commit_strategy == "individual"

    def last_tree(self, outcomes: Sequence[MergeOutcome]) -> str:
        """The head's tree with all merged work."""
        for outcome in reversed(outcomes):
            if outcome.tree is not None:
                return outcome.tree
        return self.head_tree

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
            task_id: self._masked(failure) for task_id, failure in sent_back.items()
        }
        for outcome in outcomes:
            if outcome.failure is not None:
                failed[outcome.entry.task.id] = self._excused(outcome, outcome.failure)
        self._warn_of_moved_folders(candidates, merged)
        return Judgement(merged, failed)

    def _excused(self, outcome: MergeOutcome, failure: Failure) -> Failure:
        """The failure, as one that costs no attempt if it is not the task's fault."""
        if failure.kind is not FailureKind.CONFLICT:
            return failure
        task, max_attempts = outcome.entry.task, self.manifest.max_attempts
        if not self.snapshot.progress.excuses_conflict(task, max_attempts):
            return failure
        if self.manifest.scope == "warn" and _is_outside(task, failure.paths):
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
        if self.base_tree != self.head_tree and any(changes.values()):
            changes[""] = self.quarantine.changes(self.base_tree, self.head_tree)
        if len(changes) < 2:  # nobody else can have moved anything
            return
        sentences = left_behind(changes, lambda: self.quarantine.paths(self.base_tree))
        moved = [
            clean(sentence).replace("\n", " ")[:_MAX_WARNING_LENGTH]
            for sentence in sentences[:_MAX_MOVED]
        ]
        more = len(sentences) - len(moved)
        if more:
            moved.append(f"and {more} more files in moved folders")
        self.warnings += moved
        self.tree_warnings = [*self.results.notices, *moved]

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
            self.repo,
            self.quarantine,
            self.manifest,
            verdict,
            self._at_head,
            self.last_tree(outcomes),
        ):
            return
        refused = [entry.index for entry in self._with_secret]
        if verdict.head == self.snapshot.commit and refused:
            ids = [entry.task.id for entry in self._with_secret]
            names = some_of(ids[:_MAX_NAMED], len(ids))
            verb = "holds" if len(refused) == 1 else "hold"
            reason = f"{names} {verb} a secret, and was verified with the other work"
            raise VerdictOutdated(reason, refused)
        raise VerdictOutdated(f"{self.manifest.branch} moved", refused)

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
        runs = VerifyRuns(verification.verify, self.quarantine, self.manifest)
        green_trees = {self.head_tree}

        def are_green(subsets: Sequence[Sequence[Candidate]]) -> list[bool | None]:
            trees = [self.last_tree(self.unite(subset)) for subset in subsets]
            commits = [self._commit(tree, "verify") for tree in trees]
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
            head = self._commit(self.head_tree, "verify")
        sent_back = runs.blame(_ids_of(guilty), head)
        accepted = self.unite([c for c in landing if c not in guilty])
        if self.last_tree(accepted) not in green_trees:
            raise never_verified()
        conflicts = [outcome for outcome in outcomes if outcome.failure]
        return [*accepted, *conflicts], sent_back

    # -- the commits --

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
            return [], self._with_failures(self.snapshot.progress, counted)
        # On GitHub Actions a later run must know until when it waits.
        waits = self.results.record_run is not None and any(
            failure.kind is FailureKind.USAGE_LIMIT for failure in failed.values()
        )
        groups = self._commit_groups(merged, record_failures=bool(counted) or waits)
        changed_paths = self._changed_paths(merged)
        recorded = self.snapshot.progress
        if not self.results.defers_progress:
            recorded = recorded.with_every_task(self.snapshot.plan.tasks)
        # a commit without work of its own has the tree of all merged work
        tree = self.last_tree(merged)
        parent = self.snapshot.commit
        commits: list[str] = []
        for number, group in enumerate(groups, start=1):
            failures = counted if number == len(groups) else {}
            for outcome in group:
                task_id = outcome.entry.task.id
                result = self._result(task_id)
                recorded = recorded.after_success(
                    self._task(task_id), result, changed_paths[task_id]
                )
            recorded = self._with_failures(recorded, failures)
            if number == len(groups):
                recorded = self._with_run(recorded, merged, failed)
            group_tree = self.last_tree(group) if group else tree
            earlier = self.earlier_failures if number == 1 else {}
            text = self._message(group, {**earlier, **failures})
            parent = self._commit(self._with_state(group_tree, recorded), text, parent)
            commits.append(parent)
        return commits, recorded

    @cached_property
    def earlier_failures(self) -> Mapping[str, Failure]:
        """Task id → a failure of an earlier batch that no commit has recorded yet, and the
        first one of this batch does.
        """
        if self.results.defers_progress:
            return {}
        return unrecorded_failures(self.snapshot)

    def defers(self, merged: Sequence[MergeOutcome]) -> bool:
        """Whether a later commit is to record the batch's failed attempts."""
        return self.results.defers_failures and not merged

    def keep_work(self, failed: Mapping[str, Failure]) -> dict[str, Failure]:
        """`UnlandedResults.keep` for the batch."""
        return self.unlanded.keep(
            self.readings, failed, self._admitted, self._trees_without.keys()
        )

    def failed_attempts(
        self, failures: Mapping[str, Failure]
    ) -> tuple[FailedAttempt, ...]:
        """The failed attempts that count."""
        return self.unlanded.failed_attempts(self._readings_by_task, failures)

    def _commit_groups(
        self, merged: Sequence[MergeOutcome], *, record_failures: bool
    ) -> list[Sequence[MergeOutcome]]:
        """The outcomes that each commit records; an empty group records failures only."""
        groups: list[Sequence[MergeOutcome]] = []
        if self._commit_per_task:
            groups += [[outcome] for outcome in merged]
        elif merged:
            groups.append(merged)
        if record_failures and (self._commit_per_task or not groups):
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
            tree = self._result(task_id).tree
            trees[task_id] = self._trees_without.get(task_id, tree)
        distinct = [tree for tree in dict.fromkeys(trees.values()) if tree is not None]
        if not distinct:
            return {task_id: [] for task_id in trees}
        stats = self.quarantine.diffstats(self.base_tree, distinct)
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
        for attempt in self.failed_attempts(failures):
            recorded = attempt.applied_to(recorded, self._task(attempt.task))
        return recorded

    def _with_run(
        self,
        recorded: Progress,
        merged: Sequence[MergeOutcome],
        failed: Mapping[str, Failure],
    ) -> Progress:
        """The progress with the run as it is after this batch."""
        if self.results.record_run is None:
            return recorded
        fan_in = FanIn(
            self.snapshot.commit,
            landed=tuple(outcome.entry.task.id for outcome in merged),
            failed=failed,
            snapshot=self.snapshot_with([], recorded),
            results=self.read_results,
        )
        return recorded.with_run(self.results.record_run(fan_in))

    @property
    def read_results(self) -> tuple[Result, ...]:
        """The results that could be read, in plan order."""
        results = [reading.result for reading in self.readings]
        return tuple(result for result in results if result is not None)

    def _message(
        self, group: Sequence[MergeOutcome], failures: Mapping[str, Failure]
    ) -> str:
        landed = []
        for outcome in group:
            summary = _summary_of(self._result(outcome.entry.task.id))
            landed.append(LandedTask(outcome.entry, summary))
        landed_ids = {item.entry.task.id for item in landed}
        still_failed = {
            task_id: failure
            for task_id, failure in failures.items()
            if task_id not in landed_ids
        }
        return commit_message(self.manifest, landed, still_failed, self.tree_warnings)

    def hold_commit(
        self,
        merged: Sequence[MergeOutcome],
        failed: Mapping[str, Failure],
        held_branch: str,
    ) -> tuple[str, Progress]:
        """The commit that records the failures and that the merged work waits on
        `held_branch`, and the progress with it.
        """
        recorded = self.snapshot.progress.with_every_task(self.snapshot.plan.tasks)
        recorded = self._with_failures(recorded, failed)
        for outcome in merged:
            task = self._task(outcome.entry.task.id)
            recorded = recorded.with_held(task, held_branch)
        recorded = self._with_run(recorded, [], failed)
        text = hold_message(self.manifest, held_branch)
        return self._commit(self._with_state(self.head_tree, recorded), text), recorded

    def snapshot_with(self, commits: Sequence[str], recorded: Progress) -> Snapshot:
        """The snapshot of the branch once the commits have landed."""
        if not commits:
            return self.snapshot.with_progress(recorded)
        in_files = marked = None
        if self.results.defers_progress:
            in_files = self._at_head.recorded or self._at_head.progress
            marked = with_marks(self.snapshot, recorded, self._ids)
        return self.snapshot._replace(
            commit=commits[-1], progress=recorded, recorded=in_files, marked=marked
        )

    # -- helpers --

    @property
    def _ids(self) -> set[str]:
        return {entry.task.id for entry in self.manifest.entries}

    @cached_property
    def _readings_by_task(self) -> dict[str, Reading]:
        return {reading.entry.task.id: reading for reading in self.readings}

    def _result(self, task_id: str) -> Result:
        """The result of a merged task, which therefore has one."""
        result = self._readings_by_task[task_id].result
        assert result is not None
        return result

    def _task(self, task_id: str) -> Task:
        return self.snapshot.graph.tasks[task_id]

    def _commit(self, tree: str, text: str, parent: str | None = None) -> str:
        parents = [parent or self.snapshot.commit]
        return self.quarantine.commit_tree(tree, parents, text)

    def _with_state(self, tree: str, recorded: Progress) -> str:
        """The tree with the plan's marks brought up to date, and the progress file unless
        the caller writes that.
        """
        if self.results.defers_progress:
            files = write_mark_blobs(
                self.quarantine, self.snapshot, recorded, self._ids
            )
        else:
            files = write_progress_blobs(
                self.quarantine, self.snapshot, recorded, self.manifest.progress
            )
        return self.quarantine.write_tree(tree, files)


def _is_green(failure: Failure | None) -> bool | None:
    """Whether a tree is green; None if verify was ended before it could say."""
    if failure is not None and not failure.counted:
        return None
    return failure is None


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


def _is_outside(task: Task, paths: Sequence[str]) -> bool:
    """Whether some of the paths are not among those that the task declares."""
    if task.files is None:
        return False
    return not all(globs.matches(task.files, path) for path in paths)


def _summary_of(result: Result | None) -> str | None:
    return result.usage.summary if result is not None else None


def _ids_of(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.entry.task.id for candidate in candidates]
