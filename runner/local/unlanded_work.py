"""Whether finished work still waits on a branch of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.local.journal import WaitingWork
    from runner.repo.repository import Repository


def has_unlanded_work(repo: Repository, waiting: WaitingWork) -> bool:
    """Whether the waiting branch holds work that its target lacks."""
    tip = repo.commit(f"refs/heads/{waiting.branch}")
    if tip is None:
        return False
    target = repo.commit(f"refs/heads/{waiting.target}")
    return target is None or not repo.is_ancestor(tip, target)
