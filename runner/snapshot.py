"""What one commit says: its plan, the graph of it, the progress; and the files that say so after a change."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runner import collector, progress, sources
from runner.agents import prompt
from runner.errors import InvalidInput, Problem, UsageProblem
from runner.gitrepo import Repository
from runner.graph import TaskGraph
from runner.models import Plan, PlanSettings, Status, Task
from runner.progress import Progress
from runner.sources import Mark, Tree
from runner.validation import nearest

MAX_FILE = 16 * 2**20  # bytes of one plan file; the largest seen in the wild has a tenth of it
MAX_FOLDER = 64 * 2**20  # bytes of a plan folder that are read at once
_PREFETCHED = (".md", ".yml", ".yaml")


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


class CommitTree:
    """The files of one commit, as plan formats read them; each blob is read at most once. `env` if it lies in a
    quarantine.
    """

    def __init__(self, repo: Repository, commit: str, env: Mapping[str, str] | None = None) -> None:
        self._repo, self._commit, self._env = repo, commit, env
        self._texts: dict[str, str | None] = {}

    def read(self, path: str) -> str | None:
        if path not in self._texts:
            found = self._repo.files(self._commit, path, self._env).get(path)
            self._texts[path] = None
            if found is not None:
                _refuse_large(path, found[1])
                self._texts[path] = _decode(path, self._repo.blob(found[0], self._env))
        return self._texts[path]

    def list(self, folder: str) -> Sequence[str]:
        below = self._repo.files(self._commit, folder, self._env).items()
        found = {path: entry for path, entry in below if path != folder}
        texts = [path for path in found if path not in self._texts and path.endswith(_PREFETCHED)]
        sizes = [found[path][1] for path in texts]
        if sum(sizes) <= MAX_FOLDER:  # one process instead of one for each file; larger folders are read as needed
            blobs = self._repo.blobs(sorted({found[path][0] for path in texts}), self._env)
            for path in texts:
                if found[path][1] <= MAX_FILE:
                    self._texts[path] = _lenient(blobs[found[path][0]])
                    if self._texts[path] is None:
                        del self._texts[path]
        return sorted(found)


class WorkTree:
    """The files below a folder on disk, committed or not. What a symbolic link leads to is not read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._texts: dict[str, str | None] = {}

    def read(self, path: str) -> str | None:
        if path not in self._texts:
            file = self._root / path
            self._texts[path] = None
            if file.is_file() and not file.is_symlink():
                _refuse_large(path, file.stat().st_size)
                self._texts[path] = _decode(path, file.read_bytes())
        return self._texts[path]

    def list(self, folder: str) -> Sequence[str]:
        found: list[str] = []
        for where, folders, files in os.walk(self._root / folder):
            folders[:] = [name for name in folders if name != ".git"]
            found += [f"{where}/{name}" for name in files if not Path(where, name).is_symlink()]
        start = f"{self._root / folder}/"
        return sorted(f"{folder}/{path.removeprefix(start)}" for path in found)


def read_snapshot(repo: Repository, commit: str, choice: PlanSettings, progress_path: str) -> Snapshot:
    """The plan and progress in `commit`. InvalidInput with every located problem."""
    tree = CommitTree(repo, commit)
    if not _exists(tree, choice.path):
        there = (repo.root / choice.path).exists()
        remedy = f"commit it:  git add {choice.path} && git commit" if there else _no_plan(choice)
        raise InvalidInput([Problem(choice.path, None, "there is no such plan in the commit", remedy)])
    plan, graph = _understood(choice, tree)
    return Snapshot(commit, plan, graph, read_progress(repo, commit, choice, progress_path))


def read_progress(repo: Repository, commit: str, choice: PlanSettings, progress_path: str) -> Progress:
    """The progress of the plan in `commit`, whatever the plan itself says. InvalidInput if it is of another plan."""
    return progress.parse(progress_path, _decode(progress_path, repo.file(commit, progress_path)), choice.path)


@dataclass
class _Understood:
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
        """Whether it would be made of the same again: the format that was found may be named now."""
        found = self.choice.model_copy(update={"source": self.made[0].source}) if self.made else self.choice
        with suppress(InvalidInput):
            return (
                choice in (self.choice, found)
                and all(tuple(tree.list(folder)) == names for folder, names in self.folders.items())
                and all(tree.read(path) == text for path, text in self.texts.items())
            )
        return False


_LAST: list[_Understood] = []  # the plans that were understood last


def _understood(choice: PlanSettings, tree: Tree) -> tuple[Plan, TaskGraph]:
    """The plan and its graph. Both never change, and a run looks at the same text before and after every batch."""
    for known in _LAST:
        if known.made and known.holds(choice, tree):
            return known.made
    new = _Understood(choice, tree)
    with collector.paused():
        plan = sources.load(choice, new)
        new.made = (plan, TaskGraph(plan.tasks, plan.path))
    new.tree = sources.MemoryTree({})  # the repository need not live as long as what was read from it
    _LAST[:] = [*_LAST[-1:], new]
    return new.made


def read_working_tree(root: Path, choice: PlanSettings, progress_path: str) -> Snapshot:
    """The plan and progress as they stand in the work tree, committed or not. InvalidInput with every problem."""
    plan, graph = _understood(choice, work_tree(root, choice))
    file = root / progress_path
    text = _decode(progress_path, file.read_bytes()) if file.is_file() else None
    return Snapshot("", plan, graph, progress.parse(progress_path, text, plan.path))


def work_tree(root: Path, choice: PlanSettings) -> WorkTree:
    """The tree below `root`. InvalidInput if the plan is not in it."""
    tree = WorkTree(root)
    if not _exists(tree, choice.path):
        raise InvalidInput([Problem(choice.path, None, "there is no such plan", _no_plan(choice))])
    return tree


def read_file(path: Path) -> bytes | None:
    """The bytes of a file in the work tree, None if there is none."""
    return path.read_bytes() if path.is_file() else None


def read_template(path: str | None, text: bytes | None) -> str | None:
    """The prompt template at `path`, whose bytes are `text`; None if none is set. InvalidInput for every mistake."""
    if path is None:
        return None
    if text is None:
        raise InvalidInput(
            [Problem(path, None, "there is no such prompt template", "commit it, or mend prompt_template")]
        )
    template = _decode(path, text)
    assert template is not None
    if found := prompt.complaints(template):
        raise InvalidInput([Problem(path, line, what, "") for line, what in found])
    return template


def record_progress(repo: Repository, snapshot: Snapshot, after: Progress, progress_path: str, subject: str) -> str:
    """A commit on the snapshot's that changes only the progress file and the plan's marks."""
    full = after.filled(snapshot.plan.tasks)
    with repo.quarantine() as quarantine:
        files = state_files(repo, snapshot, full, progress_path, quarantine.env)
        tree = repo.write_tree(repo.tree(snapshot.commit), files, quarantine.env)
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
    repo: Repository, snapshot: Snapshot, after: Progress, progress_path: str, env: Mapping[str, str]
) -> dict[str, tuple[str, str] | None]:
    """The progress file and the marked plan as blobs: path → (mode, object id), only what changes."""
    plan = snapshot.plan
    marked = sources.named(plan.source).write_back(
        plan.path, CommitTree(repo, snapshot.commit, env), marks(snapshot, after), plan.options
    )
    known = progress.render(after, [task.id for task in plan.tasks])
    texts = {progress_path: known.encode("utf-8", "backslashreplace")}
    texts |= {path: text.encode() for path, text in marked.items()}
    return {path: repo.write_blob(text, env) for path, text in texts.items()}


def marks(snapshot: Snapshot, after: Progress) -> dict[str, Mark]:
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


def _no_plan(choice: PlanSettings) -> str:
    """How a plan that is not there comes to be."""
    if choice.of_issues:
        return "write it with  fanin collect"
    return "write one ( fanin init ), or name yours with  --plan PATH"


def _exists(tree: Tree, path: str) -> bool:
    return tree.read(path) is not None or bool(tree.list(path))


def _refuse_large(path: str, size: int) -> None:
    """Before it is read: what is parsed takes many times the memory of its text."""
    if size > MAX_FILE:
        what = f"{size:,} bytes; a plan's file may have {MAX_FILE:,}"
        raise InvalidInput([Problem(path, 1, what, "split the plan, or name the right file with  --plan PATH")])


def _lenient(data: bytes) -> str | None:
    """Text, or None where reading it must say what is wrong with it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _decode(path: str, data: bytes | None) -> str | None:
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1 if data else 1
        raise InvalidInput([Problem(path, line, "is not UTF-8 text", "save it as UTF-8")]) from None
