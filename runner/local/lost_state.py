"""Says in a sentence that `.git/fanin` is not as fanin has left it: deleted while it was
used, or not readable.
"""

from __future__ import annotations

from pathlib import Path

from runner.core.errors import EnvironmentBroken


def deleted(folder: Path, error: Exception) -> EnvironmentBroken | None:
    """What to say instead of the error if its cause is that the folder, or something in
    it, was deleted; None if that is not so.

    Only while the lock is held: its file is then there.
    """
    missing = None
    if isinstance(error, FileNotFoundError | NotADirectoryError) and error.filename:
        name = Path(str(error.filename))
        missing = name if name.is_relative_to(folder) else None
    for path in (folder / "lock", folder):
        if not path.exists():
            missing = path
    if missing is None:
        return None
    return EnvironmentBroken(
        f"{missing} was deleted while fanin used it",
        "what has landed is safe, and what had finished and not landed runs again: "
        "fanin run\nleave that folder alone while fanin runs",
    )


def unusable(error: OSError, path: Path) -> EnvironmentBroken:
    """What to say if a file or folder of the state cannot be read or made."""
    return EnvironmentBroken(
        f"cannot use {error.filename or path}: {error.strerror}",
        "it is fanin's own state: fix its permissions, or move it away; what has landed "
        "is safe",
    )
