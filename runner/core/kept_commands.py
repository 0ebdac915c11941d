"""The commands that a person types for work that did not land and that a ref keeps."""

from __future__ import annotations

import shlex

from runner.core.fanin_commands import typed


def look(ref: str) -> str:
    """The command that shows the work; it starts nothing that the repository names."""
    return f"git show --no-ext-diff --no-textconv {shlex.quote(ref)}"


def take(ref: str, task_id: str, *, own_branch: bool) -> str:
    """The command that takes the work into the branch that work lands on.

    `own_branch`: that is one of the run's own, which no person has checked out.
    """
    if own_branch:
        return typed("accept", [task_id], f"--from {shlex.quote(ref)}")
    return f"git cherry-pick {shlex.quote(ref)}"
