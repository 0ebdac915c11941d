"""Whether walls keep the agents of a run away from the repository."""

from __future__ import annotations


def walls_stand() -> bool:
    """Whether no agent of this machine can write into the repository itself."""
    return False
