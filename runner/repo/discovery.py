"""Finds the repository that a folder is in, without starting git."""

from __future__ import annotations

import os
from pathlib import Path

from runner.core.errors import UsageProblem
from runner.repo import gitpython

# What `git init` writes for a repository with a work tree around its `.git`.
_PLAIN = b"bare = false"
# Of a configuration with one of these, more must be read to know the work tree.
_SPECIAL = (b"worktree", b"[include")


def discover(path: Path) -> tuple[Path, Path, Path]:
    """The work tree that `path` is in, the git directory that all work trees share, and
    the work tree's own one.

    Raises UsageProblem if there is none.
    """
    root = _plain_root(Path(os.path.abspath(path)))  # noqa: PTH100  follows no links
    if root is not None:
        return root, root / ".git", root / ".git"
    return _by_gitpython(path)


def _plain_root(path: Path) -> Path | None:
    """The work tree, if its `.git` is a folder and its configuration nothing special."""
    if not path.is_dir():
        return None
    for folder in (path, *path.parents):
        git_dir = folder / ".git"
        if _is_git_dir(folder) or git_dir.is_symlink():
            return None
        if _is_git_dir(git_dir):
            return folder if _is_plain(git_dir / "config") else None
        if git_dir.exists():
            return None
    return None


def _is_git_dir(folder: Path) -> bool:
    names = ("HEAD", "objects", "refs")
    return all((folder / name).exists() for name in names)


def _is_plain(config: Path) -> bool:
    try:
        text = config.read_bytes().lower()
    except OSError:
        return False
    return _PLAIN in text and not any(word in text for word in _SPECIAL)


def _by_gitpython(path: Path) -> tuple[Path, Path, Path]:
    """Of any repository. GitPython takes longer to import than most commands run."""
    git = gitpython.package()
    try:
        repository = git.Repo(path, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        raise UsageProblem(
            f"{path} is not in a git repository",
            "run  git init  there, or give --repo PATH",
        ) from None
    if repository.bare or repository.working_tree_dir is None:
        raise UsageProblem(f"{path} is a bare repository", "run fanin in a clone of it")
    shared, own = Path(repository.common_dir), Path(repository.git_dir)
    if shared != own:
        # Of a linked work tree, git names it by the way back from `own`.
        shared = shared.resolve()
    return Path(repository.working_tree_dir), shared, own
