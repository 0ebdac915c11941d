"""The checks before a run starts: a branch, no unfinished work, usable agents."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from runner.attempt import included_files
from runner.config.settings import Settings
from runner.core import typed_paths
from runner.core.errors import InvalidInput, UsageProblem
from runner.core.folders import remove_folder
from runner.core.plan_paths import covers
from runner.core.plurals import pluralize, some_of
from runner.core.task import AgentSettings, Plan
from runner.local.journal import Journal
from runner.plan.snapshot import (
    Snapshot,
    committed_include,
    read_working_tree,
    work_tree_include,
    written_paths,
)
from runner.repo import work_tree
from runner.repo.repository import Repository
from runner.schedule.manifest import agents_of
from runner.schedule.preflight import preflight
from runner.schedule.task_choice import TaskChoice

SCRATCH_PREFIX = "fanin-"
_CHANGE = "Change the plan"  # the message of a commit that a person is to make
_NAMED_PATHS = 5  # how many uncommitted files a message names


def target_branch(repo: Repository, settings: Settings) -> str:
    """The branch that work lands on, made from HEAD if it does not exist.

    Raises UsageProblem if there is none, or no such branch can be made.
    """
    branch = settings.branch or repo.current_branch()
    if branch is None:
        _refuse_operation(repo, repo.root)  # which may have detached it
        raise UsageProblem(
            "HEAD is detached, so there is no branch to land on",
            "git switch BRANCH, or give --branch NAME",
        )
    if not repo.is_valid_branch_name(branch):
        raise UsageProblem(
            f"{branch!r} is not a valid branch name",
            "give --branch a plain name, without refs/heads/",
        )
    if repo.commit(f"refs/heads/{branch}") is None:
        _create_branch(repo, branch)
    return branch


def _create_branch(repo: Repository, branch: str) -> None:
    head = repo.commit("HEAD")
    if head is None:
        raise UsageProblem(
            "the repository has no commit yet",
            "make a first one:  git add -A && git commit -m 'Start'",
        )
    must_not_exist = "0" * len(head)
    if not repo.set_ref(f"refs/heads/{branch}", head, must_not_exist):
        raise UsageProblem(
            f"cannot create the branch {branch!r}",
            "git cannot have both a branch `a` and a branch `a/b`; choose another name",
        )


def complete_partial_clone(repo: Repository, branch: str) -> None:
    """Fetch the branch's files that a partial clone lacks.

    An agent's checkout borrows objects and has no remote to fetch them from. Raises
    UsageProblem if some cannot be fetched.
    """
    head = repo.commit(f"refs/heads/{branch}")
    missing = repo.fetch_missing(head) if head is not None else []
    if missing:
        raise UsageProblem(
            f"this is a partial clone, and {pluralize(len(missing), 'object')} of "
            f"{branch} cannot be fetched",
            "fetch all objects:  git fetch --refetch --no-filter",
        )


def refuse_unfinished(repo: Repository, branch: str) -> None:
    """Raises UsageProblem if an operation of git is unfinished that needs the branch
    where it is.
    """
    if reason := work_tree.detached_use(repo, branch):
        raise UsageProblem(
            reason, "finish it, or land the work elsewhere with  --branch NAME"
        )
    folder = work_tree.checked_out_at(repo, branch)
    if folder is not None:
        _refuse_operation(repo, folder)


def _refuse_operation(repo: Repository, folder: Path) -> None:
    operation = work_tree.unfinished(repo, folder)
    if operation is not None:
        end = "reset" if operation == "bisect" else "--abort"
        raise UsageProblem(
            f"a {operation} is in progress in {folder}",
            f"finish it, or  git {operation} {end}",
        )


def uncommitted_notes(
    repo: Repository, snapshot: Snapshot, settings: Settings, branch: str
) -> list[str]:
    """What a person should know of uncommitted changes where `branch` is checked out.

    Raises UsageProblem if they are in a file that every landing writes. A change in any
    other file is in the way only of a task that changes the same file; that work waits.
    """
    folder = work_tree.checked_out_at(repo, branch)
    dirty = work_tree.dirty_paths(repo, folder) if folder else []
    if folder is None or not dirty:
        return []
    written = written_paths(repo, snapshot, settings.progress)
    if in_the_way := [path for path in dirty if path in written]:
        raise UsageProblem(
            f"there are uncommitted changes in {_names(in_the_way)}, which fanin writes "
            "with each landing",
            "commit or stash them, or land the work elsewhere with  --branch NAME",
        )
    notes = [f"agents do not see your uncommitted changes in {_names(dirty)}"]
    own = own_paths(snapshot.plan)
    if changed := [path for path in dirty if any(covers(part, path) for part in own)]:
        notes.append(
            f"the plan is read as committed in {snapshot.commit[:10]}; to use your "
            f"changes:  {typed_paths.git_commit(folder, _CHANGE, changed)}"
        )
    return notes


def uncommitted_plan_note(repo: Repository, plan: Plan, branch: str | None) -> str:
    """What a person should know if the plan of the work tree is not what a run reads, as
    none of it or not all of it is committed; "" otherwise.

    `branch`: where work lands, if that is not the branch that is checked out.
    """
    if branch not in {None, repo.current_branch()}:
        return ""
    own = own_paths(plan)
    changed = work_tree.uncommitted_paths(repo, repo.root, own)
    if not changed:
        return ""
    return (
        f"a run reads the plan as committed, without your changes in {_names(changed)}; "
        f"to commit them:  {typed_paths.git_add(repo.root, own)} && "
        f"{typed_paths.git_commit(repo.root, _CHANGE, own)}"
    )


def include_notes(repo: Repository, settings: Settings) -> list[str]:
    """What checkouts do not get although `include` of the settings or of the work tree
    names it. InvalidInput for what no checkout gets.
    """
    patterns = (*settings.include, *work_tree_include(repo.root))
    if not patterns:
        return []
    return included_files.look(patterns, repo.origin, settings.env.values()).notes


def own_paths(plan: Plan) -> Sequence[str]:
    """The files, or folders of files, that hold the plan."""
    return plan.own_files or (plan.path,)


class FixNotCommitted(UsageProblem):
    """The plan is invalid as committed, and the work tree has another version of it, at
    `paths`. `is_valid`: that one can be read.
    """

    def __init__(
        self,
        error: InvalidInput,
        root: Path,
        commit: str,
        paths: Sequence[str],
        *,
        is_valid: bool,
    ) -> None:
        self.paths, self.is_valid = tuple(paths), is_valid
        verb = "is" if len(paths) == 1 else "are"
        message = (
            f"{error}\n{_names(paths)} {verb} read as committed in {commit[:10]}; "
        )
        if is_valid:
            message += "the version in the work tree has no problem"
            command = typed_paths.git_commit(root, "Fix the plan", paths)
            advice = f"to use it:  {command}"
        else:
            message += "the version in the work tree has problems too"
            advice = "to see them:  fanin check"
        super().__init__(message, advice)


def explained(
    repo: Repository, settings: Settings, branch: str, error: InvalidInput
) -> UsageProblem:
    """The error of reading the plan on `branch`, which also says if the work tree has
    another version.
    """
    folder = work_tree.checked_out_at(repo, branch)
    commit = repo.commit(f"refs/heads/{branch}")
    if folder is None or commit is None or folder.resolve() != repo.root.resolve():
        return error
    named = {problem.path for problem in error.problems}
    changed = [
        path
        for path in work_tree.dirty_paths(repo, folder)
        if path in named or covers(settings.plan.path, path)
    ]
    if not changed:
        return error
    is_valid = True
    try:
        read_working_tree(
            repo.root,
            settings.plan,
            settings.progress,
            settings.task_rules,
            repo=repo,
            commit=commit,
        )
    except InvalidInput:
        is_valid = False
    return FixNotCommitted(error, repo.root, commit, changed, is_valid=is_valid)


def _names(paths: Sequence[str]) -> str:
    return some_of(paths[:_NAMED_PATHS], len(paths))


def check_agents(
    repo: Repository,
    snapshot: Snapshot,
    settings: Settings,
    environ: Mapping[str, str],
    choice: TaskChoice,
) -> tuple[str, ...]:
    """Check that every chosen task can run and land; what a person should know besides.

    InvalidInput, before anything is paid, if an agent, a program, a key or the means to
    keep the cost limit is missing, or if `.worktreeinclude` names what no checkout gets.
    """
    include = (*settings.include, *committed_include(repo, snapshot.commit))
    report = preflight(
        snapshot.plan,
        snapshot.progress,
        settings,
        environ=environ,
        choice=choice,
        # what a checkout gets besides is in no commit
        has_file=None if include else partial(repo.has_file, snapshot.commit),
    )
    if report.problems or report.missing:
        raise InvalidInput([*report.problems, *report.missing])
    return report.notes


def agents_of_open_tasks(
    snapshot: Snapshot, settings: Settings, choice: TaskChoice
) -> list[AgentSettings]:
    """The agents that the run may start. InvalidInput as `check_agents`."""
    standings = choice.standings(snapshot, settings.max_attempts)
    chosen: list[AgentSettings] = []
    for task in snapshot.plan.tasks:
        if standings[task.id].may_run:
            chosen += agents_of(task, snapshot.plan, settings)
    return chosen


@contextmanager
def scratch_folder(journal: Journal, run: str, branch: str) -> Iterator[Path]:
    """The folder of a run's workspaces, removed at the end.

    The journal names it before it exists, so that a crash cannot hide it.
    """
    # short: the paths of sockets below it have an end after 107 bytes
    name = f"{SCRATCH_PREFIX}{secrets.token_hex(6)}"
    import tempfile

    scratch = Path(tempfile.gettempdir(), name)
    journal.record("run", run=run, branch=branch, scratch=str(scratch), pid=os.getpid())
    scratch.mkdir(mode=0o700)
    try:
        yield scratch
    finally:
        remove_folder(scratch)
