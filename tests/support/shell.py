"""Shell text for agents, set-up and verify of tests."""

from __future__ import annotations

# git's options for a commit of a person: where tests run, git may know nobody.
AS_PERSON = "-c user.name=person -c user.email=person@example.org"


def until(condition: str) -> str:
    """Shell text that waits for a condition, and fails if it does not come."""
    return f"for i in $(seq 300); do {condition} && break; sleep 0.1; done; {condition}"
