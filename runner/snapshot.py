"""What one commit says: its plan, the graph of it, the progress; and the files that say so after a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from runner import collector, progress, sources
from runner.errors import InvalidInput, Problem, UsageProblem
from runner.gitrepo import Repository
from runner.graph import TaskGraph
from runner.models import Plan, Status, Task
from runner.objects import Objects
from runner.policy import REGULAR
from runner.progress import Progress
from runner.sources import Mark
from runner.validation import nearest


@dataclass(frozen=True)
class Snapshot:
    """What one commit says: its plan, the graph of it, and the progress."""

    commit: str
    plan: Plan
    graph: TaskGraph
    progress: Progress

    def named(self, ids: Sequence[str]) -> list[Task]:
        """The tasks of these ids. UsageProblem, with the nearest spelling, for one that is not in the plan."""
        for task_id in ids:
            if task_id not in self.graph.tasks:
                guess = nearest(task_id, [task.id for task in self.plan.tasks])
                raise UsageProblem(
                    f"there is no task {task_id} in {self.plan.path}",
                    f"did you mean {guess}?" if guess else "see  fanin status",
                )
        wanted = set(ids)
        return [task for task in self.plan.tasks if task.id in wanted] if wanted else []


def read_snapshot(repo: Repository, commit: str, plan_path: str, progress_path: str) -> Snapshot:
    """The plan and progress in `commit`. InvalidInput with every located problem."""
    plan, graph = _understood(plan_path, plan_text(repo, commit, plan_path))
    text = repo.file(commit, progress_path)
    return Snapshot(commit, plan, graph, progress.parse(progress_path, _decode(progress_path, text), plan.path))


@lru_cache(maxsize=2)
def _understood(path: str, text: str) -> tuple[Plan, TaskGraph]:
    """The plan and its graph: both never change, and a run reads the same text before and after every batch."""
    with collector.paused():
        plan = sources.load(path, text)
        return plan, TaskGraph(plan.tasks, plan.path)


def read_working_tree(root: Path, plan_path: str, progress_path: str) -> Snapshot:
    """The plan and progress as they stand in the work tree, committed or not. InvalidInput with every problem."""

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
    plan, graph = _understood(plan_path, found)
    return Snapshot("", plan, graph, progress.parse(progress_path, text(progress_path), plan.path))


def record_progress(repo: Repository, snapshot: Snapshot, after: Progress, progress_path: str, subject: str) -> str:
    """A commit on the snapshot's that changes only the progress file and the plan's marks."""
    full = after.with_records({task.id: after.record(task) for task in snapshot.plan.tasks})
    with repo.quarantine() as quarantine:
        files = state_files(repo, snapshot, full, progress_path, quarantine.objects)
        tree = quarantine.objects.edited(repo.tree(snapshot.commit), files)
        commit = repo.commit_tree(tree, [snapshot.commit], f"{subject}\n", quarantine.env)
        repo.adopt(quarantine, [commit], [snapshot.commit])
    return commit


def granted(snapshot: Snapshot, retry: Sequence[str], max_attempts: int) -> Progress:
    """The snapshot's progress with one more attempt for each id. UsageProblem for an id that is not in the plan."""
    known = snapshot.progress
    for task in snapshot.named(retry):
        known = known.retried(task, max_attempts)
    return known


def state_files(
    repo: Repository, snapshot: Snapshot, after: Progress, progress_path: str, objects: Objects
) -> dict[str, tuple[str, str] | None]:
    """The progress file and the marked plan as blobs: path → (mode, object id), only what changes."""
    before = plan_text(repo, snapshot.commit, snapshot.plan.path)
    marked = sources.source_named(snapshot.plan.source).write_back(before, marks(snapshot, after))
    text = progress.render(after, [task.id for task in snapshot.plan.tasks])
    files: dict[str, tuple[str, str] | None] = {
        progress_path: (REGULAR, objects.write("blob", text.encode("utf-8", "backslashreplace")))
    }
    if marked != before:
        files[snapshot.plan.path] = (REGULAR, objects.write("blob", marked.encode()))
    return files


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


def plan_text(repo: Repository, commit: str, path: str) -> str:
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
