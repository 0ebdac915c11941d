"""Runs a program without root's rights to read and write every file, for tests of what
depends on rights.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

# prctl(2), PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: the program that
# is started next does not get them.
_DROP = """
import ctypes, os, sys
if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):
        if libc.prctl(24, capability, 0, 0, 0):
            sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def without_rights(argv: Sequence[str]) -> list[str]:
    """The command, whose program is a path, as one that gives up these rights first."""
    return [sys.executable, "-c", _DROP, *argv]
