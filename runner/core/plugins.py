"""A quick look for entry points of other packages.

`importlib.metadata` is slow to import and reads the metadata of every installed package.
Most have no entry point that fanin asks for, and that is soon seen.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.machinery import PathFinder


def may_have_entry_points(group: str) -> bool:
    """False if no installed package has an entry point of the group.

    True if one may have: `importlib.metadata` knows.
    """
    for finder in sys.meta_path:
        if finder is not PathFinder and hasattr(finder, "find_distributions"):
            return True
    return any(_may_have(entry, group) for entry in sys.path)


# Paths are texts: there may be hundreds, and a Path takes as long as the file's reading.
@cache
def _may_have(entry: str, group: str) -> bool:
    """Whether a package in an entry of `sys.path` may have such an entry point."""
    folder = entry or "."
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return False
    except OSError:
        return True  # an archive
    for name in names:
        if name.endswith((".dist-info", ".egg-info")):
            try:
                with open(f"{folder}/{name}/entry_points.txt", "rb") as file:  # noqa: PTH123
                    text = file.read()
            except OSError:  # it has none
                continue
            if group.encode() in text:
                return True
        elif name.endswith(".egg"):
            return True
    return False
