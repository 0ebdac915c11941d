"""Decides how the results of a batch become one tree: disjoint results are united,
overlapping ones need a real merge.

Pure: the caller passes the git operations as `Trees`. Results are taken in plan order.
A conflict fails the later task and never picks a side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from runner.core.manifest import BatchEntry
from runner.core.plurals import some_of
from runner.core.result import Failure, FailureKind
from runner.policy.change import Change
from runner.policy.rules import escaping_links

Blob = tuple[str, str]  # (file mode, object id)
THE_BRANCH = "the branch"  # an owner that is no task
_MAX_NAMED_PATHS = 3
# What git says of an edit of both sides.
_USUAL = re.compile(r"CONFLICT \(content\): Merge conflict in ")


class ConflictLike(Protocol):
    """A merge that git could not do."""

    @property
    def paths(self) -> tuple[str, ...]: ...
    @property
    def messages(self) -> tuple[str, ...]: ...
    @property
    def hunks(self) -> str: ...


LandedBy = Callable[[str], str | None]  # path → task id
# (task id, changes) → why the task may not make them
Refuse = Callable[[str, Sequence[Change]], Failure | None]


def _nobody(_path: str) -> None:
    return None


def _nothing(_task: str, _changes: Sequence[Change]) -> None:
    return None


class Trees(Protocol):
    """The git operations of a merge, in one quarantine. Trees are object ids."""

    def write_tree(self, base: str, changes: Mapping[str, Blob | None]) -> str:
        """Write `base` with these paths changed; None deletes a path."""
        ...

    def merge_trees(self, base: str, ours: str, theirs: str) -> str | ConflictLike:
        """Return the merged tree, or the conflict."""
        ...

    def changes(self, old: str, new: str) -> Sequence[Change]:
        """Compare two trees, path by path."""
        ...


class Candidate(NamedTuple):
    """A result that the policy accepted: its tree, and its changes from the base."""

    entry: BatchEntry
    tree: str
    changes: Sequence[Change]


class MergeOutcome(NamedTuple):
    """The outcome for one candidate: `tree` is the branch's tree with its work merged,
    or `failure` says why it is not merged.
    """

    entry: BatchEntry
    tree: str | None = None
    failure: Failure | None = None


@dataclass
class _ChangedPaths:
    """Paths changed so far, indexed so that an overlap is seen without a search.

    An owner is a task id, or `THE_BRANCH`.
    """

    owners: dict[str, str] = field(default_factory=dict)  # path → owner
    folder_owners: dict[str, str] = field(default_factory=dict)  # any parent → owner
    deleted: dict[str, str] = field(default_factory=dict)  # path → owner
    # path that the base lacks → (owner, blob)
    created: dict[str, tuple[str, Blob]] = field(default_factory=dict)

    def owners_of(self, paths: Iterable[str]) -> list[str]:
        """The owners whose changes overlap with the paths.

        A file overlaps with itself, and with a folder of the same name.
        """
        # a dict, to keep the order
        owners: dict[str, None] = {}
        for path in paths:
            path_owners = [self.owners.get(path), self.folder_owners.get(path)]
            path_owners += [self.owners.get(folder) for folder in parent_folders(path)]
            for owner in path_owners:
                if owner is not None:
                    owners[owner] = None
        return list(owners)

    def add(self, changes: Iterable[Change], owner: str) -> None:
        """Record changes. The first owner of a path stays its owner."""
        for change in changes:
            self.owners.setdefault(change.path, owner)
            for folder in parent_folders(change.path):
                self.folder_owners.setdefault(folder, owner)
            if change.new is None:
                self.deleted.setdefault(change.path, owner)
                self.created.pop(change.path, None)
            elif change.old is None or change.path in self.created:
                creator, _ = self.created.get(change.path, (owner, change.new))
                self.created[change.path] = (creator, change.new)

    def unrelated_files(self, changes: Sequence[Change]) -> dict[str, Blob]:
        """New files to hide from a merge of these changes, because git might take one
        for the new name of a file that they change.

        One task deletes x, another creates a similar z, a third edits x: git would
        silently apply the edit to z. Only the task that deletes a file can have moved
        it, so the files that other tasks created are hidden, unless these changes
        overlap with them.
        """
        deleters = set()
        for change in changes:
            if change.path in self.deleted:
                deleters.add(self.deleted[change.path])
        if not deleters:
            return {}
        own = _ChangedPaths()
        own.add(changes, "")
        unrelated = {}
        for path, (owner, blob) in self.created.items():
            if owner not in deleters and not own.owners_of([path]):
                unrelated[path] = blob
        return unrelated


def parent_folders(path: str) -> Iterable[str]:
    """Yield every folder above a path, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def overlaps(changes: Sequence[Change], paths: Iterable[str]) -> bool:
    """Whether the changes and the paths have a file in common, or one has a folder
    where the other has a file.
    """
    changed = _ChangedPaths()
    changed.add(changes, "")
    return bool(changed.owners_of(paths))


def unite(
    base: str,
    head: str,
    candidates: Sequence[Candidate],
    trees: Trees,
    *,
    tree_per_task: bool,
    landed_by: LandedBy = _nobody,
    refuse: Refuse = _nothing,
) -> list[MergeOutcome]:
    """Merge the candidates into tree `head`, in order. Returns an outcome for each.

    `base` is the tree that all of them started from; `landed_by` names the task that has
    changed a path of the branch since. `refuse` says why a task may not make changes;
    it is asked where git applies an edit to a file that another task has renamed. With
    `tree_per_task` the tree is written after every task (for individual commits);
    without it, disjoint results in a row share the tree that has them all.
    """
    union = _Union(base, head, trees, landed_by, refuse)
    if base != head and any(candidate.changes for candidate in candidates):
        union.changed.add(trees.changes(base, head), THE_BRANCH)
    for candidate in candidates:
        paths = [change.path for change in candidate.changes]
        owners = union.changed.owners_of(paths)
        if owners:
            union.merge(candidate, owners)
            continue
        union.add(candidate)
        if tree_per_task:
            union.write()
    union.write()
    return union.outcomes


class _Union:
    """The tree as it grows, and the disjoint changes that are not written yet."""

    def __init__(
        self, base: str, head: str, trees: Trees, landed_by: LandedBy, refuse: Refuse
    ) -> None:
        self.outcomes: list[MergeOutcome] = []
        self.changed = _ChangedPaths()
        self._base = base
        self._tree = head
        self._trees = trees
        self._landed_by = landed_by
        self._refuse = refuse
        self._editors: dict[str, list[str]] = {}  # path → the tasks that changed it
        self._unwritten: dict[str, Blob | None] = {}
        self._unwritten_entries: list[BatchEntry] = []

    def add(self, candidate: Candidate) -> None:
        """Add changes that overlap with nothing, to be written with the next tree."""
        for change in candidate.changes:
            self._unwritten[change.path] = change.new
        self._unwritten_entries.append(candidate.entry)
        self._record(candidate.changes, candidate.entry.task.id)

    def _record(self, changes: Sequence[Change], task_id: str) -> None:
        self.changed.add(changes, task_id)
        for change in changes:
            self._editors.setdefault(change.path, []).append(task_id)

    def write(self) -> None:
        """Write the tree with all changes added so far."""
        if self._unwritten:
            self._tree = self._trees.write_tree(self._tree, self._unwritten)
        for entry in self._unwritten_entries:
            self.outcomes.append(MergeOutcome(entry, self._tree))
        self._unwritten = {}
        self._unwritten_entries = []

    def merge(self, candidate: Candidate, owners: Sequence[str]) -> None:
        """Merge changes that overlap with those of `owners`, or record the conflict."""
        self.write()
        entry = candidate.entry
        hidden = self.changed.unrelated_files(candidate.changes)
        merged = self._merged_tree(candidate, hidden)
        if not isinstance(merged, str):
            failure = _conflict(self._named(owners, merged.paths), merged)
            self.outcomes.append(MergeOutcome(entry, failure=failure))
            return
        merged_changes = self._trees.changes(self._tree, merged)
        # a link that pointed inside the tree may point outside once git has moved it
        refusal = escaping_links(merged_changes)
        refusal = refusal or self._refused_renames(candidate, owners, merged_changes)
        if refusal is not None:
            self.outcomes.append(MergeOutcome(entry, failure=refusal))
            return
        self._tree = merged
        self.outcomes.append(MergeOutcome(entry, merged))
        self._record([*candidate.changes, *merged_changes], entry.task.id)

    def _refused_renames(
        self, candidate: Candidate, owners: Sequence[str], merged: Sequence[Change]
    ) -> Failure | None:
        """The conflict if git applied an edit to a renamed file that its task may not
        change: the candidate's edit to a file that others renamed, or theirs to a file
        that the candidate renamed.
        """
        own = {change.path: change for change in candidate.changes}
        followed = [change for change in merged if change.path not in own]
        edited_by_others = [
            change
            for change in merged
            if change.path in own
            and change.new is not None
            and change.new != own[change.path].new
            and change.path not in self.changed.owners
        ]
        reviews = [(candidate.entry.task.id, followed)]
        reviews += [(task, edited_by_others) for task in self._editors_of_deleted(own)]
        for task_id, changes in reviews:
            refusal = self._refuse(task_id, changes) if changes else None
            if refusal is not None:
                return self._refused_rename(owners, task_id, changes, refusal)
        return None

    def _editors_of_deleted(self, own: Mapping[str, Change]) -> list[str]:
        """The tasks that changed files which the candidate deletes or renames."""
        editors: list[str] = []
        for path, change in own.items():
            if change.new is not None:
                continue
            editors += self._editors.get(path, [])
            if landed := self._landed_by(path):
                editors.append(landed)
        return list(dict.fromkeys(editors))

    def _refused_rename(
        self,
        owners: Sequence[str],
        task_id: str,
        changes: Sequence[Change],
        refusal: Failure,
    ) -> Failure:
        paths = tuple(change.path for change in changes)
        first = conflict_sentence(self._named(owners, paths), paths)
        reason = f"{task_id}'s edit would go into a renamed file: {refusal.message}"
        message = f"{first}\n{reason}"
        return Failure(kind=FailureKind.CONFLICT, message=message, paths=paths)

    def _named(self, owners: Sequence[str], paths: Sequence[str]) -> list[str]:
        """The owners, the branch by the tasks whose work on these paths it has."""
        names = [owner for owner in owners if owner != THE_BRANCH]
        if THE_BRANCH in owners:
            landed = [task for path in paths if (task := self._landed_by(path))]
            names += landed or [THE_BRANCH]
        return list(dict.fromkeys(names))

    def _merged_tree(
        self, candidate: Candidate, hidden: Mapping[str, Blob]
    ) -> str | ConflictLike:
        """Merge without the `hidden` files, and put them back into the merged tree."""
        if not hidden:
            return self._trees.merge_trees(self._base, self._tree, candidate.tree)
        ours = self._trees.write_tree(self._tree, dict.fromkeys(hidden))
        merged = self._trees.merge_trees(self._base, ours, candidate.tree)
        if not isinstance(merged, str):
            return merged
        return self._trees.write_tree(merged, hidden)


def _conflict(owners: Sequence[str], conflict: ConflictLike) -> Failure:
    message = conflict_sentence(owners, conflict.paths)
    # What kind of conflict it is; the paths of a usual one say enough.
    unusual = [text for text in conflict.messages if not _USUAL.match(text)]
    return Failure(
        kind=FailureKind.CONFLICT,
        log_tail=conflict.hunks,
        message="\n".join([message, *unusual]),
        paths=conflict.paths,
    )


def conflict_sentence(owners: Sequence[str], paths: Sequence[str]) -> str:
    """What conflicts with what, e.g. `conflict with T1 in CHANGELOG.md`."""
    if not paths:
        return f"conflict with {', '.join(owners)}"
    # The name of a file may have more than one line.
    named = [" ".join(path.splitlines()) for path in paths[:_MAX_NAMED_PATHS]]
    where = some_of(named, len(paths))
    return f"conflict with {', '.join(owners)} in {where}"
