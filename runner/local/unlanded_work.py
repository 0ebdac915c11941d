"""What landings have left: work that waits on a branch of its own, and files of one that
was interrupted.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.local.journal import Journal
    from runner.local.journal_state import WaitingWork
    from runner.repo.repository import Repository


def has_unlanded_work(repo: Repository, waiting: WaitingWork) -> bool:
    """Whether the waiting branch holds work that its target lacks."""
    tip = repo.commit(f"refs/heads/{waiting.branch}")
    if tip is None:
        return False
    target = repo.commit(f"refs/heads/{waiting.target}")
    return target is None or not repo.is_ancestor(tip, target)


def undo_interrupted_landings(
    repo: Repository, journal: Journal, note: Callable[[str], object]
) -> None:
    """Undo the landings that failed or were killed, and note what cannot be undone.
    Only under the lock.
    """
    from runner.repo import work_tree

    state = journal.state()
    # the newest first
    failed = [*state.undo, state.landing] if state.landing else state.undo
    for landing in reversed(failed):
        for path in work_tree.undo_interrupted(repo, landing):
            note(f"{path} has neither its old nor its new content; it was not changed")
    if state.undo:
        journal.record("undone")


def waiting_sentence(waiting: WaitingWork, checked_out: str | None) -> str:
    """The sentence about finished work that could not reach its branch, and the command
    that takes it there from a work tree with the branch `checked_out`.
    """
    branch, target = waiting.branch, waiting.target
    merge = f"git merge --ff-only {shlex.quote(branch)}"
    if target == checked_out:
        return f"finished work waits on {branch}; to take it:  {merge}"
    return (
        f"finished work for {target} waits on {branch}; to take it:  "
        f"git switch {shlex.quote(target)} && {merge}"
    )
