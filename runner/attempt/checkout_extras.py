"""What a checkout has beyond its tree, where the repository that it borrows from has it:
submodules, the files of Git LFS, and ignored files of the person's work tree.

None needs the network or git-lfs. What the repository lacks is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from runner.attempt import included_files
from runner.attempt.git_directory import Seed
from runner.attempt.workspace import Submodule, Workspace
from runner.core.errors import GitFailed
from runner.core.folders import remove_folder
from runner.core.patterns import lazy_pattern
from runner.repo.command import isolated_git
from runner.repo.origin import Origin

_LFS_POINTER = "version https://git-lfs.github.com/spec/v1"
_LFS_ID = lazy_pattern(rb"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)
_MAX_POINTER_BYTES = 1024
_GITLINK = "160000"
_BRANCH = "fanin/submodule"


def with_extras(workspace: Workspace, origin: Origin) -> Workspace:
    """A fresh checkout with submodules and files of Git LFS, none of which is a change."""
    workspace, differs = _add_extras(workspace, origin)
    if not differs:
        return workspace
    # Late: few repositories have such files.
    from runner.attempt.capture import record_preparation

    # no script has run
    return record_preparation(workspace)._replace(set_up=())


def with_included(
    workspace: Workspace,
    patterns: Sequence[str],
    origin: Origin,
    env: Mapping[str, str],
    cancel: threading.Event | None,
) -> Workspace:
    """A fresh checkout with the ignored files that the patterns match. The values of the
    variables `env` are not secret. Raises as `included_files.include`.
    """
    included = included_files.include(
        workspace.checkout, patterns, origin, env.values(), cancel
    )
    return workspace._replace(included=included)


def _add_extras(workspace: Workspace, origin: Origin) -> tuple[Workspace, bool]:
    """Add submodules and files of Git LFS to a fresh checkout.

    Returns the workspace that knows its submodules, and whether files differ from the
    base now.
    """
    added = _add_submodules(workspace.checkout, workspace.base, origin, workspace.seed)
    workspace = workspace._replace(submodules=tuple(added))
    lfs_objects = origin.git_dir / "lfs" / "objects"
    if not lfs_objects.is_dir():
        return workspace, False
    _add_lfs_files(workspace, lfs_objects)
    return workspace, True


def _add_submodules(
    checkout: Path, commit: str, origin: Origin, seed: Seed, prefix: str = ""
) -> list[Submodule]:
    """Check out the submodules of `commit` that the origin has, and those in them.

    Returns them; their paths begin with `prefix`.
    """
    if not (checkout / ".gitmodules").is_file():
        return []
    added = []
    gitlinks = _gitlinks(checkout, commit)
    for name, path in _submodule_paths(checkout):
        if path not in gitlinks:
            continue
        module = _git_directory(origin, name, path)
        if module is None:
            continue
        module_origin = Origin(module, origin.object_format)
        module_seed = seed.borrowing(module_origin)
        target = checkout / path
        try:
            module_seed.write_for_agent(target / ".git", _BRANCH, gitlinks[path])
            git = isolated_git(target)
            git.run(["read-tree", "-m", "-u", gitlinks[path]])
            tree = git.text(["rev-parse", f"{gitlinks[path]}^{{tree}}"]).strip()
        except GitFailed:
            # The origin has another commit of it than the base asks for.
            remove_folder(target / ".git")
            continue
        added.append(Submodule(f"{prefix}{path}", module_seed, tree, tree))
        added += _add_submodules(
            target, gitlinks[path], module_origin, seed, f"{prefix}{path}/"
        )
    return added


def _git_directory(origin: Origin, name: str, path: str) -> Path | None:
    """The git directory of a submodule that the origin has, None if it has none."""
    # A name or path of the repository's file must not lead out of the folder.
    if ".." in (*PurePosixPath(name).parts, *PurePosixPath(path).parts):
        return None
    places = []
    if not name.startswith("/"):
        folders = (origin.git_dir / "modules", *origin.modules)
        places += [folder / name for folder in folders]
    if origin.work_tree is not None:
        # `git submodule add` leaves it there if the repository was there before
        places.append(origin.work_tree / path / ".git")
    for place in places:
        if (place / "objects").is_dir():
            return place
    return None


def _gitlinks(checkout: Path, commit: str) -> dict[str, str]:
    """Path → commit of each submodule in the commit's tree."""
    output = isolated_git(checkout).run(["ls-tree", "-r", "-z", commit])
    gitlinks = {}
    for entry in output.split(b"\0"):
        meta, _, path = entry.partition(b"\t")
        if meta.startswith(_GITLINK.encode()):
            gitlinks[os.fsdecode(path)] = meta.split()[2].decode()
    return gitlinks


def _submodule_paths(checkout: Path) -> list[tuple[str, str]]:
    """(name, path) of each submodule that .gitmodules names."""
    argv = [
        "config",
        "-z",
        "-f",
        ".gitmodules",
        "--get-regexp",
        r"^submodule\..*\.path$",
    ]
    output = isolated_git(checkout).run(argv, ok=(0, 1))
    pairs = []
    for entry in os.fsdecode(output).split("\0"):
        key, _, path = entry.partition("\n")
        if path:
            pairs.append((key.removeprefix("submodule.").removesuffix(".path"), path))
    return pairs


def _add_lfs_files(workspace: Workspace, objects: Path) -> None:
    """Replace the pointers of Git LFS by the files that the origin has."""
    argv = ["grep", "-z", "-l", "-F", "--cached", _LFS_POINTER]
    output = isolated_git(workspace.checkout).run(argv, ok=(0, 1))
    for name in filter(None, output.split(b"\0")):
        path = workspace.checkout / os.fsdecode(name)
        if path.is_symlink() or path.stat().st_size > _MAX_POINTER_BYTES:
            continue
        match = _LFS_ID().search(path.read_bytes())
        if match is None:
            continue
        object_id = match[1].decode()
        content = objects / object_id[:2] / object_id[2:4] / object_id
        if content.is_file():
            shutil.copyfile(content, path)
