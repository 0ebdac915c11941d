"""The commands that a person types for work that did not land and that a ref keeps."""

from __future__ import annotations

import shlex


def look(ref: str) -> str:
    """The command that shows the work; it starts nothing that the repository names."""
    return f"git show --no-ext-diff --no-textconv {shlex.quote(ref)}"


def take(ref: str) -> str:
    """The command that takes the work into the branch that is checked out."""
    return f"git cherry-pick {shlex.quote(ref)}"
