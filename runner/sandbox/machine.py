"""What this machine can put up as walls. Asked once a run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from runner.sandbox import bubblewrap, landlock

_PROGRAM = "bwrap"
NOT_INSTALLED = "bubblewrap is not installed"
# Settings of the kernel that close user namespaces to users: value, and who has it.
_CLOSED = {
    "kernel/apparmor_restrict_unprivileged_userns": "1",  # Ubuntu from 23.10
    "kernel/unprivileged_userns_clone": "0",  # Debian up to 10, Arch's hardened kernel
    "user/max_user_namespaces": "0",
}


class Machine(NamedTuple):
    """What a machine can.

    bubblewrap: its program, None if it cannot be used; `problem` says why.
    landlock: the version of Landlock's interface, 0 without it.
    """

    system: str
    bubblewrap: Path | None
    problem: str
    landlock: int


def look(
    environ: Mapping[str, str],
    first_line: Callable[[Sequence[str]], str | None],
    system: str = sys.platform,
) -> Machine:
    """Look at this machine. `first_line` runs a program and returns the first line that
    it prints, None if it fails.
    """
    if system != "linux":
        return Machine(system, None, "", 0)
    version = landlock.abi()
    program = shutil.which(_PROGRAM, path=environ.get("PATH"))
    if program is None:
        return Machine(system, None, NOT_INSTALLED, version)
    trial = [program, *bubblewrap.ALWAYS, "--cap-drop", "ALL", "--ro-bind", "/", "/"]
    trial += ["--dev", "/dev", "--proc", "/proc", "--", program, "--version"]
    if first_line(trial) is not None:
        return Machine(system, Path(program), "", version)
    return Machine(system, None, f"bubblewrap cannot start: {_reason()}", version)


def _reason() -> str:
    for name, value in _CLOSED.items():
        try:
            text = Path("/proc/sys", name).read_text(encoding="ascii")
        except OSError:
            continue
        if text.strip() == value:
            return f"{name.replace('/', '.')} is {value}"
    return "the kernel or the container allows no namespaces"
