"""Takes what has landed on the base since into a run's branch, by a merge commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.core.errors import UsageProblem
from runner.core.plurals import some_of
from runner.repo.merge_trees import Conflict, merge_commits

if TYPE_CHECKING:
    from runner.repo.repository import Repository

_NAMED_PATHS = 5


class BaseConflicts(UsageProblem):
    """The base has changed what the run has changed as well."""


def base_conflicts(
    base: str, branch: str, paths: str = "the same lines"
) -> BaseConflicts:
    """The error where both have changed `paths`."""
    return BaseConflicts(
        f"{base} and {branch} have both changed {paths}, so the run cannot take in what "
        "has landed meanwhile, and ends here",
        f"merge them by hand:  git switch {branch} && git merge {base}  , push the branch "
        "and run again",
    )


def with_base(
    repo: Repository, branch: str, head: str, base: str, tip: str, run: str
) -> str:
    """The commit of `branch` that has all of its `head` and of the base's `tip`.

    That is one of the two where it has the other, else a new merge commit of the `run`.
    BaseConflicts if git cannot merge them; all their history must be there.
    """
    if repo.is_ancestor(tip, head):
        return head
    if repo.is_ancestor(head, tip):
        return tip
    merged = merge_commits(repo.git, repo.tree_reader(), [head, tip])
    if isinstance(merged, Conflict):
        paths = some_of(merged.paths[:_NAMED_PATHS], len(merged.paths))
        raise base_conflicts(base, branch, paths)
    message = f"Merge {base} into {branch}\n\nFanin-Run: {run}\n"
    return repo.commit_tree(merged, [head, tip], message)
