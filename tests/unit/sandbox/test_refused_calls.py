"""The filter of system calls, run as the kernel runs it (bpf(4), seccomp(2))."""

from __future__ import annotations

import struct

import pytest

from runner.sandbox import landlock

X86_64, I386, AARCH64, S390X = 0xC000003E, 0x40000003, 0xC00000B7, 0x80000016
X32 = 0x40000000
VSOCK, UNIX = 40, 1


def _result(architecture: int, number: int, argument: int) -> int:
    data = struct.pack("=IIQQ", number, architecture, 0, argument)
    instructions = list(struct.iter_unpack("=HBBI", landlock._filter()))
    at = accumulator = 0
    while True:
        code, then, otherwise, value = instructions[at]
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            accumulator &= value
        else:
            holds = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
            }
            at += then if holds[code] else otherwise


@pytest.mark.parametrize(
    ("architecture", "number", "argument", "is_refused"),
    [
        (X86_64, 247, 0, False),
        (X86_64, 248, 0, True),
        (X86_64, 250, 0, True),
        (X86_64, 251, 0, False),
        (X86_64, X32 + 250, 0, True),
        (X86_64, 41, VSOCK, True),
        (X86_64, 41, UNIX, False),
        (X86_64, 425, 0, True),
        (X86_64, 0, VSOCK, False),
        (I386, 288, 0, True),
        (I386, 250, 0, False),
        (AARCH64, 219, 0, True),
        (AARCH64, 198, VSOCK, True),
        (AARCH64, 250, 0, False),
        (S390X, 250, 0, False),
    ],
)
def test_only_these_calls_are_refused(
    architecture: int, number: int, argument: int, is_refused: bool
) -> None:
    refusal, allowed = 0x00050026, 0x7FFF0000
    expected = refusal if is_refused else allowed
    assert _result(architecture, number, argument) == expected
