"""Decides how the results of a batch become one tree: which can simply be united, which
need a real merge.

It decides and sequences; git's part arrives as `Trees`. Results are taken in plan
order. A conflict fails the later task and never picks a side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runner.core.manifest import BatchEntry
from runner.core.result import Failure, FailureKind
from runner.policy.change import Change
from runner.policy.rules import escaping

Blob = tuple[str, str]


class ConflictLike(Protocol):
    @property
    def paths(self) -> tuple[str, ...]: ...
    @property
    def messages(self) -> tuple[str, ...]: ...
    @property
    def hunks(self) -> str: ...


class Trees(Protocol):
    """What merging asks of git, all in one quarantine."""

    def write(self, base: str, changes: Mapping[str, Blob | None]) -> str: ...

    def merge(self, base: str, ours: str, theirs: str) -> str | ConflictLike: ...

    def changes(self, old: str, new: str) -> Sequence[Change]: ...


@dataclass(frozen=True)
class Candidate:
    """A result that policy let through: its tree, and what it changed from the base."""

    entry: BatchEntry
    tree: str
    changes: Sequence[Change]


@dataclass(frozen=True)
class Merged:
    """One candidate's fate: `tree` is the branch's tree once it is in, or `failure`
    says why it is not.
    """

    entry: BatchEntry
    tree: str | None = None
    failure: Failure | None = None


@dataclass
class _Touched:
    """Paths changed so far and the folders above them, to see at once whether the next
    result meets any.
    """

    # path → the id of the task that changed it
    paths: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    # path that was removed → who removed it
    gone: dict[str, str] = field(default_factory=dict)
    # path that was not in the base → by whom, what
    made: dict[str, tuple[str, Blob]] = field(default_factory=dict)

    def owners(self, paths: Iterable[str]) -> list[str]:
        """Who changed one of these paths, a folder where one is a file, or a file where
        one is a folder.
        """
        found: dict[str, None] = {}
        for path in paths:
            for owner in (
                self.paths.get(path),
                self.folders.get(path),
                *(self.paths.get(p) for p in folders_of(path)),
            ):
                if owner is not None:
                    found[owner] = None
        return list(found)

    def add(self, changes: Iterable[Change], owner: str) -> None:
        for change in changes:
            self.paths.setdefault(change.path, owner)
            for folder in folders_of(change.path):
                self.folders.setdefault(folder, owner)
            if change.new is None:
                self.gone.setdefault(change.path, owner)
                self.made.pop(change.path, None)
            elif change.old is None or change.path in self.made:
                first, _ = self.made.get(change.path, (owner, change.new))
                self.made[change.path] = (first, change.new)

    def strangers(self, changes: Sequence[Change]) -> dict[str, Blob]:
        """New files that a merge of these changes must not see, lest git take one for a
        moved file.

        One task removes x, another makes a similar z, a third edits x: git would move
        the edit to z without a word. A file moves only by the task that removes it, so
        what others made is left out, unless it is met anyway.
        """
        movers = {
            self.gone[change.path] for change in changes if change.path in self.gone
        }
        if not movers:
            return {}
        mine = _Touched()
        mine.add(changes, "")
        made = self.made.items()
        return {
            path: blob
            for path, (owner, blob) in made
            if owner not in movers and not mine.owners([path])
        }


def folders_of(path: str) -> Iterable[str]:
    """Every folder above a path, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def unite(
    base: str, head: str, candidates: Sequence[Candidate], trees: Trees, *, each: bool
) -> list[Merged]:
    """Bring the candidates into tree `head`, in order; `base` is the tree they all
    started from.

    `each`: give the tree after every single one (individual commits); otherwise only
    the last tree of a run of united results is written, and all of them carry it.
    """
    touched = _Touched()
    if base != head and any(candidate.changes for candidate in candidates):
        touched.add(trees.changes(base, head), "the branch")
    fates: list[Merged] = []
    tree, pending, waiting = head, dict[str, Blob | None](), list[BatchEntry]()

    def flush() -> str:
        nonlocal tree
        tree = trees.write(tree, pending) if pending else tree
        fates.extend(Merged(entry, tree) for entry in waiting)
        pending.clear()
        waiting.clear()
        return tree

    for candidate in candidates:
        entry, changes = candidate.entry, list(candidate.changes)
        owners = touched.owners(change.path for change in changes)
        if owners:
            flush()
            outcome = _merged(base, tree, candidate, touched.strangers(changes), trees)
            if not isinstance(outcome, str):
                fates.append(Merged(entry, failure=_conflict(entry, owners, outcome)))
                continue
            found = trees.changes(tree, outcome)
            if refused := escaping(entry.task, found):
                fates.append(Merged(entry, failure=refused))
                continue
            changes += found
            tree = outcome
            fates.append(Merged(entry, tree))
        else:
            pending |= {change.path: change.new for change in candidate.changes}
            waiting.append(entry)
            if each:
                flush()
        touched.add(changes, entry.task.id)
    flush()
    return fates


def meet(ours: Sequence[Change], paths: Iterable[str]) -> bool:
    """Whether one of the paths is among the changes, or is a folder where they have a
    file, or the other way round.
    """
    touched = _Touched()
    touched.add(ours, "ours")
    return bool(touched.owners(paths))


def _merged(
    base: str, ours: str, candidate: Candidate, apart: Mapping[str, Blob], trees: Trees
) -> str | ConflictLike:
    """The real merge, with the files `apart` out of its sight and back in its outcome."""
    if not apart:
        return trees.merge(base, ours, candidate.tree)
    outcome = trees.merge(base, trees.write(ours, dict.fromkeys(apart)), candidate.tree)
    return trees.write(outcome, apart) if isinstance(outcome, str) else outcome


def _conflict(
    entry: BatchEntry, owners: Sequence[str], conflict: ConflictLike
) -> Failure:
    told = "; ".join(conflict.messages) or f"in {', '.join(conflict.paths)}"
    return Failure(
        kind=FailureKind.CONFLICT,
        log_tail=conflict.hunks,
        message=f"{entry.task.id} conflicts with {', '.join(owners)}: {told}",
    )
