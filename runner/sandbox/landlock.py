"""Landlock by its system calls: confines this process and all that it starts.

What no namespace and no right of Landlock closes is closed by a filter of seccomp, as
Docker does: the kernel's keyrings, sockets between a virtual machine and its host, and
io_uring, which makes such sockets too.

The supervisor of a program loads this file by its path, in a process that has nothing
of fanin, so it imports no more than ctypes. It makes the three system calls itself
because a library would have to be found and imported there, at every start.

Sources: Linux, Documentation/userspace-api/landlock.rst and include/uapi/linux/landlock.h
(rights and the ABI that each came with), audit.h, filter.h and seccomp.h beside it and
the architectures' tables of system calls, capabilities(7), and the kernel's
fs/proc/task_mmu.c: since Linux 6.15 CAP_PERFMON reads /proc/PID/environ past Landlock,
so a root that is confined keeps only KEPT_CAPABILITIES.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
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

_SET_SECCOMP, _FILTER = 22, 2  # PR_SET_SECCOMP of prctl(2), SECCOMP_MODE_FILTER
# AUDIT_ARCH_… → the first and the last number of add_key, request_key and keyctl, and
# the number of socket.
_CALLS = {
    0xC000003E: (248, 250, 41),  # x86_64
    0x40000003: (286, 288, 359),  # i386
    0xC00000B7: (217, 219, 198),  # aarch64
    0x40000028: (309, 311, 281),  # arm
    0xC00000F3: (217, 219, 198),  # riscv64
}
_X32 = 0x40000000  # is added to the numbers of x86_64 by programs of 32 bits
_VSOCK = 40  # AF_VSOCK
_NEW_RING = 425  # io_uring_setup, on each of them
# of the filter's machine: load a word, keep bits, jump if ==, >=, >, return
_LOAD, _AND, _IF_EQUAL, _IF_FROM, _IF_ABOVE, _RETURN = (
    0x20,
    0x54,
    0x15,
    0x35,
    0x25,
    0x06,
)
# offsets in struct seccomp_data; the first argument's lower half
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_ARGUMENT_AT = 16 if sys.byteorder == "little" else 20
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 38  # SECCOMP_RET_ERRNO with ENOSYS


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
    _refuse_calls()
    version, *numbers = map(int, texts[0].split())
    if version == 0:
        return
    attributes = b"".join(number.to_bytes(8, "little") for number in numbers)
    size = _attributes_size(version)
    ruleset = _check(_syscall(_CREATE_RULESET, attributes, size, 0))
    for text in texts[1:]:
        allowed, _, path = text.partition(" ")
        _allow(ruleset, path, int(allowed))
    _check(_syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _attributes_size(version: int) -> int:
    """The bytes of struct landlock_ruleset_attr: newer kernels have more of its fields."""
    if version >= _SCOPED_ABI:
        return 24
    if version >= _TCP_ABI:
        return 16
    return 8


def _refuse_calls() -> None:
    """Refuse keyrings, sockets of AF_VSOCK and io_uring to this process and its children.

    The keyring of the person's session is inherited, and the user's can be had by its
    number in every namespace. AF_VSOCK has no namespaces. io_uring makes sockets past
    this filter, so that there is none; programs do without it where it is missing.
    """
    program = _filter()
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, each of 8 bytes, and where they are
    header = (ctypes.c_size_t * 2)(len(code) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(header), 0, 0))


def _filter() -> bytes:
    program = [_instruction(_LOAD, _ARCHITECTURE_AT)]
    for architecture, (first, last, new_socket) in _CALLS.items():
        block = [
            _instruction(_LOAD, _NUMBER_AT),
            _instruction(_AND, ~_X32 & 0xFFFFFFFF),
            _instruction(_IF_EQUAL, new_socket, then=4),
            _instruction(_IF_EQUAL, _NEW_RING, then=2),
            _instruction(_IF_FROM, first, otherwise=5),
            _instruction(_IF_ABOVE, last, then=4),
            _instruction(_RETURN, _REFUSE),
            _instruction(_LOAD, _ARGUMENT_AT),
            _instruction(_IF_EQUAL, _VSOCK, otherwise=1),
            _instruction(_RETURN, _REFUSE),
            _instruction(_RETURN, _ALLOW),
        ]
        skip = _instruction(_IF_EQUAL, architecture, otherwise=len(block))
        program += [skip, *block]
    return b"".join([*program, _instruction(_RETURN, _ALLOW)])


def _instruction(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """One of the filter: how many of the next to skip if the condition holds or not."""
    head = code.to_bytes(2, sys.byteorder)
    return head + bytes((then, otherwise)) + value.to_bytes(4, sys.byteorder)


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
