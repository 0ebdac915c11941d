"""The fan-in of one batch: which results enter, how they become one tree, the commits
that record it.

It works in a quarantine and moves no branch. What is decided is decided in `policy`,
`merge`, `verify` and `progress`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from runner.core import result_folder
from runner.core.documents import clean
from runner.core.errors import EnvironmentBroken, FaninError, GitFailed, VerdictOutdated
from runner.core.manifest import Manifest
from runner.core.result import Failure, FailureKind, Result, Verdict
from runner.core.task import Status, Task
from runner.fan_in.commit_message import Landed, message
from runner.fan_in.culprits import culprits
from runner.fan_in.union import Candidate, Merged, unite
from runner.plan import progress
from runner.plan.progress import Progress
from runner.plan.snapshot import Snapshot, write_progress_blobs
from runner.policy import paths, redaction, rules
from runner.policy.change import Change
from runner.repo import pack_guard
from runner.repo.repository import Conflict, Quarantine, Repository

_AT_ONCE = 64 * 2**20  # bytes of packs that are held in memory to be joined
_MAX_CHANGED, _MAX_LINE = 20, 200  # they travel in the progress file

# (commit, folder of its new objects) → why it is red, or None
Verify = Callable[[str, Path], Failure | None]

_TREES_MAY_TAKE = 64 * 2**20  # bytes of an expanded pack beyond what files may have


@dataclass(frozen=True)
class FanIn:
    """What a fan-in made of a batch: commits on top of `head` (oldest first, none if
    there is nothing to record), the tasks that are in them, the failures, where work
    that is not in them is kept (task id → ref), and what the branch says after it;
    `results` are those that could be read, `warnings` what a person should look at.
    """

    head: str
    commits: tuple[str, ...] = ()
    landed: tuple[str, ...] = ()
    failed: Mapping[str, Failure] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    after: Snapshot | None = None
    results: tuple[Result, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def tip(self) -> str:
        return self.commits[-1] if self.commits else self.head


class BatchMerge:
    """The fan-in of one batch in one quarantine; implements `merge.Trees`."""

    def __init__(
        self,
        repo: Repository,
        quarantine: Quarantine,
        manifest: Manifest,
        snapshot: Snapshot,
        secrets: redaction.Secrets = redaction.NONE,
    ) -> None:
        self.secrets = secrets
        self.warnings: list[str] = []
        self.repo, self.quarantine, self.manifest = repo, quarantine, manifest
        self.snapshot = replace(snapshot, progress=_with_grants(snapshot, manifest))
        # trees that are in the quarantine, whole
        self._imported: dict[str, list[Change]] = {}
        self.base_tree, self.head_tree = (
            repo.tree(manifest.base),
            repo.tree(snapshot.commit, quarantine.env),
        )

    # what `merge.unite` asks of git
    def write(self, base: str, changes: Mapping[str, tuple[str, str] | None]) -> str:
        return self.repo.write_tree(base, changes, self.quarantine.env)

    def merge(self, base: str, ours: str, theirs: str) -> str | Conflict:
        return self.repo.merge_trees(base, ours, theirs, self.quarantine.env)

    def changes(self, old: str, new: str) -> list[Change]:
        return self.repo.changes(old, new, self.quarantine.env)

    def admit(
        self, readings: Sequence[result_folder.Reading], missing: Failure | None
    ) -> tuple[list[Candidate], dict[str, Failure]]:
        """Which results may be merged, and for each other task why not."""
        candidates, failed = [], dict[str, Failure]()
        self._import_together(
            [reading for reading in readings if self._has_pack(reading)]
        )
        for reading in readings:
            try:
                outcome = self._admit_one(reading, missing)
            # one hostile result must not hold up the others
            except (FaninError, ValueError) as error:
                outcome = Failure(
                    kind=FailureKind.CORRUPT,
                    message=f"the result cannot be read: {error}",
                )
            if isinstance(outcome, Candidate):
                candidates.append(outcome)
            elif outcome is not None:
                words = {
                    name: self.secrets.masked_text(getattr(outcome, name))
                    for name in ("message", "log_tail")
                }
                failed[reading.entry.task.id] = outcome.model_copy(update=words)
        return candidates, failed

    def _admit_one(
        self, reading: result_folder.Reading, missing: Failure | None
    ) -> Candidate | Failure | None:
        entry, result = reading.entry, reading.result
        task = self.snapshot.graph.tasks.get(entry.task.id)
        if result and task and self.snapshot.progress.has_recorded(task, result):
            return None  # a fan-in done twice
        if not reading.started and missing is None:
            return None
        corrupt = self._import(reading)
        stale = progress.stale_reason(
            self.snapshot.progress, task, entry.task_digest, entry.attempt
        )
        if stale := stale or self._unfounded(entry.task.id):
            return Failure(
                kind=FailureKind.STALE, message=f"the result does not count: {stale}"
            )
        if corrupt is not None:
            return corrupt
        if reading.failure is not None or result is None:
            return reading.failure if reading.started else missing
        tree = result.tree or self.base_tree
        found = self._imported.get(tree) or self.changes(self.base_tree, tree)
        refusal = rules.check(
            entry.task,
            found,
            protected=self.manifest.protected,
            never=self.manifest.never,
            limits=self.manifest.limits,
            # who changed nothing need not wait for them
            spellings=self.spellings if found else None,
            filtered=self.repo.filtered(
                self.base_tree, [change.path for change in found]
            ),
            scope=self.manifest.scope,
            warned=self.warnings,
        )
        return refusal or self._leak(reading, found) or Candidate(entry, tree, found)

    def _unfounded(self, task_id: str) -> str | None:
        """Why the work has nothing to stand on at this head, or None.

        A rolling run builds on what the branch has not got yet; if a person commits
        meanwhile, that may fail there.
        """
        graph, known = self.snapshot.graph, self.snapshot.progress
        missing = (
            needed
            for needed in graph.dependencies(task_id)
            if known.record(graph.tasks[needed]).status is not Status.COMPLETED
        )
        return next(
            (f"{needed}, which it builds on, is not completed" for needed in missing),
            None,
        )

    def _leak(
        self, reading: result_folder.Reading, found: Sequence[Change]
    ) -> Failure | None:
        """The leg has searched already; the machine it ran on was the agent's."""
        task, summary = reading.entry.task, _summary(reading.result)
        if summary and (name := self.secrets.find_in_text(summary)):
            return rules.leaked(task, "the agent's report", name)
        where = self.repo.leak(found, self.secrets, self.quarantine.env)
        return rules.leaked(task, *where) if where else None

    @cached_property
    def spellings(self) -> paths.Spellings:
        """The names in the head, and then of all that was let in: read once, since a
        tree may hold many.
        """
        return paths.Spellings(self.repo.paths(self.head_tree, self.quarantine.env))

    def _has_pack(self, reading: result_folder.Reading) -> bool:
        """Whether the result brings objects, and is not one that is recorded already."""
        result, task = (
            reading.result,
            self.snapshot.graph.tasks.get(reading.entry.task.id),
        )
        if reading.pack is None or result is None or result.tree is None:
            return False
        return not (task and self.snapshot.progress.has_recorded(task, result))

    def _import_together(self, readings: Sequence[result_folder.Reading]) -> None:
        """Import as many packs at once as can be: a bad one is kept apart by halving,
        and left to `_import`.
        """
        named: dict[str, tuple[Path, int]] = {}
        total = 0
        for reading in readings:
            assert reading.pack is not None
            assert reading.result is not None
            size = reading.pack.stat().st_size
            if (
                reading.result.tree
                and self._too_large(reading, reading.pack, reading.result.tree) is None
            ):
                if total + size > _AT_ONCE and named:
                    self._import_half(named)
                    named, total = {}, 0
                named[reading.result.tree] = (reading.pack, size)
                total += size
        self._import_half(named)

    def _import_half(self, named: Mapping[str, tuple[Path, int]]) -> None:
        if len(named) < 2:
            return
        try:
            found = self.repo.index_packs(named, self.base_tree, self.quarantine)
        except (GitFailed, ValueError):
            listed = list(named.items())
            for half in (listed[: len(listed) // 2], listed[len(listed) // 2 :]):
                self._import_half(dict(half))
        else:
            self._imported |= dict(zip(named, found, strict=True))

    def _too_large(
        self, reading: result_folder.Reading, pack: Path, tree: str
    ) -> Failure | None:
        """Why git is not even asked to expand the pack, None if it may be."""
        limit, size = self.manifest.limits.size, pack.stat().st_size
        if size > 4 * limit + 2**20:
            told = f"a change of {size:,} bytes, far more than limits.size = {limit:,}; it is kept in {pack}"
            return Failure(
                kind=FailureKind.POLICY, message=f"{reading.entry.task.id} left {told}"
            )
        try:
            with pack.open("rb") as stream:
                pack_guard.expanded_size(
                    stream, 8 * limit + _TREES_MAY_TAKE, len(tree) // 2
                )
        except pack_guard.PackRefused as error:
            return Failure(
                kind=FailureKind.CORRUPT,
                message=f"the pack is refused: {error}; it is {pack}",
            )
        return None

    def _import(self, reading: result_folder.Reading) -> Failure | None:
        """Bring the result's objects into the quarantine; why that cannot be."""
        if (
            reading.pack is None
            or reading.result is None
            or reading.result.tree is None
        ):
            return None
        if reading.result.tree in self._imported:
            return None
        if refused := self._too_large(reading, reading.pack, reading.result.tree):
            return refused
        try:
            self.repo.index_pack(
                reading.pack, self.quarantine, reading.pack.stat().st_size + 1
            )
        except GitFailed as error:
            return Failure(
                kind=FailureKind.CORRUPT,
                message=f"the pack is refused: {error.stderr[-300:]}",
            )
        if not self.repo.is_tree(reading.result.tree, self.quarantine.env):
            return Failure(
                kind=FailureKind.CORRUPT,
                message="the pack does not hold the tree that the result names",
            )
        return None

    def unite(self, candidates: Sequence[Candidate]) -> list[Merged]:
        return unite(
            self.base_tree,
            self.head_tree,
            candidates,
            self,
            each=self.manifest.commit_strategy == "individual",
        )

    def last_tree(self, fates: Sequence[Merged]) -> str:
        """The head's tree with all that got in."""
        return next(
            (fate.tree for fate in reversed(fates) if fate.tree), self.head_tree
        )

    def judged(
        self,
        candidates: Sequence[Candidate],
        verify: Verify | None,
        verdict: Verdict | None,
    ) -> tuple[list[Merged], dict[str, Failure]]:
        """The candidates' fates, and the failures of those that a verification sends
        back.
        """
        if verdict is not None:
            fates, red = self.without(candidates, verdict.failed)
            found = (verdict.manifest, verdict.head, verdict.tree)
            if found != (
                self.manifest.digest,
                self.snapshot.commit,
                self.last_tree(fates),
            ):
                raise VerdictOutdated(
                    "the verified tree is not the one that would land",
                    "verify the new head",
                )
            return fates, red
        fates = self.unite(candidates)
        if verify is None or not any(fate.tree for fate in fates):
            return fates, {}
        return self._verified(candidates, fates, verify)

    def without(
        self, candidates: Sequence[Candidate], red: Mapping[str, Failure]
    ) -> tuple[list[Merged], dict[str, Failure]]:
        """The fates when the red tasks are sent back."""
        mine = {
            c.entry.task.id: red[c.entry.task.id]
            for c in candidates
            if c.entry.task.id in red
        }
        return self.unite([c for c in candidates if c.entry.task.id not in mine]), mine

    def _verified(
        self, candidates: Sequence[Candidate], fates: list[Merged], verify: Verify
    ) -> tuple[list[Merged], dict[str, Failure]]:
        """The fates without the tasks that turn the merged tree red, and why those
        failed.

        A task that conflicted stays out, even if what it conflicted with is sent back:
        with it the tree is another one, which nobody has seen green.
        """
        landing = [
            c for c in candidates if any(f.entry is c.entry and f.tree for f in fates)
        ]
        logs: dict[tuple[int, ...], Failure] = {}
        green: set[str] = {self.head_tree}

        def is_green(some: Sequence[Candidate]) -> bool:
            tree = self.last_tree(self.unite(some))
            failure = self._look(tree, verify)
            if failure is None:
                green.add(tree)
            else:
                logs[tuple(c.entry.index for c in some)] = failure
            return failure is None

        guilty = culprits(landing, is_green)
        if not guilty:
            return fates, {}
        already = (
            len(guilty) == len(landing)
            and self._look(self.head_tree, verify) is not None
        )
        red = {c.entry.task.id: _blame(c, logs, already_red=already) for c in guilty}
        kept = self.unite([c for c in landing if c not in guilty])
        if self.last_tree(kept) not in green:
            raise EnvironmentBroken(
                "the tree that would land is not one that was verified",
                "please report this",
            )
        return [*kept, *(fate for fate in fates if fate.failure)], red

    def _look(self, tree: str, verify: Verify) -> Failure | None:
        """Why the tree is red. A red that a repetition does not confirm is a flaky
        verify, and no task's fault.
        """
        commit = self._commit(tree, "verify")
        failure = verify(commit, self.quarantine.folder)
        for _ in range(self.manifest.verify_retries if failure else 0):
            if verify(commit, self.quarantine.folder) is None:
                return None
        return failure

    def commits(
        self,
        readings: Sequence[result_folder.Reading],
        fates: Sequence[Merged],
        failed: Mapping[str, Failure],
    ) -> tuple[list[str], Progress]:
        """The commits that record the batch on top of the head, and the progress after
        them.
        """
        results = {reading.entry.task.id: reading.result for reading in readings}
        entries = {reading.entry.task.id: reading.entry for reading in readings}
        after = self.snapshot.progress.with_every_task(self.snapshot.plan.tasks)
        counted = {
            task_id: failure for task_id, failure in failed.items() if failure.counted
        }
        groups = (
            [[fate] for fate in fates]
            if self.manifest.commit_strategy == "individual"
            else [list(fates)]
            if fates
            else []
        )
        if counted and (not groups or self.manifest.commit_strategy == "individual"):
            groups.append([])
        landing = [results[fate.entry.task.id] for fate in fates]
        changed = self._changed(result.tree for result in landing if result)
        commits: list[str] = []
        for group in groups:
            for fate in group:
                result = results[fate.entry.task.id]
                assert result is not None
                after = after.after_success(
                    self._task(fate.entry.task.id), result, changed.get(result.tree, [])
                )
            last = group is groups[-1]
            for task_id, failure in counted.items() if last else ():
                after = after.after_failure(
                    self._task(task_id),
                    entries[task_id].attempt,
                    failure,
                    results[task_id],
                )
            tree = self._with_state(
                group[-1].tree
                if group
                else fates[-1].tree
                if fates
                else self.head_tree,
                after,
            )
            told = message(
                self.manifest,
                [Landed(f.entry, _summary(results[f.entry.task.id])) for f in group],
                counted if last else {},
            )
            commits.append(
                self._commit(
                    tree, told, commits[-1] if commits else self.snapshot.commit
                )
            )
        return commits, after

    def _changed(self, trees: Iterable[str | None]) -> dict[str | None, list[str]]:
        """For each tree the paths it changed with the lines added and removed, as many
        as a prompt can use.
        """
        named = [tree for tree in dict.fromkeys(trees) if tree is not None]
        stats = (
            self.repo.diffstats(self.base_tree, named, self.quarantine.env)
            if named
            else []
        )
        return {
            tree: _shortened(lines) for tree, lines in zip(named, stats, strict=True)
        }

    def held(
        self,
        readings: Sequence[result_folder.Reading],
        fates: Sequence[Merged],
        failed: Mapping[str, Failure],
        held: str,
    ) -> tuple[str, Progress]:
        """A commit that records the failures and that the other tasks' work waits on
        the branch `held`.
        """
        _, after = self.commits(readings, [], failed)
        for fate in fates:
            if fate.tree:
                after = after.with_held(self._task(fate.entry.task.id), held)
        told = f"Hold batch {self.manifest.batch} on {held}\n\nFanin-Run: {self.manifest.run}\n"
        return self._commit(self._with_state(self.head_tree, after), told), after

    def after(self, commits: Sequence[str], known: Progress) -> Snapshot:
        """What the branch says once the commits have landed."""
        return replace(
            self.snapshot,
            commit=commits[-1] if commits else self.snapshot.commit,
            progress=known,
        )

    def kept_commits(
        self, readings: Sequence[result_folder.Reading], failed: Mapping[str, Failure]
    ) -> dict[str, str]:
        """A commit for every attempt's work that does not land, so that nothing paid
        for is lost.
        """
        kept = {}
        for reading in readings:
            task_id, result = reading.entry.task.id, reading.result
            if self._holds_secret(reading):
                continue  # what is kept is pushed with the rest sooner or later
            if (
                task_id in failed
                and result
                and result.tree
                and self._is_there(result.tree)
            ):
                kept[task_id] = self._commit(
                    result.tree,
                    f"{task_id}, attempt {reading.entry.attempt}: work that did not "
                    f"land\n\n{failed[task_id].message}\n",
                    self.manifest.base,
                )
        return kept

    def _is_there(self, tree: str) -> bool:
        return tree in self._imported or self.repo.is_tree(tree, self.quarantine.env)

    def _holds_secret(self, reading: result_folder.Reading) -> bool:
        result = reading.result
        if not self.secrets or result is None or result.tree is None:
            return False
        env = self.quarantine.env
        known = self._is_there(result.tree)
        return (
            known
            and self.repo.leak(
                self.changes(self.base_tree, result.tree), self.secrets, env
            )
            is not None
        )

    def folder(self, task_id: str) -> str:
        return next(
            entry.folder for entry in self.manifest.entries if entry.task.id == task_id
        )

    def _task(self, task_id: str) -> Task:
        return self.snapshot.graph.tasks[task_id]

    def _commit(self, tree: str, text: str, parent: str | None = None) -> str:
        return self.repo.commit_tree(
            tree, [parent or self.snapshot.commit], text, self.quarantine.env
        )

    def _with_state(self, tree: str | None, after: Progress) -> str:
        """`tree` with the progress file and the plan's marks as they are after the
        batch.
        """
        assert tree is not None
        files = write_progress_blobs(
            self.repo, self.snapshot, after, self.manifest.progress, self.quarantine.env
        )
        return self.repo.write_tree(tree, files, self.quarantine.env)


def _with_grants(snapshot: Snapshot, manifest: Manifest) -> Progress:
    """The head's progress with the attempts that a person asked for when the batch was
    chosen.

    Not for a task whose attempt is recorded already: a fan-in done twice must grant
    nothing twice.
    """
    attempts = {entry.task.id: entry.attempt for entry in manifest.entries}
    known, asked = snapshot.progress, set(manifest.retry)
    for task in snapshot.plan.tasks if asked else ():
        if task.id in asked and known.record(task).attempts < attempts.get(
            task.id, 1_000_000
        ):
            known = known.with_retry(task, manifest.max_attempts)
    return known


def _shortened(lines: Sequence[str]) -> list[str]:
    shown = [
        clean(line).replace("\n", " ")[:_MAX_LINE] for line in lines[:_MAX_CHANGED]
    ]
    return (
        [*shown, f"… and {len(lines) - len(shown)} more"]
        if len(shown) < len(lines)
        else shown
    )


def _summary(result: Result | None) -> str | None:
    return result.usage.summary if result else None


def _blame(
    culprit: Candidate, logs: Mapping[tuple[int, ...], Failure], *, already_red: bool
) -> Failure:
    """Why the culprit is sent back: the shortest red set that ends with it has the log
    that shows it.
    """
    mine = [key for key in logs if key[-1] == culprit.entry.index]
    failure = logs[min(mine, key=len)] if mine else next(iter(logs.values()))
    if not already_red:
        return failure
    told = f"{failure.message} (the branch is red without this work as well: mend it, or the command)"
    return failure.model_copy(update={"kind": FailureKind.BASE_RED, "message": told})
