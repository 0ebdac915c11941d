"""Finds the commits that landed a task, in the history of the branch, and what each task
of them has changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from runner.core.errors import UsageProblem
from runner.core.task import Status
from runner.fan_in import landing_record
from runner.fan_in.own_files import IsOwn
from runner.fan_in.undo import Landed, steps_by_path
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository

_COMPLETED = Status.COMPLETED.value
Records = Mapping[str, Mapping[str, Any]]  # task id → the fields of its record


class LandingCommit(NamedTuple):
    """A commit and its first parent, with the tasks that it completed."""

    commit: str
    parent: str
    before: Records
    after: Records

    @property
    def completed(self) -> list[str]:
        """The tasks that are completed with the commit, and by no skip."""
        return [
            task
            for task, record in self.after.items()
            if _is_completed(record)
            and not record.get("skipped")
            and not _is_completed(self.before.get(task))
        ]

    def takes_back(self, task_id: str) -> bool:
        """Whether the task's work is gone with the commit, as after `undo`. A `--redo`
        leaves it.
        """
        after = self.after.get(task_id, {})
        is_open = not _is_completed(after) and not after.get("request")
        return is_open and _is_completed(self.before.get(task_id))


def _is_completed(record: Mapping[str, Any] | None) -> bool:
    return record is not None and record.get("status") == _COMPLETED


def landing_commits(
    repo: Repository, head: str, progress_path: str, task_id: str
) -> list[LandingCommit]:
    """The commits that landed work of the task which is in `head`, the newest first.

    More than one after `retry --redo`. Raises UsageProblem if there is none.
    """
    found = []
    for each in _progress_commits(repo, head, progress_path):
        if task_id in each.completed:
            found.append(each)
        elif each.takes_back(task_id):
            break
    if not found:
        raise UsageProblem(
            f"no commit in the history says that {task_id} landed with it",
            "a shallow clone has too few:  git fetch --unshallow",
        )
    return found


def _progress_commits(
    repo: Repository, head: str, progress_path: str
) -> Iterator[LandingCommit]:
    """Every commit that changes the progress file, the newest first."""
    argv = ["log", "--format=%H %P", head, "--", f":(top,literal){progress_path}"]
    for line in repo.git.text(argv).splitlines():
        commit, *parents = line.split()
        if not parents:
            continue
        names = [f"{revision}:{progress_path}" for revision in (parents[0], commit)]
        before, after = (
            _records(content.data if content else b"")
            for content in repo.contents(names)
        )
        yield LandingCommit(commit, parents[0], before, after)


def _records(text: bytes) -> Records:
    """The records of a progress file; none if it cannot be read."""
    try:
        tasks = json.loads(text)["tasks"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    if not isinstance(tasks, dict):
        return {}
    return {
        task_id: record for task_id, record in tasks.items() if isinstance(record, dict)
    }


def landed_by(
    repo: Repository,
    quarantine: Quarantine,
    landing: LandingCommit,
    is_own: IsOwn,
) -> Landed:
    """What the tasks of a landing have changed; `is_own` says which files fanin writes.

    Raises UsageProblem if neither the commit nor a record says it.
    """
    record = landing_record.read(repo, landing.commit)
    if record is not None:
        return record
    before, after = repo.tree(landing.parent), repo.tree(landing.commit)
    changes = [
        change for change in repo.changes(before, after) if not is_own(change.path)
    ]
    changed = {
        task: [str(line) for line in landing.after[task].get("changed", ())]
        for task in landing.completed
    }
    steps = steps_by_path(before, changes, changed, quarantine)
    if steps is None:
        names = ", ".join(landing.completed)
        raise UsageProblem(
            f"{names} landed together in {landing.commit[:10]} and changed the same "
            "files; what each of them changed is recorded only where they ran",
            f"git fetch origin '{landing_record.ROOT}/*:{landing_record.ROOT}/*'  after "
            "a run on GitHub, else undo it where they ran; or take all of them out:  "
            f"git revert {landing.commit[:10]}",
        )
    return Landed(before, after, steps)
