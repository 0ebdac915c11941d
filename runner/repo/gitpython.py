"""Imports GitPython late, and no more of it than is used.

The package `git` loads a model of a whole repository and starts git twice when it is
imported: longer than a short command runs. Most commands need only its module
`git.cmd`, which starts processes.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

_lock = threading.Lock()


def package() -> ModuleType:
    """The package `git`."""
    with _lock, _no_search_for_git():
        import git

        return git


def starter() -> ModuleType:
    """The module `git.cmd`, with its errors."""
    with _lock:
        return _starter()


@cache
def _starter() -> ModuleType:
    spec = importlib.util.find_spec("git")
    if "git" in sys.modules or spec is None:
        with _no_search_for_git():
            return importlib.import_module("git.cmd")
    # During the import an empty package stands for the real one. Nobody else gets it: a
    # plugin may import `git`, too.
    sys.modules["git"] = importlib.util.module_from_spec(spec)
    try:
        with _no_search_for_git():
            return importlib.import_module("git.cmd")
    finally:
        for name in list(sys.modules):
            if name == "git" or name.startswith("git."):
                del sys.modules[name]


@contextmanager
def _no_search_for_git() -> Iterator[None]:
    """At its import GitPython looks for git, where variables of its own say and with an
    error of its own. Fanin's commands name git themselves.
    """
    own = [name for name in os.environ if name.startswith("GIT_PYTHON_")]
    inherited = {name: os.environ.pop(name) for name in own}
    os.environ["GIT_PYTHON_REFRESH"] = "quiet"
    try:
        yield
    finally:
        del os.environ["GIT_PYTHON_REFRESH"]
        os.environ.update(inherited)
