"""What Landlock grants for the rules of a program.

Landlock can only allow, and what it allows of a folder it allows of all that is below.
So where something below is hidden, the entries beside it are allowed one by one, as they
are when the program starts. What comes later to such a folder cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.sandbox import landlock
from runner.sandbox.rules import (
    SHARED_MEMORY,
    Access,
    Rules,
    is_in_shared_memory,
    parents,
)

Grant = tuple[str, int]
_READ_AND_WRITE = landlock.READ | landlock.WRITE_FILE
# What programs write to that is no file of anybody's.
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")


def inside_bubblewrap(rules: Rules) -> list[Grant]:
    """What may be written; what is hidden, the mounts hide."""
    grants = [
        ("/", landlock.READ),
        ("/dev", landlock.WRITE),
        ("/proc", _READ_AND_WRITE),
    ]
    grants += [(path, landlock.WRITE) for path in rules.shared_temporary]
    for path, access in rules.rules.items():
        if access:
            grants.append((path, _rights(access)))
    return grants


def alone(rules: Rules, entries: Callable[[str], Sequence[str]]) -> list[Grant]:
    """What may be read and written. `entries` are the paths in a folder, () if it cannot
    be listed.

    Of the devices only those are granted that all programs use: the user may be allowed to
    read a disk, a keyboard or a camera.

    Folders can be listed everywhere: of a folder with something hidden in it that right
    cannot be had without all that is below.
    """
    grants = [("/", landlock.READ_DIR)]
    grants += [(f"/dev/{name}", landlock.WRITE) for name in _DEVICES]
    if not _closes_in_shared_memory(rules):
        grants.append((SHARED_MEMORY, landlock.WRITE))
    rules = rules._replace(rules={"/dev": Access.HIDDEN, **rules.rules})
    divided = _divided(rules)
    waiting = ["/", *rules.rules]
    while waiting:
        path = waiting.pop()
        access = rules.access(path)
        if not access:
            continue
        if path not in divided:
            grants.append((path, _rights(access)))
            continue
        # those with a rule of their own are waiting
        waiting += [entry for entry in entries(path) if entry not in rules.rules]
    return grants


def _closes_in_shared_memory(rules: Rules) -> bool:
    """Whether less than writing is allowed of something there, such as a repository."""
    return any(
        is_in_shared_memory(path) and access is not Access.WRITE
        for path, access in rules.rules.items()
    )


def _divided(rules: Rules) -> set[str]:
    """The folders that cannot be granted as a whole, as less is allowed below."""
    divided: set[str] = set()
    for path, access in rules.rules.items():
        for folder in parents(path):
            if rules.access(folder) > access:
                divided.add(folder)
    return divided


def _rights(access: Access) -> int:
    rights = landlock.WRITE if access is Access.WRITE else landlock.READ
    return rights | landlock.RESOLVE_UNIX
