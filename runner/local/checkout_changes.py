"""How two states of the repository differ, as events tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from runner.core.errors import GitFailed
from runner.core.outside_changes import OutsideChange, OutsideCommit, Part
from runner.repo import checkout_state
from runner.repo.checkout_state import CheckoutFiles, CheckoutState, Commit
from runner.repo.repository import Repository

BRANCHES = "refs/heads/"
_MAX_NAMES = 20  # of the names that one change has
_MAX_COMMITS = 20  # of the commits that one change has


class RefMove(NamedTuple):
    """A ref that was at `old` and is at `new`; None where it did not exist."""

    ref: str
    old: str | None
    new: str | None


def ref_moves(before: CheckoutState, after: CheckoutState) -> list[RefMove]:
    """The refs that moved, were made or are gone, by name."""
    old, new = before.refs or {}, after.refs or {}
    return [
        RefMove(ref, old.get(ref), new.get(ref))
        for ref in sorted({*old, *new})
        if old.get(ref) != new.get(ref)
    ]


def moved_ref(
    repo: Repository, move: RefMove, own: Sequence[str]
) -> tuple[OutsideChange, list[Commit]]:
    """The change that the move is, and its commits that are not in `own` ones, newest
    first; without those that git cannot read.
    """
    commits: list[Commit] = []
    count, rewritten = 0, False
    if move.new is not None and repo.commit(move.new) is not None:
        commits, count = _new_commits(repo, move, move.new, own)
        rewritten = move.old is not None and not checkout_state.follows(
            repo, move.old, move.new
        )
    is_branch = move.ref.startswith(BRANCHES)
    change = OutsideChange(
        part="branch" if is_branch else "ref",
        names=(move.ref.removeprefix(BRANCHES),),
        count=1,
        old=move.old,
        new=move.new,
        commits=tuple(outside_commit(commit) for commit in commits),
        commit_count=count,
        rewritten=rewritten,
    )
    return change, commits


def _new_commits(
    repo: Repository, move: RefMove, new: str, own: Sequence[str]
) -> tuple[list[Commit], int]:
    try:
        return checkout_state.new_commits(repo, move.old, new, own, _MAX_COMMITS)
    except GitFailed:
        # Anyone can make a commit whose parents do not exist. It must not hide what else
        # has changed.
        alone = checkout_state.readable_commit(repo, new)
        return alone, len(alone)


def outside_commit(commit: Commit) -> OutsideCommit:
    return OutsideCommit(
        commit=commit.commit, author=commit.author, subject=commit.subject
    )


def other_changes(
    files: CheckoutFiles, before: CheckoutState, after: CheckoutState
) -> list[OutsideChange]:
    """What changed besides refs and tracked files."""
    changes = []
    if before.head != after.head:
        old, new = _head_name(before.head), _head_name(after.head)
        changes.append(OutsideChange(part="head", old=old, new=new))
    if before.stash != after.stash:
        changes.append(OutsideChange(part="stash", count=1))
    if before.configuration != after.configuration:
        names = files.changed_settings(
            before.configuration or {}, after.configuration or {}
        )
        if names:
            changes.append(_named("configuration", names))
    if names := _differing(before.hooks or {}, after.hooks or {}):
        changes.append(_named("hooks", names))
    return changes


def files_changed(before: CheckoutState, after: CheckoutState) -> list[OutsideChange]:
    """The tracked files that differ from HEAD now and did not before."""
    paths = sorted(after.dirty - before.dirty)
    return [_named("files", paths)] if paths else []


def _named(part: Part, names: Sequence[str]) -> OutsideChange:
    return OutsideChange(part=part, names=tuple(names[:_MAX_NAMES]), count=len(names))


def _head_name(head: str) -> str | None:
    return head.removeprefix(BRANCHES) or None


def _differing(
    before: Mapping[Path, object], after: Mapping[Path, object]
) -> list[str]:
    paths = {*before, *after}
    return sorted(path.name for path in paths if before.get(path) != after.get(path))
