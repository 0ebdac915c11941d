"""Which commits of others a run does not build on before a person has looked at them.

A person may commit while a run is in progress, and the run builds on that. Without walls
an agent can commit there as well, and nobody has reviewed that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from runner.attempt.git_directory import AGENT_IDENTITY
from runner.core.errors import DecisionNeeded
from runner.core.manifest import Manifest
from runner.core.outside_changes import commit_text
from runner.core.result import Failure, FailureKind
from runner.local.checkout_changes import outside_commit
from runner.local.journal import Journal
from runner.local.journal_state import Doubt
from runner.policy import globs
from runner.policy.change import Change
from runner.repo import checkout_state
from runner.repo.checkout_state import Commit
from runner.repo.repository import Repository

# A file as a commit or an attempt has left it: path, (mode, object id); None: deleted.
Work = tuple[str, tuple[str, str] | None]
_SHORTEST = 7  # digits of a commit's id that name it


class OutsideWork(NamedTuple):
    """What came to the run's branch while these attempts, as (batch, task), ran.

    The branch moved from commit `old` to `tip`; `commits` are those that it got, newest
    first, and `work` is what they changed together.
    """

    old: str
    tip: str
    commits: tuple[Commit, ...]
    work: frozenset[Work]
    attempts: frozenset[tuple[str, str]]


def work_of(changes: Sequence[Change]) -> frozenset[Work]:
    return frozenset((change.path, change.new) for change in changes)


def agents_commit(outside: OutsideWork) -> str | None:
    """Why a commit is an agent's by its identity, or None."""
    for commit in outside.commits:
        if AGENT_IDENTITY in {commit.author, commit.committer}:
            return f"{described(commit)} has the identity of fanin's agents"
    return None


def agents_work(
    outside: OutsideWork,
    manifest: Manifest,
    changes: Mapping[str, Sequence[Change]],
    failed: Mapping[str, Failure],
) -> str | None:
    """Why the commits hold the work of an attempt of the batch, or None.

    They do if a file is in them as the attempt has left it (`changes`), or if the
    attempt left no change and a file is among those that its task names.
    """
    for entry in manifest.entries:
        task = entry.task
        if (manifest.batch, task.id) not in outside.attempts:
            continue
        same = outside.work & work_of(changes.get(task.id, ()))
        if same:
            first = min(path for path, _ in same)
            return f"{_tip(outside)} has {first} as {task.id} made it"
        failure = failed.get(task.id)
        if failure is None or failure.kind is not FailureKind.NO_CHANGE:
            continue
        path = _path_of_task(outside.work, task.files or ())
        if path is not None:
            return f"{_tip(outside)} changes {path}, and {task.id} left no change"
    return None


def _path_of_task(work: Collection[Work], files: Sequence[str]) -> str | None:
    paths = sorted(path for path, _ in work)
    return next((path for path in paths if globs.matches(files, path)), None)


def described(commit: Commit) -> str:
    """The commit with its author and subject."""
    return commit_text(outside_commit(commit))


def _tip(outside: OutsideWork) -> str:
    return described(outside.commits[0]) if outside.commits else outside.tip[:10]


def question(doubt: Doubt) -> DecisionNeeded:
    """The error that asks a person to decide."""
    short = doubt.commit[:10]
    return DecisionNeeded(
        f"{doubt.branch} has a commit that an agent may have made: {doubt.reason}. "
        "Nothing was landed on it; finished work is kept",
        f"look at it:  git log -p {doubt.old[:10]}..{short}\n"
        f"to build on it:  fanin run --trust {short}\n"
        f"to take it back, on {doubt.branch}:  git reset --keep {doubt.old[:10]}  "
        "and then  fanin run",
    )


def settle(repo: Repository, journal: Journal, trusted: Sequence[str]) -> None:
    """End the doubts about commits that are gone from their branch or in `trusted`.

    Raises DecisionNeeded for the first that is left.
    """
    for doubt in journal.state().doubts:
        head = repo.commit(f"refs/heads/{doubt.branch}")
        is_there = head is not None and checkout_state.follows(repo, doubt.commit, head)
        if is_there and not is_trusted(doubt.commit, trusted):
            raise question(doubt)
        journal.record("settled", commit=doubt.commit)


def is_trusted(commit: str, trusted: Sequence[str]) -> bool:
    """Whether one of the ids, which may be short, is the commit's."""
    return any(
        len(each) >= _SHORTEST and commit.startswith(each.lower()) for each in trusted
    )
