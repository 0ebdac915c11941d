"""The change that a task has made: landed, kept, or finished and not landed yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from runner.core import result_folder
from runner.core.errors import UsageProblem
from runner.core.fanin_commands import typed
from runner.core.manifest import Manifest
from runner.core.result_folder import Reading
from runner.core.run_view import AttemptState, AttemptView
from runner.fan_in.importing import PackImporter
from runner.fan_in.undo import named_paths
from runner.local.journal import Journal
from runner.local.kept_work import KeptWork, kept_work
from runner.local.run_history import run_of
from runner.plan.snapshot import Snapshot
from runner.repo.command import Git
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository

# Nothing that the repository or its configuration names is started.
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short")
_WITH_RESULT = {
    AttemptState.FINISHED,
    AttemptState.VERIFYING,
    AttemptState.MERGED,
    AttemptState.FAILED,
    AttemptState.ASKED,
}
# Its work is neither landed nor kept.
_NOT_JUDGED = {
    AttemptState.RUNNING,
    AttemptState.FINISHED,
    AttemptState.VERIFYING,
    AttemptState.MERGED,
}


@dataclass(frozen=True)
class TaskChange:
    """The difference between two commits or trees, `old` and `new`, at `paths` if any.

    `git` reads them, and `origin` says in one line what they are.
    """

    git: Git
    old: str
    new: str
    origin: str
    paths: tuple[str, ...] = ()

    def patch(self, *, binary: bool = True) -> bytes:
        """The change as git prints it; with `binary` as `git apply` takes it."""
        specs = [f":(top,literal){path}" for path in self.paths]
        form = ["--binary"] if binary else []
        return self.git.run([*_DIFF, *form, self.old, self.new, "--", *specs])


# An attempt → its result and the manifest of its batch; None if there is none.
ResultSource = Callable[[AttemptView], tuple[Manifest, Reading] | None]


def results_of_runs(journal: Journal) -> ResultSource:
    """The results of attempts on this machine."""

    def result_of(attempt: AttemptView) -> tuple[Manifest, Reading] | None:
        batch_round = attempt.batch.rpartition(".")[2]
        try:
            run, number = run_of(attempt), int(batch_round)
            manifest, results = journal.read_manifest(run, number)
        except (OSError, ValueError):
            return None
        for entry in manifest.entries:
            if entry.task.id == attempt.task:
                return manifest, result_folder.read(results, manifest, entry)
        return None

    return result_of


class TaskChanges:
    """What tasks have changed. The branch and the kept work are read once.

    What has neither landed nor been kept comes from `results`.
    """

    def __init__(
        self, repo: Repository, results: ResultSource, snapshot: Snapshot
    ) -> None:
        self._repo, self._results, self._snapshot = repo, results, snapshot

    @contextmanager
    def of(self, task_id: str, attempts: Sequence[AttemptView]) -> Iterator[TaskChange]:
        """What the task has changed last, to be read within the block.

        Raises UsageProblem if there is nothing.
        """
        last = attempts[-1] if attempts else None
        is_open = last is not None and last.state in _WITH_RESULT
        landed = self.landed(task_id)
        kept = self._kept(task_id, last)
        if landed is not None and not is_open:
            yield landed
            return
        # The quarantine is for a result that no other process has imported yet.
        with self._repo.quarantine() as quarantine:
            change = None
            if last is not None and is_open:
                change = kept or self._of_result(quarantine, last)
            change = change or landed or kept
            if change is None:
                raise UsageProblem(*_why_none(task_id, last))
            yield change

    def landed(self, task_id: str) -> TaskChange | None:
        """What the task changed in the commit that it landed with."""
        commit = self._commits.get(task_id)
        record = self._snapshot.progress.records.get(task_id)
        if commit is None:
            return None
        # A batch is one commit with the work of several tasks.
        paths = named_paths(record.changed) if record is not None else None
        origin = f"landed in {commit}"
        return TaskChange(self._repo.git, f"{commit}^", commit, origin, paths or ())

    def _kept(self, task_id: str, last: AttemptView | None) -> TaskChange | None:
        """The newest work of the task that is kept; that of `last` if it has some."""
        works = [work for work in self._works if work.is_of(task_id)]
        if last is not None and last.state is not AttemptState.LANDED:
            own = [work for work in works if work.ref == last.kept]
            works = own or works
            if not own and last.state in _NOT_JUDGED:
                return None
        if not works:
            return None
        work = works[-1]
        origin = f"attempt {work.attempt}, not landed, kept at {work.ref}"
        git = self._repo.git
        return TaskChange(git, f"{work.commit}^", work.commit, origin)

    def _of_result(
        self, quarantine: Quarantine, attempt: AttemptView
    ) -> TaskChange | None:
        """The work that the attempt has left in its result folder."""
        found = self._results(attempt)
        if found is None:
            return None
        manifest, reading = found
        if reading.result is None or reading.result.tree is None:
            return None
        if self._repo.commit(manifest.base) is None:
            return None
        base = self._repo.tree(manifest.base)
        importer = PackImporter(quarantine, base, manifest.limits.size)
        refusal = importer.import_one(reading)
        if refusal is not None:
            raise UsageProblem(
                f"the work of attempt {attempt.attempt} cannot be read: "
                f"{refusal.message}"
            )
        origin = f"attempt {attempt.attempt}, {attempt.state}, not landed"
        return TaskChange(quarantine.git, base, reading.result.tree, origin)

    @cached_property
    def _commits(self) -> dict[str, str]:
        return self._repo.landing_commits(self._snapshot.commit)

    @cached_property
    def _works(self) -> list[KeptWork]:
        return kept_work(self._repo)


def _why_none(task_id: str, last: AttemptView | None) -> tuple[str, str]:
    if last is None:
        return f"{task_id} has changed nothing yet", "fanin status  shows its state"
    if last.state is AttemptState.RUNNING:
        return (
            f"{task_id} is at work, its change is captured at the end",
            f"{typed('log', [task_id], '-f')}  follows its log",
        )
    return (
        f"attempt {last.attempt} of {task_id} has left no change",
        f"{typed('show', [task_id])}  says why",
    )
