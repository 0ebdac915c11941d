"""Takes from a runner of GitHub's what makes an agent there root, for the rest of the job:
sudo without a password, and the sockets of Docker and its like.

A process keeps the groups that it has, whatever /etc/group says, so that the sockets
themselves are closed. openai/codex-action (`drop-sudo`) does the same.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Whoever may write to one of these can become root.
SOCKETS = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/libvirt/libvirt-sock",
    "/var/snap/lxd/common/lxd/unix.socket",
)
# Members of these can become root.
_GROUPS = ("docker", "sudo", "admin", "wheel", "lxd", "libvirt", "disk")
# In sudoers the last rule that matches counts, and the files are read in this order.
_RULE = Path("/etc/sudoers.d/zzzz-fanin")
_PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
_DUMPABLE = 4  # PR_SET_DUMPABLE of prctl(2)
_TIMEOUT = 20.0  # seconds
# $0 the user, $1 the file of the rule, $2 that of ptrace's scope; then sockets, "--" and
# groups. What fails is seen afterwards.
_SCRIPT = r"""
user=$0 rule=$1 scope=$2
shift 2
while [ "${1:---}" != -- ]; do chown 0:0 "$1" && chmod 600 "$1"; shift; done
shift
for group; do gpasswd -d "$user" "$group"; done
if [ "$(cat "$scope" 2>/dev/null)" = 0 ]; then echo 1 >"$scope"; fi
printf '%s ALL=(ALL:ALL) !ALL\n' "$user" >"$rule.new"
chmod 440 "$rule.new"
if visudo -cqf "$rule.new"; then mv "$rule.new" "$rule"; else rm -f "$rule.new"; fi
"""


@dataclass(frozen=True)
class Account:
    """A user, and those of its groups whose members can become root."""

    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machine:
    """Where a machine keeps what is closed; the fields have the usual places."""

    sockets: Sequence[str] = SOCKETS
    rule: Path = _RULE
    ptrace_scope: Path = _PTRACE_SCOPE


def own_account() -> Account:
    """The account of this process."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    groups = [
        group.gr_name
        for group in grp.getgrall()
        if group.gr_name in _GROUPS and name in group.gr_mem
    ]
    return Account(name, tuple(groups))


def ways_to_root(machine: Machine) -> list[str]:
    """What makes this process's user root without a password, in a few words each."""
    if os.geteuid() == 0:
        return ["the job runs as root"]
    ways = []
    if _runs(["sudo", "-n", "true"]):
        ways.append("sudo needs no password")
    writable = [path for path in machine.sockets if os.access(path, os.W_OK)]
    return ways + [f"{path} is open" for path in writable]


def drop(machine: Machine, account: Account) -> None:
    """Close the ways to root, with sudo while that needs no password.

    `ways_to_root` says what is still open.
    """
    sockets = [path for path in machine.sockets if os.path.lexists(path)]
    files = [str(machine.rule), str(machine.ptrace_scope)]
    words = [account.name, *files, *sockets, "--", *account.groups]
    _runs(["sudo", "-n", "sh", "-c", _SCRIPT, *words])
    # What sudo remembers of a password that was typed.
    _runs(["sudo", "-K"])


def readable_memory(machine: Machine) -> bool:
    """Whether a program can read the memory of others of its user that are not its own."""
    try:
        return machine.ptrace_scope.read_text().strip() == "0"
    except OSError:
        return True


def hide_this_process() -> None:
    """Keep the memory and the variables of this process from programs of its own user.

    Those that it starts are not hidden.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DUMPABLE, 0, 0, 0, 0)


def _runs(argv: Sequence[str]) -> bool:
    """Whether the program is there and succeeds."""
    if shutil.which(argv[0]) is None:
        return False
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
