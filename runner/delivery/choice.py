"""Decides whether a run that delivers by pull request starts a branch or goes on with one.

Pure. Whether a branch has work that the base lacks is said by its progress, not by its
history: then a merge, a squash and a rebase are the same.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from runner.core.errors import UsageProblem

if TYPE_CHECKING:
    from runner.github_api.pulls import Pull

PREFIX = "fanin/"
HELD_PREFIX = "fanin/held/"

# What a person wants done with a pull request that was closed without a merge.
ClosedPull = Literal["reopen", "abandon"]


class RunBranch(NamedTuple):
    """A run's own branch, and its pull request if it has one.

    `is_ahead`: whether its progress records work that the base's does not.
    """

    name: str
    commit: str
    is_ahead: bool
    pull: Pull | None = None

    @property
    def has_open_work(self) -> bool:
        """Whether the base lacks work of the branch that nobody has merged.

        What was merged and then reverted on the base is not open any more.
        """
        if not self.is_ahead:
            return False
        pull = self.pull
        return pull is None or pull.state != "merged" or pull.commit != self.commit

    @property
    def is_closed(self) -> bool:
        """Whether a person has closed its pull request without merging it."""
        return self.pull is not None and self.pull.state == "closed"


class Choice(NamedTuple):
    """The branch to go on with, None for a new one; first `reopen` or `abandon` these."""

    branch: RunBranch | None = None
    reopen: tuple[RunBranch, ...] = ()
    abandon: tuple[RunBranch, ...] = ()


def is_own(branch: str) -> bool:
    """Whether a branch is one that runs make for their work.

    Not those with a batch that is held: nothing else lands there.
    """
    return branch.startswith(PREFIX) and not branch.startswith(HELD_PREFIX)


def new_branch(run: str, taken: Container[str]) -> str:
    """The name of the own branch of a new run; `taken` are those that are there.

    A run goes on under its id after its first branch was merged.
    """
    name, number = f"{PREFIX}{run}", 1
    while name in taken:
        number += 1
        name = f"{PREFIX}{run}-{number}"
    return name


def choose(
    branches: Sequence[RunBranch], base: str, answer: ClosedPull | None, remedy: str
) -> Choice:
    """Choose the branch of a run whose work goes to `base`.

    `remedy` says how to answer where a pull request was closed. UsageProblem if one was
    and there is no `answer`, if there is an answer and none was, and if two branches
    have open work.
    """
    with_work = [branch for branch in branches if branch.has_open_work]
    closed = tuple(branch for branch in with_work if branch.is_closed)
    if closed and answer is None:
        raise _closed_unmerged(closed[0], base, remedy)
    if answer is not None and not closed:
        raise UsageProblem(
            f"there is nothing to {answer}: no pull request into {base} was closed with "
            "work that it lacks",
            f"leave out --{answer}",
        )
    going_on = with_work
    if answer == "abandon":
        going_on = [branch for branch in with_work if not branch.is_closed]
    if len(going_on) > 1:
        raise _several(going_on, base)
    branch = going_on[0] if going_on else None
    if answer == "abandon":
        return Choice(branch, abandon=closed)
    return Choice(branch, reopen=closed)


def _closed_unmerged(branch: RunBranch, base: str, remedy: str) -> UsageProblem:
    assert branch.pull is not None
    return UsageProblem(
        f"the pull request {branch.pull.url} was closed, and {base} lacks the work of "
        f"its branch {branch.name}",
        remedy,
    )


def _several(branches: Sequence[RunBranch], base: str) -> UsageProblem:
    names = " and ".join(branch.name for branch in branches)
    return UsageProblem(
        f"{base} lacks the work of {names}, and a run goes on with one branch",
        "merge the pull request of one of them, or delete its branch to drop its work",
    )
