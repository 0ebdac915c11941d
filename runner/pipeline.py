"""The three steps that one machine and GitHub Actions share: `next_batch`, `run_task`, `merge_batch`.

| step        | local (`local.py`)        | GitHub Actions (`fanin.yml`)                      |
|-------------|---------------------------|---------------------------------------------------|
| next_batch  | called in the loop        | job `next`: the matrix and the batch manifest     |
| run_task    | a thread, a clone, a process | job `task`, one matrix entry                   |
| hand over   | result folder             | the same folder as an artifact                    |
| merge_batch | called in the loop        | job `merge`, the only one that may push           |
| again       | `while`                   | job `continue`                                    |

They only sequence: what is decided is decided in `batch`, `policy`, `merge` and `progress`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from runner import agents, artifacts, batch, policy, process, progress, sources, workspace
from runner.agents import prompt
from runner.agents.command import ended_badly
from runner.config import Settings
from runner.errors import FaninError, GitFailed, InvalidInput, Problem
from runner.merge import Candidate, Landed, Merged, message, unite
from runner.models import BatchEntry, Failure, FailureKind, Manifest, Plan, Result, Status, Task, Usage
from runner.progress import Progress
from runner.sources import Mark
from runner.verify import culprits
from runner.workspace import Origin, Workspace

if TYPE_CHECKING:  # a matrix leg runs a task without GitPython and networkx being installed
    from runner.gitrepo import Conflict, Quarantine, Repository
    from runner.graph import TaskGraph

KEPT = "refs/fanin/kept"
Verify = Callable[[str, Path], Failure | None]  # (commit, folder of its new objects) → why it is red, or None


def now() -> str:
    """The time as it stands in every document: ISO 8601, UTC, whole milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -- choose ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Snapshot:
    """What one commit says: its plan, the graph of it, and the progress."""

    commit: str
    plan: Plan
    graph: TaskGraph
    progress: Progress


def read_snapshot(repo: Repository, commit: str, plan_path: str, progress_path: str) -> Snapshot:
    """The plan and progress in `commit`. InvalidInput with every located problem."""
    from runner.graph import TaskGraph  # networkx takes longer to import than a leg takes to start

    plan = sources.load(plan_path, _plan_text(repo, commit, plan_path))
    graph = TaskGraph(plan.tasks, plan.path)
    text = repo.file(commit, progress_path)
    return Snapshot(commit, plan, graph, progress.parse(progress_path, _decode(progress_path, text), plan.path))


def read_working_tree(root: Path, plan_path: str, progress_path: str) -> Snapshot:
    """The plan and progress as they stand in the work tree, committed or not. InvalidInput with every problem."""
    from runner.graph import TaskGraph

    def text(path: str) -> str | None:
        file = root / path
        return _decode(path, file.read_bytes()) if file.is_file() else None

    found = text(plan_path)
    if found is None:
        raise InvalidInput(
            [
                Problem(
                    plan_path,
                    None,
                    "there is no such plan",
                    "write one ( fanin init ), or name yours with  --plan PATH",
                )
            ]
        )
    plan = sources.load(plan_path, found)
    return Snapshot(
        "", plan, TaskGraph(plan.tasks, plan.path), progress.parse(progress_path, text(progress_path), plan.path)
    )


def record_progress(repo: Repository, snapshot: Snapshot, after: Progress, progress_path: str, subject: str) -> str:
    """A commit on the snapshot's that changes only the progress file and the plan's marks."""
    full = after.with_records({task.id: after.record(task) for task in snapshot.plan.tasks})
    with repo.quarantine() as quarantine:
        files = state_files(repo, snapshot, full, progress_path, quarantine.env)
        tree = repo.write_tree(repo.tree(snapshot.commit), files, quarantine.env)
        commit = repo.commit_tree(tree, [snapshot.commit], f"{subject}\n", quarantine.env)
        repo.adopt(quarantine, [commit], [snapshot.commit])
    return commit


def next_batch(
    snapshot: Snapshot, settings: Settings, *, run: str, round_number: int, branch: str, slots: int
) -> Manifest | None:
    """The manifest of the batch that may run now, None when no task is ready."""
    standings = snapshot.progress.standings(snapshot.plan, settings.max_attempts)
    ready = [snapshot.graph.tasks[task_id] for task_id in snapshot.graph.ready(standings)]
    heights = snapshot.graph.heights(lambda task: _expected_seconds(task, snapshot.progress))
    chosen = batch.choose(ready, slots, heights)
    if not chosen:
        return None
    return batch.freeze(
        chosen,
        run=run,
        round_number=round_number,
        base=snapshot.commit,
        branch=branch,
        plan=snapshot.plan,
        progress=snapshot.progress,
        settings=settings,
    )


def _expected_seconds(task: Task, known: Progress) -> float:
    """How long the task is expected to take: as declared, as it took before, or like any other."""
    return task.estimate or known.record(task).seconds or 60.0


def _plan_text(repo: Repository, commit: str, path: str) -> str:
    data = repo.file(commit, path)
    if data is None:
        remedy = (
            f"commit it:  git add {path} && git commit"
            if (repo.root / path).exists()
            else "write one ( fanin init ), or name yours with  --plan PATH"
        )
        raise InvalidInput([Problem(path, None, "there is no such plan in the commit", remedy)])
    return _decode(path, data) or ""


def _decode(path: str, data: bytes | None) -> str | None:
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1 if data else 1
        raise InvalidInput([Problem(path, line, "is not UTF-8 text", "save it as UTF-8")]) from None


# -- act ------------------------------------------------------------------------------------------------------


def run_task(
    manifest: Manifest,
    entry: BatchEntry,
    *,
    origin: Origin,
    results: Path,
    scratch: Path,
    environ: Mapping[str, str],
    cancel: threading.Event | None = None,
) -> Result:
    """Run one attempt and leave its result folder below `results`. A failure is a value, never an exception."""
    folder, started = results / entry.folder, now()
    attempt = artifacts.Attempt(batch=manifest.batch, task=entry.task.id, attempt=entry.attempt, started=started)
    artifacts.begin(folder, attempt)
    space = Workspace(scratch / f"{manifest.batch}-{entry.folder}", manifest.base)
    left = _Left(Usage())
    try:
        workspace.create(origin, manifest.base, space.folder, f"fanin/task-{entry.folder}")
        left = _act(manifest, entry, attempt, space, folder, environ, cancel)
    except FaninError as error:
        left = _Left(left.usage, Failure(kind=FailureKind.ENVIRONMENT, message=str(error)))
    finally:
        space.remove()
    result = Result(
        batch=manifest.batch,
        manifest=manifest.digest,
        task=entry.task.id,
        attempt=entry.attempt,
        base=manifest.base,
        started=started,
        finished=now(),
        agent=entry.agent.name,
        succeeded=left.failure is None,
        failure=left.failure,
        usage=left.usage,
        tree=left.tree,
        pack="change.pack" if left.tree else None,
    )
    artifacts.finish(folder, result)
    return result


@dataclass(frozen=True)
class _Left:
    """What an attempt left: usage, a failure or none, and the tree if anything changed."""

    usage: Usage
    failure: Failure | None = None
    tree: str | None = None


def _act(
    manifest: Manifest,
    entry: BatchEntry,
    attempt: artifacts.Attempt,
    space: Workspace,
    folder: Path,
    environ: Mapping[str, str],
    cancel: threading.Event | None,
) -> _Left:
    agent = agents.agent_for(entry.agent)
    call = agent.build(entry.agent, space.checkout)
    prompt_file, report = space.folder / "prompt.md", space.folder / "report.json"
    prompt_file.write_text(prompt.render(entry), encoding="utf-8")
    told = {
        "FANIN_PROMPT": str(prompt_file),
        "FANIN_REPORT": str(report),
        "FANIN_TASK": entry.task.id,
        "FANIN_ATTEMPT": str(entry.attempt),
        "FANIN_BASE": manifest.base,
    }
    outcome = process.run(
        call.argv,
        cwd=space.checkout,
        env=process.environment(environ, entry.agent.env, {**told, **call.env}),
        stdin=prompt_file,
        log=folder / artifacts.LOG,
        timeout=entry.timeout,
        cancel=cancel,
        on_start=lambda cookie: artifacts.begin(folder, attempt.model_copy(update={"cookie": cookie})),
    )
    verdict = agent.read(outcome, report)
    if verdict.failure is not None:
        with suppress(GitFailed):  # the attempt failed already; its work is kept where it can be
            return _Left(verdict.usage, verdict.failure, _capture(space, folder))
        return _Left(verdict.usage, verdict.failure)
    tree = _capture(space, folder)
    if tree is None and not entry.task.allow_empty:
        return _Left(
            verdict.usage,
            Failure(
                kind=FailureKind.NO_CHANGE,
                log_tail=outcome.tail[-4_000:],
                message=("the agent changed nothing (set allow_empty: true on the task if that is fine)"),
            ),
        )
    return _Left(verdict.usage, _verify_task(entry, space, folder, environ, cancel), tree)


def _capture(space: Workspace, folder: Path) -> str | None:
    """The tree the agent left, packed beside the result; None if it is the base's own."""
    tree = workspace.capture(space)
    if tree == workspace.base_tree(space):
        return None
    workspace.write_pack(space, tree, folder / artifacts.PACK)
    return tree


def _verify_task(
    entry: BatchEntry, space: Workspace, folder: Path, environ: Mapping[str, str], cancel: threading.Event | None
) -> Failure | None:
    if entry.verify is None:
        return None
    return run_verify(entry.verify, space.checkout, folder / "verify.log", entry.timeout, environ, cancel)


def run_verify(
    command: str,
    checkout: Path,
    log: Path,
    timeout: float,
    environ: Mapping[str, str],
    cancel: threading.Event | None = None,
) -> Failure | None:
    """Why the shell command is red in `checkout`, None if it is green. It sees no name of an agent's allow-list."""
    outcome = process.run(
        ["sh", "-c", command],
        cwd=checkout,
        env=process.environment(environ, (), {}),
        stdin=None,
        log=log,
        timeout=timeout,
        cancel=cancel,
    )
    failure = ended_badly(outcome)
    if failure is None or failure.kind is FailureKind.INTERRUPTED:
        return failure
    how = "ran too long" if failure.kind is FailureKind.TIMEOUT else f"is red (status {outcome.exit_code})"
    return Failure(kind=FailureKind.VERIFY, message=f"verify {how}: {command}", log_tail=failure.log_tail)


# -- fan in ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FanIn:
    """What a fan-in made of a batch: commits on top of `head` (oldest first, none if there is nothing to record),
    the tasks that are in them, the failures, and where work that is not in them is kept (task id → ref).
    """

    head: str
    commits: tuple[str, ...] = ()
    landed: tuple[str, ...] = ()
    failed: Mapping[str, Failure] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    progress: Progress | None = None

    @property
    def tip(self) -> str:
        return self.commits[-1] if self.commits else self.head


def merge_batch(repo: Repository, manifest: Manifest, results: Path, head: str, verify: Verify | None = None) -> FanIn:
    """Fan a batch's results in on top of commit `head`. Moves no branch: the caller lands `tip`.

    Run twice, or after a rival, it lands nothing twice: what no longer follows the head's progress is stale.
    InvalidInput if the plan or progress at `head` cannot be read.
    """
    readings = [artifacts.read(results, manifest, entry) for entry in manifest.entries]
    snapshot = read_snapshot(repo, head, manifest.plan, manifest.progress)
    with repo.quarantine() as quarantine:
        desk = _Desk(repo, quarantine, manifest, snapshot)
        candidates, failed = desk.admit(readings)
        fates = desk.unite(candidates)
        if verify is not None and any(fate.tree for fate in fates):
            fates, red = desk.verified(candidates, fates, verify)
            failed |= red
        failed |= {fate.entry.task.id: fate.failure for fate in fates if fate.failure}
        commits, after = desk.commits(readings, [fate for fate in fates if fate.tree], failed)
        kept = desk.kept_commits(readings, failed)
        repo.adopt(quarantine, [*commits[-1:], *kept.values()], [head, manifest.base])
    refs = {task_id: f"{KEPT}/{manifest.batch}/{desk.folder(task_id)}" for task_id in kept}
    for task_id, ref in refs.items():
        repo.set_ref(ref, kept[task_id])
    return FanIn(head, tuple(commits), tuple(fate.entry.task.id for fate in fates if fate.tree), failed, refs, after)


class _Desk:
    """The fan-in of one batch in one quarantine; implements `merge.Trees`."""

    def __init__(self, repo: Repository, quarantine: Quarantine, manifest: Manifest, snapshot: Snapshot) -> None:
        self.repo, self.quarantine, self.manifest, self.snapshot = repo, quarantine, manifest, snapshot
        self.base_tree, self.head_tree = repo.tree(manifest.base), repo.tree(snapshot.commit)

    # what `merge.unite` asks of git
    def write(self, base: str, changes: Mapping[str, tuple[str, str] | None]) -> str:
        return self.repo.write_tree(base, changes, self.quarantine.env)

    def merge(self, base: str, ours: str, theirs: str) -> str | Conflict:
        return self.repo.merge_trees(base, ours, theirs, self.quarantine.env)

    def changes(self, old: str, new: str) -> list[policy.Change]:
        return self.repo.changes(old, new, self.quarantine.env)

    def admit(self, readings: Sequence[artifacts.Reading]) -> tuple[list[Candidate], dict[str, Failure]]:
        """Which results may be merged, and for each other task why not."""
        candidates, failed = [], dict[str, Failure]()
        for reading in readings:
            outcome = self._admit_one(reading)
            if isinstance(outcome, Candidate):
                candidates.append(outcome)
            elif outcome is not None:
                failed[reading.entry.task.id] = outcome
        return candidates, failed

    def _admit_one(self, reading: artifacts.Reading) -> Candidate | Failure | None:
        entry, result = reading.entry, reading.result
        task = self.snapshot.plan.task(entry.task.id)
        if not reading.started or (result and task and self.snapshot.progress.holds(task, result)):
            return None
        corrupt = self._import(reading)
        if stale := progress.is_stale(self.snapshot.progress, task, entry.task_digest, entry.attempt):
            return Failure(kind=FailureKind.STALE, message=f"the result does not count: {stale}")
        if corrupt is not None:
            return corrupt
        if reading.failure is not None or result is None:
            return reading.failure
        tree = result.tree or self.base_tree
        found = self.changes(self.base_tree, tree)
        added = any(change.old is None for change in found)
        refusal = policy.check(
            entry.task,
            found,
            protected=self.manifest.protected,
            never=self.manifest.never,
            limits=self.manifest.limits,
            base_paths=self.repo.paths(self.base_tree) if added else (),
        )
        return refusal or Candidate(entry, tree, found)

    def _import(self, reading: artifacts.Reading) -> Failure | None:
        """Bring the result's objects into the quarantine; why that cannot be."""
        if reading.pack is None or reading.result is None or reading.result.tree is None:
            return None
        try:
            self.repo.index_pack(reading.pack, self.quarantine, 4 * self.manifest.limits.size + 2**20)
        except GitFailed as error:
            return Failure(kind=FailureKind.CORRUPT, message=f"the pack is refused: {error.stderr[-300:]}")
        if not self.repo.is_tree(reading.result.tree, self.quarantine.env):
            return Failure(kind=FailureKind.CORRUPT, message="the pack does not hold the tree that the result names")
        return None

    def unite(self, candidates: Sequence[Candidate]) -> list[Merged]:
        return unite(
            self.base_tree, self.head_tree, candidates, self, each=self.manifest.commit_strategy == "individual"
        )

    def verified(
        self, candidates: Sequence[Candidate], fates: list[Merged], verify: Verify
    ) -> tuple[list[Merged], dict[str, Failure]]:
        """The fates without the tasks that turn the merged tree red, and why those failed."""
        landing = [c for c in candidates if any(f.entry is c.entry and f.tree for f in fates)]
        logs: dict[tuple[int, ...], Failure] = {}

        def is_green(some: Sequence[Candidate]) -> bool:
            tree = next((fate.tree for fate in reversed(self.unite(some)) if fate.tree), self.head_tree)
            failure = verify(self._commit(tree, "verify"), self.quarantine.folder)
            if failure is not None:
                logs[tuple(c.entry.index for c in some)] = failure
            return failure is None

        guilty = culprits(landing, is_green)
        if not guilty:
            return fates, {}
        already = len(guilty) == len(landing) and verify(self._commit(self.head_tree, "verify"), self.quarantine.folder)
        red = {c.entry.task.id: _blame(c, logs, already_red=bool(already)) for c in guilty}
        innocent = [c for c in candidates if c not in guilty]
        return self.unite(innocent), red

    def commits(
        self, readings: Sequence[artifacts.Reading], fates: Sequence[Merged], failed: Mapping[str, Failure]
    ) -> tuple[list[str], Progress]:
        """The commits that record the batch on top of the head, and the progress after them."""
        results = {reading.entry.task.id: reading.result for reading in readings}
        entries = {reading.entry.task.id: reading.entry for reading in readings}
        after = self.snapshot.progress.with_records(
            {task.id: self.snapshot.progress.record(task) for task in self.snapshot.plan.tasks}
        )
        counted = {task_id: failure for task_id, failure in failed.items() if failure.counted}
        groups = (
            [[fate] for fate in fates]
            if self.manifest.commit_strategy == "individual"
            else [list(fates)]
            if fates
            else []
        )
        if counted and (not groups or self.manifest.commit_strategy == "individual"):
            groups.append([])
        commits: list[str] = []
        for group in groups:
            for fate in group:
                result = results[fate.entry.task.id]
                assert result is not None
                after = after.completed(self._task(fate.entry.task.id), result)
            last = group is groups[-1]
            for task_id, failure in counted.items() if last else ():
                after = after.failed(self._task(task_id), entries[task_id].attempt, failure, results[task_id])
            tree = self._with_state(group[-1].tree if group else fates[-1].tree if fates else self.head_tree, after)
            told = message(
                self.manifest,
                [Landed(f.entry, _summary(results[f.entry.task.id])) for f in group],
                counted if last else {},
            )
            commits.append(self._commit(tree, told, commits[-1] if commits else self.snapshot.commit))
        return commits, after

    def kept_commits(self, readings: Sequence[artifacts.Reading], failed: Mapping[str, Failure]) -> dict[str, str]:
        """A commit for every attempt's work that does not land, so that nothing paid for is lost."""
        kept = {}
        for reading in readings:
            task_id, result = reading.entry.task.id, reading.result
            if task_id in failed and result and result.tree and self.repo.is_tree(result.tree, self.quarantine.env):
                kept[task_id] = self._commit(
                    result.tree,
                    f"{task_id}, attempt {reading.entry.attempt}: work that did not "
                    f"land\n\n{failed[task_id].message}\n",
                    self.manifest.base,
                )
        return kept

    def folder(self, task_id: str) -> str:
        return next(entry.folder for entry in self.manifest.entries if entry.task.id == task_id)

    def _task(self, task_id: str) -> Task:
        return self.snapshot.graph.tasks[task_id]

    def _commit(self, tree: str, text: str, parent: str | None = None) -> str:
        return self.repo.commit_tree(tree, [parent or self.snapshot.commit], text, self.quarantine.env)

    def _with_state(self, tree: str | None, after: Progress) -> str:
        """`tree` with the progress file and the plan's marks as they are after the batch."""
        assert tree is not None
        return self.repo.write_tree(
            tree,
            state_files(self.repo, self.snapshot, after, self.manifest.progress, self.quarantine.env),
            self.quarantine.env,
        )


def state_files(
    repo: Repository, snapshot: Snapshot, after: Progress, progress_path: str, env: Mapping[str, str]
) -> dict[str, tuple[str, str] | None]:
    """The progress file and the marked plan as blobs: path → (mode, object id), only what changes."""
    plan_text = _plan_text(repo, snapshot.commit, snapshot.plan.path)
    marked = sources.source_named(snapshot.plan.source).write_back(plan_text, marks(snapshot, after))
    files = {
        progress_path: repo.write_blob(progress.render(after, [task.id for task in snapshot.plan.tasks]).encode(), env)
    }
    if marked != plan_text:
        files[snapshot.plan.path] = repo.write_blob(marked.encode(), env)
    return dict(files)


def marks(snapshot: Snapshot, after: Progress) -> dict[str, Mark]:
    """What the plan's own marks should say, for the tasks whose record changed."""
    found = {}
    for task in snapshot.plan.tasks:
        record = after.record(task)
        if record != snapshot.progress.record(task):
            done = record.status is Status.COMPLETED
            found[task.id] = Mark(
                record.status,
                record.started,
                record.finished if done else None,
                record.error.message if record.error and not done else None,
            )
    return found


def _summary(result: Result | None) -> str | None:
    return result.usage.summary if result else None


def _blame(culprit: Candidate, logs: Mapping[tuple[int, ...], Failure], *, already_red: bool) -> Failure:
    """Why the culprit is sent back: the shortest red set that ends with it has the log that shows it."""
    mine = [key for key in logs if key[-1] == culprit.entry.index]
    failure = logs[min(mine, key=len)] if mine else next(iter(logs.values()))
    if not already_red:
        return failure
    return failure.model_copy(update={"message": f"{failure.message} (the branch is red without this work as well)"})
