"""The plan, its graph and its progress in one commit, and the files that record a
change of the progress.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from runner.core import gc_pause
from runner.core.errors import InvalidInput, Problem, UsageProblem
from runner.core.fanin_commands import typed
from runner.core.task import Owner, Plan, PlanSettings, Status, Task, TaskRules
from runner.core.validation import nearest
from runner.plan import formats, progress_file
from runner.plan.formats import Mark, Tree
from runner.plan.graph import TaskGraph
from runner.plan.loading import NO_OWNERS, load, write_back
from runner.plan.progress import Progress
from runner.plan.task_rules import apply_rules, effective_rules
from runner.plan.trees import (
    CommittedState,
    CommitTree,
    RecordingTree,
    WorkTree,
    decode_text,
    exists,
    ignored_note,
    missing_in_commit,
    work_tree,
)
from runner.policy import globs, include_rules
from runner.repo.object_database import WritableDatabase
from runner.repo.repository import Repository

NO_RULES = TaskRules()
Blobs = dict[str, tuple[str, str] | None]  # path → (mode, object id)


class Snapshot(NamedTuple):
    """The plan, its graph and the progress at `commit` (empty for the work tree).

    `recorded` is the progress in the commit's files, if `progress` is ahead of it, and
    `marked` that of the plan's marks there, if they are ahead of `recorded`. If there are
    `problems`, the plan in the commit cannot be read, and this is an older one, for
    recording what was done by it.
    """

    commit: str
    plan: Plan
    graph: TaskGraph
    progress: Progress
    recorded: Progress | None = None
    marked: Progress | None = None
    problems: tuple[Problem, ...] = ()

    def with_progress(self, progress: Progress) -> Snapshot:
        """The same commit with a progress that its files do not have."""
        if progress is self.progress:
            return self
        recorded = self.recorded or self.progress
        return self._replace(progress=progress, recorded=recorded)

    def tasks_named(self, ids: Sequence[str]) -> list[Task]:
        """The tasks with these ids, in plan order.

        Raises UsageProblem, with the nearest spelling, for an id that is not in the
        plan.
        """
        for task_id in ids:
            if task_id in self.graph.tasks:
                continue
            remedy = "fanin status  lists the tasks"
            guess = self.plan.full_names.get(task_id)
            if guess := guess or nearest(task_id, self.graph.tasks):
                remedy = f"did you mean {guess}?"
            raise UsageProblem(
                f"there is no task {task_id} in {self.plan.path}", remedy
            )
        graph = self.graph
        return [graph.tasks[each] for each in sorted(set(ids), key=graph.position)]


class Applied(NamedTuple):
    """A snapshot with changes that its commit lacks, and the ids of the sets that need not be applied again.

    The others follow attempts that the snapshot does not have yet.
    """

    snapshot: Snapshot
    ids: Sequence[str] = ()


def read_snapshot(
    repo: Repository,
    commit: str,
    choice: PlanSettings,
    progress_path: str,
    task_rules: TaskRules,
) -> Snapshot:
    """The plan and progress in `commit`, with what the settings say about its tasks.

    Raises InvalidInput with every problem and its location.
    """
    tree = CommitTree(repo, commit)
    if not choice.is_several and not exists(tree, choice.path):
        raise InvalidInput([missing_in_commit(repo, choice)])
    text = _progress_text(repo, commit, progress_path)
    return _snapshot(commit, choice, tree, task_rules, progress_path, text)


def _snapshot(
    commit: str,
    choice: PlanSettings,
    tree: Tree,
    task_rules: TaskRules,
    progress_path: str,
    progress_text: str | None,
) -> Snapshot:
    if not choice.is_several:
        plan, graph = _load_plan(choice, tree, task_rules, NO_OWNERS)
        recorded = progress_file.parse(
            progress_path, progress_text, plan.name, folder=choice.path
        )
        return Snapshot(commit, plan, graph, recorded)
    # Which ids are recorded decides which ids the tasks get.
    recorded = progress_file.parse(progress_path, progress_text, choice.path)
    plan, graph = _load_plan(choice, tree, task_rules, recorded.owners)
    owners = {**recorded.owners, **plan.owners}
    return Snapshot(commit, plan, graph, recorded._replace(owners=owners))


def read_for_recording(
    repo: Repository,
    commit: str,
    choice: PlanSettings,
    progress_path: str,
    task_rules: TaskRules,
    older: Callable[[], Snapshot],
) -> Snapshot:
    """As `read_snapshot`, and if the plan in the commit cannot be read, with that of
    `older`: a person may break it while tasks are at work.

    Raises InvalidInput if the progress cannot be read.
    """
    try:
        return read_snapshot(repo, commit, choice, progress_path, task_rules)
    except InvalidInput as error:
        before, problems = older(), error.problems
    text = _progress_text(repo, commit, progress_path)
    plan_name = choice.path if choice.is_several else before.plan.name
    recorded = progress_file.parse(progress_path, text, plan_name, folder=choice.path)
    if choice.is_several:
        owners = {**recorded.owners, **before.plan.owners}
        recorded = recorded._replace(owners=owners)
    return Snapshot(commit, before.plan, before.graph, recorded, problems=problems)


def _progress_text(repo: Repository, commit: str, path: str) -> str | None:
    """The text of the progress file in the commit; None if there is none yet.

    Raises InvalidInput for what is no regular file: completed tasks would run again.
    """
    data = repo.file(commit, path)
    if data is None and repo.has_entry(commit, path):
        what = (
            f"is no regular file in {commit[:10]}, so no progress can be read from it"
        )
        remedy = "restore the file, or choose another one with  progress"
        raise InvalidInput([Problem(path, None, what, remedy)])
    return decode_text(path, data)


def read_progress(
    repo: Repository, commit: str, choice: PlanSettings, progress_path: str
) -> Progress:
    """The progress in `commit`, without reading the plan.

    If the file has several plans, the progress of any of them. Raises InvalidInput if
    it is unreadable or belongs to another plan.
    """
    text = _progress_text(repo, commit, progress_path)
    return progress_file.parse(
        progress_path, text, choice.path, any_section=True, folder=choice.path
    )


def read_working_tree(
    root: Path,
    choice: PlanSettings,
    progress_path: str,
    task_rules: TaskRules = NO_RULES,
    *,
    repo: Repository | None = None,
    commit: str | None = None,
) -> Snapshot:
    """The plan and progress in the work tree, committed or not.

    With what the settings say about its tasks. With `repo`, what git ignores is not
    read. `commit` is what a run would read; a tool's own state is read from there.

    Raises InvalidInput with every problem and its location.
    """
    files = work_tree(root, choice, repo)
    tree: Tree = files
    state = None
    if repo is not None and commit is not None:
        committed = CommitTree(repo, commit)
        if choice.is_several or exists(committed, choice.path):
            state = CommittedState(files, committed, formats.STATE_FILES)
            tree = state
    file = root / progress_path
    data = file.read_bytes() if file.is_file() else None
    text = decode_text(progress_path, data)
    snapshot = _snapshot("", choice, tree, task_rules, progress_path, text)
    notes = list(snapshot.plan.notes)
    if files.ignored:
        notes.append(ignored_note(root, files.ignored))
    if state is not None:
        notes += [_state_note(path) for path in sorted(state.differing)]
    plan = snapshot.plan._replace(notes=tuple(notes))
    return snapshot._replace(plan=plan)


def _state_note(path: str) -> str:
    return (
        f"{path}: the work tree has another version; what counts is the committed one, "
        "which a run reads"
    )


class _CachedPlan(NamedTuple):
    """A plan, its graph and the files that they were made of."""

    choice: PlanSettings
    task_rules: TaskRules
    owners: Mapping[str, Owner]
    source: RecordingTree
    plan: Plan
    graph: TaskGraph

    def is_current(
        self,
        choice: PlanSettings,
        tree: Tree,
        task_rules: TaskRules,
        owners: Mapping[str, Owner],
    ) -> bool:
        """Whether loading the plan again would give the same."""
        # Recording an id with its owner changes no id.
        if owners not in (self.owners, {**self.owners, **self.plan.owners}):
            return False
        # A run detects the format once and names it from then on.
        detected = self.choice.model_copy(update={"source": self.plan.source})
        if choice not in (self.choice, detected):
            return False
        # A manifest's rules name the plan's own files, those of the settings do not.
        if effective_rules(self.plan, task_rules) != self.task_rules:
            return False
        return self.source.matches(tree)


# A run reads the same plan before and after every batch, and plans do not change once
# they are loaded.
_recent_plans: list[_CachedPlan] = []
_MAX_RECENT = 2


def _load_plan(
    choice: PlanSettings,
    tree: Tree,
    task_rules: TaskRules,
    owners: Mapping[str, Owner],
) -> tuple[Plan, TaskGraph]:
    for cached in _recent_plans:
        if cached.is_current(choice, tree, task_rules, owners):
            return cached.plan, cached.graph
    source = RecordingTree(tree)
    with gc_pause.paused():
        plan = apply_rules(load(choice, source, owners), task_rules)
        graph = TaskGraph(plan.tasks, plan.path)
    source.close()
    _recent_plans.append(
        _CachedPlan(
            choice, effective_rules(plan, task_rules), owners, source, plan, graph
        )
    )
    del _recent_plans[:-_MAX_RECENT]
    return plan, graph


def read_template(path: str | None, text: bytes | None) -> str | None:
    """Check the prompt template at `path` with the content `text`.

    Returns None if no template is set. Raises InvalidInput if the file does not exist,
    and for every mistake in it.
    """
    if path is None:
        return None
    template = decode_text(path, text)
    if template is None:
        what, remedy = (
            "there is no such prompt template",
            "commit it, or fix prompt_template",
        )
        raise InvalidInput([Problem(path, None, what, remedy)])
    from runner.agents import prompt

    mistakes = prompt.template_problems(template)
    if mistakes:
        raise InvalidInput(Problem(path, line, what, "") for line, what in mistakes)
    return template


def committed_template(repo: Repository, commit: str, path: str | None) -> str | None:
    """The prompt template at `path` in the commit, checked as by `read_template`."""
    return read_template(path, repo.file(commit, path) if path is not None else None)


def committed_include(repo: Repository, commit: str) -> tuple[str, ...]:
    """The patterns of the commit's `.worktreeinclude`. Raises InvalidInput if one of them
    names what no checkout gets.
    """
    # mostly there is none: the running process answers, and no git is started
    path = include_rules.FILE
    if repo.reader.info(f"{commit}:{path}") is None:
        return ()
    return _include_patterns(decode_text(path, repo.file(commit, path)))


def work_tree_include(root: Path) -> tuple[str, ...]:
    """The same for the file in the folder `root`."""
    return _include_patterns(WorkTree(root).read(include_rules.FILE))


def _include_patterns(text: str | None) -> tuple[str, ...]:
    patterns, problems = include_rules.read_file(text or "")
    if problems:
        raise InvalidInput(problems)
    return tuple(patterns)


def with_progress_file(
    objects: WritableDatabase, snapshot: Snapshot, progress_path: str
) -> str:
    """The tree of the snapshot's commit with its progress, and with the plan's marks."""
    blobs = _write_own_blobs(objects, snapshot, progress_path)
    return objects.write_tree(snapshot.commit, blobs)


def record_progress(
    repo: Repository,
    snapshot: Snapshot,
    progress_path: str,
    message: str,
) -> str:
    """Commit the snapshot's progress, with the plan's marks, and nothing else.

    Returns the commit, whose parent is the snapshot's. Moves no branch.
    """
    with repo.quarantine() as quarantine:
        blobs = _write_own_blobs(quarantine, snapshot, progress_path)
        tree = quarantine.write_tree(repo.tree(snapshot.commit), blobs)
        commit = quarantine.commit_tree(tree, [snapshot.commit], message)
        quarantine.adopt([commit], [snapshot.commit])
    return commit


def _write_own_blobs(
    objects: WritableDatabase, snapshot: Snapshot, progress_path: str
) -> Blobs:
    """Write the snapshot's progress, with a record for each task, and its marks as blobs,
    as `write_progress_blobs`.
    """
    progress = snapshot.progress
    # Records that are added only for the file change no mark. In a large plan these are
    # most, and looking for their marks would be most of what a landing costs.
    marked = write_mark_blobs(objects, snapshot, progress)
    complete = progress.with_every_task(snapshot.plan.tasks)
    return {progress_path: _write_file(objects, snapshot, complete), **marked}


def with_grants(
    snapshot: Snapshot, retry: Sequence[str], approve: Sequence[str], max_attempts: int
) -> Progress:
    """The snapshot's progress with one more attempt for each id of `retry`, and with the
    gates of `approve` open.

    Raises UsageProblem for an id that is not in the plan, and for a task to retry that
    has landed: its work would be paid for again.
    """
    granted = snapshot.progress
    tasks = snapshot.tasks_named(retry)
    refuse_landed(snapshot, tasks)
    for task in tasks:
        granted = granted.with_retry(task, max_attempts)
    for task in snapshot.tasks_named(approve):
        granted = granted.with_gate(task, closed=False)
    return granted


def refuse_landed(
    snapshot: Snapshot, tasks: Sequence[Task], remedy: str | None = None
) -> None:
    """Raises UsageProblem if one of the tasks has landed; None is how it runs again."""
    landed = [task.id for task in tasks if snapshot.progress.has_landed(task)]
    if landed:
        verb = "is" if len(landed) == 1 else "are"
        if remedy is None:
            redo = typed("retry", landed, "--redo")
            remedy = f"to run {' '.join(landed)} again:  {redo}"
        raise UsageProblem(f"{', '.join(landed)} {verb} completed", remedy)


def write_progress_blobs(
    objects: WritableDatabase,
    snapshot: Snapshot,
    after: Progress,
    progress_path: str,
) -> Blobs:
    """Write the progress file and the marked files of the plan as blobs.

    Returns path → (mode, object id), for files that change.
    """
    blobs = write_mark_blobs(objects, snapshot, after)
    return {progress_path: _write_file(objects, snapshot, after), **blobs}


def _write_file(
    objects: WritableDatabase, snapshot: Snapshot, progress: Progress
) -> tuple[str, str]:
    """Write the text of the progress file as a blob; return its mode and object id."""
    text = progress_file.render(progress, snapshot.graph.tasks)
    # Paths and fields of a newer version may hold lone surrogates, which UTF-8 cannot
    # encode.
    return objects.write_blob(text.encode("utf-8", "backslashreplace"))


def write_mark_blobs(
    objects: WritableDatabase,
    snapshot: Snapshot,
    after: Progress,
    among: Collection[str] | None = None,
) -> Blobs:
    """Write the marked files of the plan as blobs, as `write_progress_blobs`. With
    `among`, only the marks of these tasks are brought up to date.
    """
    # Not at the top: commands that show a plan write no marks.
    from runner.plan.marking import write_marks

    # Nobody can mark a task in a plan that cannot be read.
    if snapshot.problems:
        return {}
    tree = CommitTree(objects, snapshot.commit)
    marks = changed_marks(snapshot, after, among)
    marked = write_back(snapshot.plan, tree, marks, write_marks) if marks else {}
    return {path: objects.write_blob(text.encode()) for path, text in marked.items()}


def is_as_read(repo: Repository, snapshot: Snapshot) -> bool:
    """Whether reading the plan in the snapshot's commit would say nothing new: a run has
    made the commit since the plan was read, with its marks and the work of its tasks.
    """
    from runner.plan import marking

    plan = snapshot.plan
    for part in plan.parts or (plan,):
        files = marking.PlanFiles(part.source, part.path, part.options)
        if not marking.is_as_read(files):
            return False
    cached = next((each for each in _recent_plans if each.plan is plan), None)
    if cached is None:
        return False
    tree = CommitTree(repo, snapshot.commit)
    return not _other_work(cached.source, tree, snapshot)


def _other_work(source: RecordingTree, tree: CommitTree, snapshot: Snapshot) -> bool:
    """Whether tasks have changed what the plan was read from, other than the text of one
    that is completed.
    """
    plan, records = snapshot.plan, snapshot.progress.records
    own_files = tuple(map(globs.literal, plan.own_files or (plan.path,)))

    def is_known(path: str) -> bool:
        record = records.get(plan.task_files.get(path, ""))
        if record is not None and record.status is Status.COMPLETED:
            return True
        return globs.matches(own_files, path)

    try:
        changed = source.changed_files(tree, is_known)
    except InvalidInput:
        return True
    return changed is None or bool(changed)


def written_paths(repo: Repository, snapshot: Snapshot, progress_path: str) -> set[str]:
    """The paths that a landing may write beside the tasks' own work: the progress file,
    and the files of the plan that hold marks.
    """
    from runner.plan.marking import write_once

    plan = snapshot.plan
    tree = CommitTree(repo, snapshot.commit)
    marks = {task.id: Mark(Status.COMPLETED, None, None, None) for task in plan.tasks}
    marked = write_back(plan, tree, marks, write_once)
    return {progress_path, *marked}


def changed_marks(
    snapshot: Snapshot, after: Progress, among: Collection[str] | None = None
) -> dict[str, Mark]:
    """Task id → the mark that the plan should show, for tasks whose record changed, and
    which are `among` these if any are named.
    """
    marks = {}
    marked = _marked(snapshot)
    graph = snapshot.graph
    for task_id in sorted(_unmarked(snapshot, after, among), key=graph.position):
        task = graph.tasks[task_id]
        record, before = after.record(task), marked.record(task)
        if record == before:
            continue
        finished = error = None
        if record.status is Status.COMPLETED:
            finished = record.finished
        elif record.error:
            error = record.error.message
        marks[task.id] = Mark(record.status, record.started, finished, error)
    return marks


def with_marks(
    snapshot: Snapshot, after: Progress, among: Collection[str] | None = None
) -> Progress:
    """The progress that the plan's marks show once `write_mark_blobs` has written them."""
    if snapshot.problems:
        return _marked(snapshot)
    changed = {
        task_id: after.records[task_id]
        for task_id in _unmarked(snapshot, after, among)
        if task_id in after.records
    }
    marked = _marked(snapshot)
    return marked.with_records(changed)._replace(reopened=after.reopened)


def _marked(snapshot: Snapshot) -> Progress:
    return snapshot.marked or snapshot.recorded or snapshot.progress


def _unmarked(
    snapshot: Snapshot, after: Progress, among: Collection[str] | None
) -> set[str]:
    """The tasks whose marks may be others with the progress `after`."""
    marked = _marked(snapshot)
    changed = set(after.reopened ^ marked.reopened)
    if among is None:
        # Most records are the same object, and comparing fields is slow.
        changed.update(after.changed_since(marked))
    else:
        changed |= {
            task_id
            for task_id in after.records.keys() & among
            if after.records[task_id] is not marked.records.get(task_id)
        }
    return changed & snapshot.graph.tasks.keys()
