"""One changed path between two trees, and why one is refused."""

from __future__ import annotations

from dataclasses import dataclass

REGULAR, EXECUTABLE, SYMLINK, GITLINK = "100644", "100755", "120000", "160000"


@dataclass(frozen=True)
class Change:
    """One path a task changed. `old`/`new` are (mode, object id), None where the path
    is absent.

    `size` is the new blob's in bytes, `target` where a new symlink points.
    """

    path: str
    old: tuple[str, str] | None
    new: tuple[str, str] | None
    size: int = 0
    target: str | None = None


@dataclass(frozen=True)
class Refusal:
    path: str
    rule: str
    remedy: str
    # outside the task's own `files`, as against forbidden to every task
    scope: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.rule} ({self.remedy})"
