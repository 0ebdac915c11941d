"""Recognises in the log of a program what the walls have refused. Pure but for the names
that it looks up.

The walls say nothing themselves: a program sees an error of the system, and prints it or
not. So this can only be a guess, made where a path that the rules close stands in a line
with such an error.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from runner.core.result import Failure
from runner.sandbox.rules import Access, Rules, is_in_shared_memory

_ERRORS = re.compile(
    r"permission denied|read-only file system|operation not permitted"
    r"|\b(?:eacces|erofs|eperm)\b",
    re.IGNORECASE,
)
_MISSING = re.compile(r"no such file|not found|cannot find|\benoent\b", re.IGNORECASE)
_PATH = re.compile(r"""(?<![\w./-])(?:~|/)[^\s'"`:;,()<>\[\]{}|]*""")
# Sentences of programs that mean a socket → the kind of it.
_SOCKETS = {
    "cannot connect to the docker daemon": "docker",
    "docker daemon socket": "docker",
    "host key verification failed": "ssh-agent",
    "permission denied (publickey": "ssh-agent",
    "error connecting to agent": "ssh-agent",
}
_LAST_LINES = 200  # of a log that are looked at
_LONGEST = 300  # characters of a line that is looked at


def explained(failure: Failure, tail: str, rules: Rules | None) -> Failure:
    """The failure, which also says what the walls have refused, if that can be known
    from the end of the log.
    """
    if rules is None:
        return failure
    sentence = refused(tail, rules, str(Path.home()))
    if not sentence:
        return failure
    message = f"{failure.message}; {sentence}"
    return failure.model_copy(update={"message": message})


def refused(tail: str, rules: Rules, home: str) -> str:
    """What the walls have refused, and the setting that opens it; "" if nothing shows."""
    for line in reversed(tail.splitlines()[-_LAST_LINES:]):
        lower = line[:_LONGEST].lower()
        for sentence, kind in _SOCKETS.items():
            if sentence in lower:
                setting = f"sandbox: {{sockets: [{kind}]}}"
                return f"the walls refused {kind}; to open it:  {setting}"
        if _ERRORS.search(lower) or _MISSING.search(lower):
            is_denied = bool(_ERRORS.search(lower))
            for path in _PATH.findall(line[:_LONGEST]):
                if text := _refused_path(path, rules, home, is_denied=is_denied):
                    return text
    return ""


def _can_write(path: str) -> bool:
    """Whether this process can write to the path, or make it."""
    existing = Path(path) if os.path.lexists(path) else Path(path).parent
    return os.access(existing, os.W_OK)


def _refused_path(path: str, rules: Rules, home: str, *, is_denied: bool) -> str:
    """The sentence about a path in a line with an error; "" if the rules allow it."""
    named = path.replace("~", home, 1) if path[0] == "~" else path
    # a program's own home has links to the person's
    full = os.path.realpath(named)
    access = rules.access(full)
    if is_in_shared_memory(full):
        # Without a rule it is not there.
        without = Access.READ if is_denied else Access.HIDDEN
        covering = rules.covering(full)
        access = without if covering is None else covering
    elif full.startswith(("/dev/", "/proc/")) or full == "/":
        return ""
    if access is Access.WRITE:
        return ""
    if access is Access.READ and not (is_denied and _can_write(full)):
        return ""  # it is so without walls too
    if access is Access.HIDDEN and not os.path.lexists(full):
        return ""
    verb, key = ("read", "read") if access is Access.HIDDEN else ("write to", "write")
    shown = full
    if full.startswith(f"{home}/"):
        shown = f"~{full.removeprefix(home)}"
    return f"the walls refused to {verb} {shown}; to open it:  sandbox: {{{key}: [{shown}]}}"
