"""Which changes of a batch's results may land, asked of `policy.rules` with what git
knows: attributes, ignored paths, names in the head.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, partial
from typing import NamedTuple

from runner.core.limits import NO_LIMITS
from runner.core.manifest import Manifest
from runner.core.result import Failure
from runner.core.task import Task
from runner.fan_in.spelled_alike import spelled_alike
from runner.policy import git_files, paths, rules
from runner.policy.change import REGULAR, Change, Refusal
from runner.policy.git_files import Fault
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository

# .gitignore and .gitattributes of one result that are looked into; each costs a few
# git processes.
_MAX_GIT_FILES = 20


class Judged(NamedTuple):
    """What of a result may land: the tree and the changes without what is left out, and
    why the policy refuses them all, or None.
    """

    tree: str
    changes: Sequence[Change]
    left_out: Sequence[Refusal]
    refusal: Failure | None


class ChangeReview:
    """The review of a batch's results. What is accepted counts for those after it."""

    def __init__(
        self,
        repo: Repository,
        quarantine: Quarantine,
        manifest: Manifest,
        base_tree: str,
        head_tree: str,
        imported: Mapping[str, Sequence[Change]],
    ) -> None:
        """`imported` is tree → its changes to the base, of the results imported so far."""
        self.repo, self.quarantine, self.manifest = repo, quarantine, manifest
        self.base_tree, self.head_tree = base_tree, head_tree
        self._imported = imported
        self._spellings = paths.Spellings([])
        self._accepted_paths: list[str] = []

    def changes_to(self, tree: str) -> Sequence[Change]:
        """The changes from the base to the tree."""
        changes = self._imported.get(tree)
        if changes is None:
            changes = self.quarantine.changes(self.base_tree, tree)
        return changes

    def check(
        self,
        task: Task,
        changes: Sequence[Change],
        *,
        spellings: paths.Spellings | None = None,
        filtered: Sequence[str] = (),
        harmless: Collection[str] = (),
        warned: list[str] | None = None,
    ) -> Failure | None:
        """`rules.check` by the batch's settings."""
        return rules.check(
            task,
            changes,
            protected=self.manifest.protected,
            never=self.manifest.never,
            limits=self.manifest.limits,
            spellings=spellings,
            filtered=filtered,
            harmless=harmless,
            scope=self.manifest.scope,
            warned=warned,
        )

    def may_be_accepted(self, task: Task, tree: str) -> bool:
        """Whether a person may let all of the tree land: nothing in it is refused but for
        the task's files, the limits or a protected path.
        """
        changes = self.changes_to(tree)
        lifted = task.model_copy(update={"files": ("**",), "allow": ("**",)})
        refusal = rules.check(
            lifted,
            changes,
            protected=(),
            never=self.manifest.never,
            limits=NO_LIMITS,
            filtered=self._filtered(tree, changes),
        )
        return refusal is None

    def accept(self, judged: Judged) -> None:
        """Let the changes land: the results after it must fit to them."""
        changed_paths = [change.path for change in judged.changes]
        self._accepted_paths += changed_paths
        if _has_attributes(changed_paths):
            self._attribute_trees.append(judged.tree)

    def judge(
        self, task: Task, tree: str | None, warned: list[str] | None = None
    ) -> Judged:
        """What of the result's tree may land; None is the base's. With `warned`, it is to land now: its new names
        must not clash with others, and warnings are added.
        """
        tree = tree or self.base_tree
        changes = self.changes_to(tree)
        faults = self._git_file_faults(tree, changes)
        left_out = rules.left_out(
            task,
            changes,
            protected=self.manifest.protected,
            never=self.manifest.never,
            limits=self.manifest.limits,
            faults=faults,
        )
        if left_out:
            tree, changes = self._without(tree, changes, left_out)
        spellings = None
        if changes and warned is not None:
            spellings = self._spellings_beside(changes)
        refusal = self.check(
            task,
            changes,
            harmless=[path for path, fault in faults.items() if fault is None],
            spellings=spellings,
            filtered=self._filtered(tree, changes),
            warned=warned,
        )
        return Judged(tree, changes, left_out, refusal)

    def _git_file_faults(
        self, tree: str, changes: Sequence[Change]
    ) -> dict[str, Fault | None]:
        """Why a .gitignore or .gitattributes may not be changed as it was, by path;
        None for one that may.
        """
        changed = [each for each in changes if git_files.is_git_file(each.path)]
        if not changed or len(changed) > _MAX_GIT_FILES:
            return {}
        faults: dict[str, Fault | None] = {}
        for change in changed:
            old, new = (self._small_text(side) for side in (change.old, change.new))
            if old is None or new is None:
                faults[change.path] = Fault("cannot be looked into", needed=True)
                continue
            folder = change.path.rpartition("/")[0]
            faults[change.path] = git_files.fault(
                change.path,
                old,
                new,
                partial(self._ignored, tree, folder),
                partial(self._has_carriage_returns, tree, folder),
            )
        return faults

    def _has_carriage_returns(self, tree: str, folder: str) -> bool:
        """Whether a text file below the folder has some, in this tree or in what it
        lands with: the head, and the other results of the batch.
        """
        trees = dict.fromkeys((tree, self.head_tree, *self._imported))
        return any(self.quarantine.has_carriage_returns(each, folder) for each in trees)

    def _ignored(self, tree: str, folder: str, patterns: Sequence[str]) -> list[str]:
        git = self.quarantine.git
        ignored = self.repo.ignored_paths(tree, folder, patterns, git)
        return ignored + self.repo.ignored_paths(self.head_tree, folder, patterns, git)

    def _small_text(self, blob: tuple[str, str] | None) -> bytes | None:
        """The content of an ordinary file, b"" of none, None if it is another object."""
        if blob is None:
            return b""
        mode, object_id = blob
        (info,) = self.quarantine.infos([object_id])
        is_small = info is not None and info.size <= git_files.MAX_BYTES
        if mode != REGULAR or not is_small:
            return None
        ((_, data),) = self.quarantine.read([object_id])
        return data

    def _without(
        self, tree: str, changes: Sequence[Change], left_out: Sequence[Refusal]
    ) -> tuple[str, list[Change]]:
        """The tree and the changes without these, which are as they were."""
        paths = {refusal.path for refusal in left_out}
        before = {change.path: change.old for change in changes if change.path in paths}
        remaining = [change for change in changes if change.path not in paths]
        return self.quarantine.write_tree(tree, before), remaining

    def _filtered(self, tree: str, changes: Sequence[Change]) -> list[str]:
        """The paths that git stores through a filter, by the attributes of the base, of
        the head, of this result or of another one of the batch.

        Attributes that a result changes count for every file: one that was stored as it
        is would differ from its commit in every checkout.
        """
        changed = [change.path for change in changes]
        filtered = self.repo.filtered_paths(self.base_tree, changed)
        for other in self._attribute_trees:
            filtered += self._filtered_in(other, changed)
        if _has_attributes(changed):
            names = self.quarantine.paths(tree)
            before = self.repo.filtered_paths(self.base_tree, names)
            now = self._filtered_in(tree, [*names, *self._accepted_paths])
            filtered += sorted(set(now) - set(before))
        return list(dict.fromkeys(filtered))

    def _filtered_in(self, tree: str, names: Sequence[str]) -> list[str]:
        return self.repo.filtered_paths(tree, names, self.quarantine.git)

    @cached_property
    def _attribute_trees(self) -> list[str]:
        """Trees with other attributes than the base: the head's, and accepted ones."""
        if self.head_tree == self.base_tree:
            return []
        changes = self.quarantine.changes(self.base_tree, self.head_tree)
        changed = _has_attributes([change.path for change in changes])
        return [self.head_tree] if changed else []

    def _spellings_beside(self, changes: Sequence[Change]) -> paths.Spellings:
        """The names in the head that an added path may clash with, those that fanin will
        write, and those of each change that the policy accepts.
        """
        added = [change.path for change in changes if change.is_added]
        trees = self.quarantine.tree_reader()
        self._spellings.add(spelled_alike(trees, self.head_tree, added))
        self._spellings.add([self.manifest.progress])
        return self._spellings


def _has_attributes(changed_paths: Sequence[str]) -> bool:
    return any(path.rpartition("/")[2] == ".gitattributes" for path in changed_paths)
