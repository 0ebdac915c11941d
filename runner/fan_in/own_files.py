"""The files of a branch that fanin itself writes: the progress, and those of the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from runner.policy import globs
from runner.repo.quarantine import Quarantine

IsOwn = Callable[[str], bool]


def own_files(never: Sequence[str], progress_path: str) -> IsOwn:
    """Whether a path is one of them. `never` are the globs that no task may change
    (`task_rules.never_changed`).
    """
    return partial(globs.matches, (*never, globs.literal(progress_path)))


def with_own_files_of(
    quarantine: Quarantine, tree: str, other: str, is_own: IsOwn
) -> str:
    """The tree with fanin's own files as they are in the tree `other`."""
    trees = quarantine.tree_reader()
    changed = [path for path in quarantine.changed_paths(tree, other) if is_own(path)]
    if not changed:
        return tree
    return quarantine.write_tree(
        tree, {path: trees.find(other, path) for path in changed}
    )
