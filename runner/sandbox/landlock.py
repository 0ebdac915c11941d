"""Landlock by its system calls: confines this process and all that it starts.

The supervisor of a program loads this file by its path, in a process that has nothing
of fanin, so it imports no more than ctypes. It makes the three system calls itself
because a library would have to be found and imported there, at every start.

Sources: Linux, Documentation/userspace-api/landlock.rst and include/uapi/linux/landlock.h
(rights and the ABI that each came with), capabilities(7), and the kernel's
fs/proc/task_mmu.c: since Linux 6.15 CAP_PERFMON reads /proc/PID/environ past Landlock,
so a root that is confined keeps only _KEPT_CAPABILITIES.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence

# The same on every architecture but alpha.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH = 1  # LANDLOCK_RULE_PATH_BENEATH

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE, _IOCTL_DEV, RESOLVE_UNIX = 1 << 13, 1 << 14, 1 << 15, 1 << 16
_MAKE_DEVICES = 1 << 6 | 1 << 11  # MAKE_CHAR, MAKE_BLOCK
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = (
    READ | WRITE_FILE | _REMOVE_AND_MAKE & ~_MAKE_DEVICES | _REFER | _TRUNCATE
) | _IOCTL_DEV
# Rights that a rule for a file may have; the others are about folders.
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE | _IOCTL_DEV | RESOLVE_UNIX
# ABI → the rights on files that came with it.
_RIGHTS = {
    1: READ | WRITE_FILE | _REMOVE_AND_MAKE,
    2: _REFER,
    3: _TRUNCATE,
    5: _IOCTL_DEV,
    9: RESOLVE_UNIX,
}
_TCP_ABI, _SCOPED_ABI = 4, 6
_TCP = 1 << 0 | 1 << 1  # bind and connect
_SCOPED = 1 << 0 | 1 << 1  # abstract sockets, signals

# of prctl(2)
_NO_NEW_PRIVILEGES, _DROP_FROM_BOUNDING_SET, _AMBIENT = 38, 24, 47
_CLEAR_AMBIENT = 4
_CAPABILITY_VERSION = 0x20080522
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID and NET_BIND_SERVICE of
# capabilities(7): what a root needs for files. Not DAC_READ_SEARCH: with it,
# open_by_handle_at(2) opens files that no path leads to.
KEPT_CAPABILITIES = (0, 1, 3, 4, 6, 7, 10)
_LAST_CAPABILITY = 63


def abi() -> int:
    """The version of Landlock that the kernel speaks, 0 if it has none."""
    version = _syscall(_CREATE_RULESET, None, 0, _VERSION)
    return max(version, 0)


def handled(version: int) -> int:
    """The rights on files that a ruleset of this ABI can withhold."""
    rights = 0
    for since, added in _RIGHTS.items():
        if since <= version:
            rights |= added
    return rights


def encode(
    version: int, granted: Sequence[tuple[str, int]], *, network: bool
) -> list[str]:
    """The ruleset as texts for `confine`: (path, rights) each, nothing else is allowed.

    network: whether TCP is allowed; without it none is, on this machine neither.
    """
    rights = handled(version)
    tcp = _TCP if version >= _TCP_ABI and not network else 0
    scoped = _SCOPED if version >= _SCOPED_ABI else 0
    header = f"{version} {rights} {tcp} {scoped}"
    return [header, *(f"{allowed & rights} {path}" for path, allowed in granted)]


def confine(texts: Sequence[str]) -> None:
    """Confine this process for good. OSError if the kernel refuses any of it.

    A granted path that is gone, or has become a link, grants nothing.
    """
    _drop_capabilities()
    _check(ctypes.CDLL(None, use_errno=True).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    version, *numbers = map(int, texts[0].split())
    if version == 0:
        return
    attributes = b"".join(number.to_bytes(8, "little") for number in numbers)
    size = 24 if version >= _SCOPED_ABI else 16 if version >= _TCP_ABI else 8
    ruleset = _check(_syscall(_CREATE_RULESET, attributes, size, 0))
    for text in texts[1:]:
        allowed, _, path = text.partition(" ")
        _allow(ruleset, path, int(allowed))
    _check(_syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISLNK(mode):
            return
        if not stat.S_ISDIR(mode):
            allowed &= _OF_FILES
        if allowed:
            rule = allowed.to_bytes(8, "little") + file.to_bytes(4, "little")
            _check(_syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(file)


def _drop_capabilities() -> None:
    """Keep only _KEPT_CAPABILITIES, now and after any exec. Does nothing without any."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()
    _check(libc.capget(header, sets))
    if not any(sets):
        return
    for number in range(_LAST_CAPABILITY + 1):
        if number not in KEPT_CAPABILITIES:
            # fails without SETPCAP and above the kernel's last one
            libc.prctl(_DROP_FROM_BOUNDING_SET, number, 0, 0, 0)
    libc.prctl(_AMBIENT, _CLEAR_AMBIENT, 0, 0, 0)
    kept = sum(1 << number for number in KEPT_CAPABILITIES)
    # effective, permitted, inheritable: of the lower and the upper 32
    for index in range(6):
        sets[index] &= kept if index < 3 else 0
    _check(libc.capset(header, sets))


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    typed: list[object] = []
    for argument in arguments:
        if isinstance(argument, int):
            typed.append(ctypes.c_long(argument))
        else:
            typed.append(argument)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *typed))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
