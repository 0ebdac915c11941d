"""Imports GitPython late: the package starts git twice when it is imported."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_lock = threading.Lock()


def package() -> ModuleType:
    """The package `git`."""
    with _lock, _no_search_for_git():
        import git

        return git


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
