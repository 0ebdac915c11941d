"""What one commit says: its plan, the graph of it, the progress; and the files that say
so after a change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runner.agents import prompt
from runner.core import gc_pause
from runner.core.errors import InvalidInput, Problem, UsageProblem
from runner.core.task import Plan, PlanSettings, Status, Task
from runner.core.validation import nearest
from runner.plan import formats, progress
from runner.plan.formats import Mark, Tree
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.trees import (
    CommitTree,
    decode_text,
    exists,
    missing_plan_remedy,
    work_tree,
)
from runner.repo.repository import Repository


@dataclass(frozen=True)
class Snapshot:
    """What one commit says: its plan, the graph of it, and the progress."""

    commit: str
    plan: Plan
    graph: TaskGraph
    progress: Progress

    def tasks_named(self, ids: Sequence[str]) -> list[Task]:
        """The tasks of these ids. UsageProblem, with the nearest spelling, for one that
        is not in the plan.
        """
        for task_id in ids:
            if task_id not in self.graph.tasks:
                guess = nearest(task_id, [task.id for task in self.plan.tasks])
                raise UsageProblem(
                    f"there is no task {task_id} in {self.plan.path}",
                    f"did you mean {guess}?" if guess else "see  fanin status",
                )
        wanted = set(ids)
        return [task for task in self.plan.tasks if task.id in wanted] if wanted else []


def read_snapshot(
    repo: Repository, commit: str, choice: PlanSettings, progress_path: str
) -> Snapshot:
    """The plan and progress in `commit`. InvalidInput with every located problem."""
    tree = CommitTree(repo, commit)
    if not exists(tree, choice.path):
        there = (repo.root / choice.path).exists()
        remedy = (
            f"commit it:  git add {choice.path} && git commit"
            if there
            else missing_plan_remedy(choice)
        )
        raise InvalidInput(
            [Problem(choice.path, None, "there is no such plan in the commit", remedy)]
        )
    plan, graph = _load_plan(choice, tree)
    return Snapshot(
        commit, plan, graph, read_progress(repo, commit, choice, progress_path)
    )


def read_progress(
    repo: Repository, commit: str, choice: PlanSettings, progress_path: str
) -> Progress:
    """The progress of the plan in `commit`, whatever the plan itself says. InvalidInput
    if it is of another plan.
    """
    return progress.parse(
        progress_path,
        decode_text(progress_path, repo.file(commit, progress_path)),
        choice.path,
    )


@dataclass
class _CachedPlan:
    """A plan, and every file and folder that its format looked at to make it."""

    choice: PlanSettings
    tree: Tree
    texts: dict[str, str | None] = field(default_factory=dict)
    folders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    made: tuple[Plan, TaskGraph] | None = None

    def read(self, path: str) -> str | None:
        self.texts[path] = self.tree.read(path)
        return self.texts[path]

    def list(self, folder: str) -> Sequence[str]:
        self.folders[folder] = tuple(self.tree.list(folder))
        return self.folders[folder]

    def holds(self, choice: PlanSettings, tree: Tree) -> bool:
        """Whether it would be made of the same again: the format that was found may be
        named now.
        """
        found = (
            self.choice.model_copy(update={"source": self.made[0].source})
            if self.made
            else self.choice
        )
        with suppress(InvalidInput):
            return (
                choice in (self.choice, found)
                and all(
                    tuple(tree.list(folder)) == names
                    for folder, names in self.folders.items()
                )
                and all(tree.read(path) == text for path, text in self.texts.items())
            )
        return False


_recent_plans: list[_CachedPlan] = []  # the plans that were understood last


def _load_plan(choice: PlanSettings, tree: Tree) -> tuple[Plan, TaskGraph]:
    """The plan and its graph. Both never change, and a run looks at the same text
    before and after every batch.
    """
    for known in _recent_plans:
        if known.made and known.holds(choice, tree):
            return known.made
    new = _CachedPlan(choice, tree)
    with gc_pause.paused():
        plan = formats.load(choice, new)
        new.made = (plan, TaskGraph(plan.tasks, plan.path))
    # the repository need not live as long as what was read from it
    new.tree = formats.MemoryTree({})
    _recent_plans[:] = [*_recent_plans[-1:], new]
    return new.made


def read_working_tree(root: Path, choice: PlanSettings, progress_path: str) -> Snapshot:
    """The plan and progress as they stand in the work tree, committed or not.
    InvalidInput with every problem.
    """
    plan, graph = _load_plan(choice, work_tree(root, choice))
    file = root / progress_path
    text = decode_text(progress_path, file.read_bytes()) if file.is_file() else None
    return Snapshot("", plan, graph, progress.parse(progress_path, text, plan.path))


def read_template(path: str | None, text: bytes | None) -> str | None:
    """The prompt template at `path`, whose bytes are `text`; None if none is set.
    InvalidInput for every mistake.
    """
    if path is None:
        return None
    if text is None:
        raise InvalidInput(
            [
                Problem(
                    path,
                    None,
                    "there is no such prompt template",
                    "commit it, or mend prompt_template",
                )
            ]
        )
    template = decode_text(path, text)
    assert template is not None
    if found := prompt.template_problems(template):
        raise InvalidInput([Problem(path, line, what, "") for line, what in found])
    return template


def record_progress(
    repo: Repository,
    snapshot: Snapshot,
    after: Progress,
    progress_path: str,
    subject: str,
) -> str:
    """A commit on the snapshot's that changes only the progress file and the plan's
    marks.
    """
    full = after.with_every_task(snapshot.plan.tasks)
    with repo.quarantine() as quarantine:
        files = write_progress_blobs(
            repo, snapshot, full, progress_path, quarantine.env
        )
        tree = repo.write_tree(repo.tree(snapshot.commit), files, quarantine.env)
        commit = repo.commit_tree(
            tree, [snapshot.commit], f"{subject}\n", quarantine.env
        )
        repo.adopt(quarantine, [commit], [snapshot.commit])
    return commit


def with_retries(
    snapshot: Snapshot, retry: Sequence[str], max_attempts: int
) -> Progress:
    """The snapshot's progress with one more attempt for each id. UsageProblem for an id
    that is not in the plan.
    """
    known = snapshot.progress
    for task in snapshot.tasks_named(retry):
        known = known.with_retry(task, max_attempts)
    return known


def write_progress_blobs(
    repo: Repository,
    snapshot: Snapshot,
    after: Progress,
    progress_path: str,
    env: Mapping[str, str],
) -> dict[str, tuple[str, str] | None]:
    """The progress file and the marked plan as blobs: path → (mode, object id), only
    what changes.
    """
    plan = snapshot.plan
    marked = formats.get_source(plan.source).write_back(
        plan.path,
        CommitTree(repo, snapshot.commit, env),
        changed_marks(snapshot, after),
        plan.options,
    )
    known = progress.render(after, [task.id for task in plan.tasks])
    texts = {progress_path: known.encode("utf-8", "backslashreplace")}
    texts |= {path: text.encode() for path, text in marked.items()}
    return {path: repo.write_blob(text, env) for path, text in texts.items()}


def changed_marks(snapshot: Snapshot, after: Progress) -> dict[str, Mark]:
    """What the plan's own marks should say, for the tasks whose record changed."""
    found = {}
    for task in snapshot.plan.tasks:
        record, before = after.record(task), snapshot.progress.record(task)
        if record is not before and record != before:
            done = record.status is Status.COMPLETED
            found[task.id] = Mark(
                record.status,
                record.started,
                record.finished if done else None,
                record.error.message if record.error and not done else None,
            )
    return found
