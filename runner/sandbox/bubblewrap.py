"""The arguments of bubblewrap for the rules of a program: pure.

It runs in mount, process and IPC namespaces of its own. The whole file system is
mounted read-only; what is hidden is covered by an empty folder or a file that nobody can
open, and what is open is mounted over it once more, the shorter paths first.

bubblewrap makes each folder on the way to what it mounts, if it is missing. These are made
in memory: the folder that covers is, and where the program's own folder of temporary files
covers instead, the first of them gets one over it. By the path that this folder has itself
nothing is over the first: there it is the program's home.

A process is the first of its process namespace, so the kernel ends all others with it.
A user namespace is always made: without one, the root of this machine would keep its
power over mounts and devices, also where it has given up the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from runner.sandbox.rules import Access, Rules, is_in_shared_memory, parents

# What is at a path: a folder, anything else, or nothing.
Kind = Literal["folder", "file"]
KindOf = Callable[[str], Kind | None]

# /dev/null: mounted without devices, it can be opened by nobody, whoever owns it.
_NOTHING = "/dev/null"
_DEVICES = "/dev"
_KERNEL_SETTINGS = "/proc/sys"
# Of capabilities(7), what a root needs for its own files. A user has none.
_CAPABILITIES = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID"),
    *("CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE"),
)
ALWAYS = (
    *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
    *("--die-with-parent", "--as-pid-1"),
)


def arguments(
    rules: Rules, kind_of: KindOf, *, is_root: bool, working_folder: Path
) -> list[str]:
    """The arguments up to the command's own."""
    texts = [*ALWAYS, "--cap-drop", "ALL"]
    if is_root:
        for name in _CAPABILITIES:
            texts += ["--cap-add", name]
    if not rules.network:
        texts.append("--unshare-net")
    texts += ["--ro-bind", "/", "/", "--dev", _DEVICES, "--proc", "/proc"]
    # the kernel lets the user 0 of any namespace write there if it is the machine's root
    texts += ["--ro-bind", _KERNEL_SETTINGS, _KERNEL_SETTINGS]
    texts += _mounts(rules, kind_of)
    return [*texts, "--chdir", str(working_folder)]


def _mounts(rules: Rules, kind_of: KindOf) -> list[str]:
    texts: list[str] = []
    covered: list[str] = []
    for path, access in rules.rules.items():
        kind = kind_of(path)
        if kind is None:
            continue
        first = first_missing(path, rules)
        if first is not None and first not in covered:
            texts += ["--tmpfs", first]
            covered.append(first)
        if path in rules.shared_temporary:
            texts += ["--bind", rules.temporary, path]
        elif access is not Access.HIDDEN:
            texts += [_bind(path, access), path, path]
        elif kind == "folder":
            texts += ["--tmpfs", path]
            covered.append(path)
        else:
            texts += ["--ro-bind", _NOTHING, path]
    for path in covered:
        texts += ["--remount-ro", path]
    return texts


def first_missing(path: str, rules: Rules) -> str | None:
    """The first folder on the way to the path that the program's folder of temporary files
    does not have, None if there is none.
    """
    below = path
    for folder in parents(path):
        if folder in rules.rules:
            is_missing = folder in rules.shared_temporary and below != path
            return below if is_missing else None
        below = folder
    return None


def _bind(path: str, access: Access) -> str:
    if path.startswith(f"{_DEVICES}/") and not is_in_shared_memory(path):
        return "--dev-bind"  # by which it can be written, too
    return "--bind" if access is Access.WRITE else "--ro-bind"
