"""Decides what `fanin undo` commits: the branch's head without the changes of some tasks,
and with these pending again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from runner.core.errors import UsageProblem
from runner.core.fanin_commands import typed
from runner.core.plurals import some_of
from runner.core.task import Task, TaskRules
from runner.fan_in.commit_message import undo_message
from runner.fan_in.own_files import IsOwn, own_files, with_own_files_of
from runner.fan_in.undo import Landed, Obstacle, named_paths, take_out
from runner.local.landings import LandingCommit, landed_by, landing_commits
from runner.plan.snapshot import Snapshot, write_progress_blobs
from runner.plan.task_rules import never_changed
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository

_MAX_NAMED = 5  # paths in one message


class FileChange(NamedTuple):
    """A commit on the head that changes files for a request: the tasks that it is about,
    and the paths that it changes beside the progress file and the plan's marks. `left_out`
    are sentences on changes of the work that are not in it.
    """

    commit: str
    tasks: tuple[str, ...]
    paths: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def undo(
    repo: Repository,
    snapshot: Snapshot,
    tasks: Sequence[Task],
    progress_path: str,
    max_attempts: int,
    task_rules: TaskRules,
) -> FileChange:
    """The commit that takes the tasks out of the snapshot's. No branch moves.

    Raises UsageProblem if git cannot decide what a file is without them, or if nobody
    knows what they changed.
    """
    is_own = own_files(never_changed(snapshot.plan, task_rules), progress_path)
    ids = [task.id for task in tasks]
    landings = _landings(repo, snapshot, ids, progress_path)
    head_tree = repo.tree(snapshot.commit)
    with repo.quarantine() as quarantine:
        tree = head_tree
        for landed, group in _landed_groups(repo, quarantine, landings, ids, is_own):
            as_now = _with_own_files(quarantine, landed, head_tree, is_own)
            result = take_out(tree, as_now, group, quarantine)
            if isinstance(result, Obstacle):
                raise _conflict(snapshot, group, result.paths, ids)
            tree = result
        paths = tuple(quarantine.changed_paths(head_tree, tree))
        progress = snapshot.progress.with_every_task(snapshot.plan.tasks)
        for task in tasks:
            progress = progress.with_undo(task, max_attempts)
        blobs = write_progress_blobs(quarantine, snapshot, progress, progress_path)
        commit = quarantine.commit_tree(
            quarantine.write_tree(tree, blobs), [snapshot.commit], undo_message(tasks)
        )
        quarantine.adopt([commit], [snapshot.commit])
    return FileChange(commit, tuple(ids), paths)


def _landings(
    repo: Repository, snapshot: Snapshot, ids: Sequence[str], progress_path: str
) -> list[LandingCommit]:
    """The commits that landed the tasks, the newest first."""
    found = {}
    for task_id in ids:
        for each in landing_commits(repo, snapshot.commit, progress_path, task_id):
            found[each.commit] = each
    # Each before its parents, however their clocks went.
    argv = ["rev-list", "--topo-order", snapshot.commit]
    return [found[line] for line in repo.git.text(argv).splitlines() if line in found]


def _landed_groups(
    repo: Repository,
    quarantine: Quarantine,
    landings: Sequence[LandingCommit],
    ids: Collection[str],
    is_own: IsOwn,
) -> list[tuple[Landed, list[str]]]:
    """What landed together, the newest first, with those of the tasks that are in it."""
    groups: dict[Landed, list[str]] = {}
    for landing in landings:
        landed = landed_by(repo, quarantine, landing, is_own)
        # Commits of one batch, one for each task, may have the same record.
        group = groups.setdefault(landed, [])
        group += [task for task in landing.completed if task in ids]
    return list(groups.items())


def _with_own_files(
    quarantine: Quarantine,
    landed: Landed,
    head_tree: str,
    is_own: IsOwn,
) -> Landed:
    """What landed, with the files that fanin writes as they are now: no merge has
    anything to do with them.
    """
    before, after = (
        with_own_files_of(quarantine, tree, head_tree, is_own)
        for tree in (landed.before, landed.after)
    )
    return replace(landed, before=before, after=after)


def _conflict(
    snapshot: Snapshot, group: Sequence[str], paths: Sequence[str], ids: Sequence[str]
) -> UsageProblem:
    named = [" ".join(path.splitlines()) for path in paths[:_MAX_NAMED]]
    later = [task for task in _editors(snapshot, paths) if task not in ids]
    what = f"{', '.join(group)} cannot be taken out: conflict"
    if named:
        what += f" in {some_of(named, len(paths))}"
    if later:
        what += f", which {', '.join(later)} changed too"
        advice = f"undo them together:  {typed('undo', [*ids, *later])}"
    else:
        advice = "take it out by hand, then  fanin retry --redo  or  fanin skip"
    return UsageProblem(what, advice)


def _editors(snapshot: Snapshot, paths: Collection[str]) -> list[str]:
    """The completed tasks that changed some of the paths, as far as the records say."""
    records: Mapping[str, tuple[str, ...]] = {
        task.id: snapshot.progress.record(task).changed
        for task in snapshot.plan.tasks
        if snapshot.progress.has_landed(task)
    }
    return [
        task
        for task, changed in records.items()
        if not set(paths).isdisjoint(named_paths(changed) or ())
    ]
