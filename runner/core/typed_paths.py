"""Paths and git commands as a person types them in the current folder."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path


def git_add(root: Path, paths: Iterable[str], flag: str = "") -> str:
    """The command that adds the paths of the work tree at `root` to its index."""
    return f"{_git(root)} add {flag}{_typed(root, paths)}"


def git_commit(root: Path, message: str = "", paths: Iterable[str] = ()) -> str:
    """The command that commits the paths, or what is in the index."""
    words = [f"{_git(root)} commit"]
    if message:
        words.append(f"-m {shlex.quote(message)}")
    if typed := _typed(root, paths):
        words.append(typed)
    return " ".join(words)


def _git(root: Path) -> str:
    """Git, for a person who may be elsewhere, as with `fanin -C`."""
    return "git" if _is_inside(root) else f"git -C {shlex.quote(str(root))}"


def _typed(root: Path, paths: Iterable[str]) -> str:
    if _is_inside(root):
        here = Path.cwd()
        paths = [os.path.relpath(root / path, here) for path in paths]
    # One that begins with a dash would be an option, one with a colon a pattern.
    return shlex.join(f"./{p}" if p.startswith(("-", ":")) else p for p in paths)


def _is_inside(root: Path) -> bool:
    return Path.cwd().is_relative_to(root)
