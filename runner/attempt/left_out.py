"""What git cannot take of a checkout: which paths, and why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runner.core.errors import GitFailed, GitStopped
from runner.policy.change import GITLINK
from runner.policy.paths import unusable_name
from runner.repo.command import Git

_MAX_FAILURES = 100  # paths that are tried alone; each costs a git process
_MAX_PATHSPECS = 500  # git compares each file with each of them
_CHANGED = ("diff-files", "-z", "--name-status", "--ignore-submodules=dirty")
_CHANGED_OR_NEW = ("ls-files", "-z", "-m", "-o", "--exclude-standard")
_NEW = ("ls-files", "-z", "-o", "--exclude-standard")
_GITLINK_MODE = int(GITLINK, 8).to_bytes(4, "big")  # as in the index


class LeftOut(NamedTuple):
    """A path of the checkout that is not in the captured tree.

    If it is `harmless`, the rest may land without it. `is_known` says that `reason` is
    certain; otherwise the machine may be at fault.
    """

    path: str
    reason: str
    harmless: bool = False
    is_known: bool = True

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


def nested_repository(path: str) -> LeftOut:
    """A repository that the agent made, or a linked work tree."""
    reason = "is a repository inside the repository"
    return LeftOut(path, reason, harmless=True)


def made_by_setup(path: str) -> LeftOut:
    """A file that set-up makes in each checkout, and that changed afterwards."""
    reason = "is made by setup and not in the repository"
    return LeftOut(path, reason, harmless=True)


def add_all(git: Git, without: Sequence[LeftOut] = ()) -> list[str]:
    """Add everything in the work tree to the index but the paths `without`, and return
    the paths that git refuses to add. A folder's path ends with a slash.

    Raises GitFailed if git cannot list the work tree, or is stopped.
    """
    pathspecs = [b"."]
    for left_out in without:
        pathspecs.append(b":(exclude,literal)" + os.fsencode(left_out.path))
    argv = ["add", "-A", "--pathspec-from-file=-", "--pathspec-file-nul"]
    try:
        git.run(argv, stdin=b"\0".join(pathspecs))
    except GitStopped:
        raise
    except GitFailed:
        return _add_one_by_one(git, paths_to_add(git), without)
    return []


def add_changed(
    git: Git, paths: Sequence[bytes], without: Sequence[LeftOut] = ()
) -> list[str]:
    """As `add_all`, where `paths` are the `paths_to_add`: git need not look for them."""
    if len(paths) > _MAX_PATHSPECS:
        return add_all(git, without)
    return _add_one_by_one(git, paths, without)


def paths_to_add(git: Git) -> list[bytes]:
    """The paths that git would add; some of them may be as they were.

    No file is read, unlike by `ls-files -m`.
    """
    return _unique(_parse_status(git.run(_CHANGED)).paths, _paths(git.run(_NEW)))


def plain_paths_to_add(git: Git) -> list[bytes]:
    """The paths that git would add, where there are no submodules. One process lists
    them, which may read files, as `git add` does.
    """
    return _unique(_paths(git.run(_CHANGED_OR_NEW)))


@contextmanager
def listing_paths_to_add(git: Git) -> Iterator[Callable[[int | None], list[bytes]]]:
    """Git begins to list the `paths_to_add` while the block looks for files that git
    must not meet; the block gets a function that returns them.

    The function gets how many more files there are than the index has, None if that is
    not known: git does not look for new files where there are none.

    Only that function lets git open ignore files. What git opens before, and may wait
    at, are attributes: the end of the block ends it.
    """
    with git.beside(_CHANGED) as output:

        def paths(surplus: int | None) -> list[bytes]:
            new: list[bytes] = []
            has_new = surplus is None or surplus > 0
            if has_new:  # beside the other
                new = _paths(git.run(_NEW))
            changed = _parse_status(output())
            if surplus is not None and not has_new and surplus + changed.missing > 0:
                new = _paths(git.run(_NEW))
            return _unique(changed.paths, new)

        yield paths


class _Changed(NamedTuple):
    """The files of the index that are changed, and how many of them are gone."""

    paths: list[bytes]
    missing: int


def _parse_status(output: bytes) -> _Changed:
    """What `diff-files -z --name-status` lists: a letter, then the path."""
    fields = output.split(b"\0")
    return _Changed(fields[1::2], fields[:-1:2].count(b"D"))


def changed_since(git: Git, base: str) -> list[bytes]:
    """The paths that are not as in the commit `base`, and those that may not be. No file
    is read.
    """
    changed = ["diff-index", "-z", "--name-only", "--ignore-submodules=all", base]
    return _unique(_paths(git.run(changed)), _paths(git.run(_NEW)))


def _paths(output: bytes) -> list[bytes]:
    return [path for path in output.split(b"\0") if path]


def _unique(*lists: Sequence[bytes]) -> list[bytes]:
    return list(dict.fromkeys(path for paths in lists for path in paths))


def _add_one_by_one(
    git: Git, paths: Sequence[bytes], without: Sequence[LeftOut]
) -> list[str]:
    """Add each of the paths that git can add; groups are halved until the paths that
    it refuses are alone.
    """
    excluded = {os.fsencode(each.path) for each in without}
    # not `add --ignore-errors`: some of these errors end git all the same
    groups = [[path for path in paths if path not in excluded]]
    refused: list[bytes] = []
    while groups:
        group = groups.pop()
        if not group or _added(git, group):
            continue
        if len(group) == 1 or len(refused) >= _MAX_FAILURES:
            refused += group
            continue
        middle = len(group) // 2
        groups += [group[middle:], group[:middle]]
    return [os.fsdecode(path) for path in refused]


def add_forced(
    git: Git,
    agent_index: Path,
    too_large: Callable[[Sequence[bytes]], list[LeftOut]],
) -> list[LeftOut]:
    """Add the ignored files that the agent added to its own index nevertheless; return
    those that are `too_large` and those that git refuses.

    `agent_index` is a copy: git works with fanin's configuration alone.
    """
    new = _forced(git, agent_index)
    if new is None:
        reason = "is damaged: files that .gitignore names are not looked for"
        return [LeftOut(".git/index", reason, harmless=True)]
    left_out = too_large(new)
    without = {os.fsencode(each.path) for each in left_out}
    new = [path for path in new if path not in without]
    if not new or _added(git, new, "-f"):
        return left_out
    reason = "was added past .gitignore, and git cannot add it"
    for path in new:
        if not _added(git, [path], "-f"):
            left_out.append(LeftOut(os.fsdecode(path), reason))
    return left_out


def _forced(git: Git, agent_index: Path) -> list[bytes] | None:
    """The ignored files that only the agent's index has; None if it is damaged."""
    argv = ["ls-files", "-z", "-i", "-c", "--exclude-standard"]
    env = {"GIT_INDEX_FILE": str(agent_index)}
    listed = git.run_unchecked(argv, env=env)
    if listed.status != 0:
        return None
    paths = _paths(listed.stdout)
    if not paths:
        return []
    known = set(_paths(git.run(argv)))
    work_tree = os.fsencode(git.cwd) + b"/"
    new = [path for path in paths if path not in known]
    return [path for path in new if os.path.lexists(work_tree + path)]


def adds_nothing_forced(git: Git, agent_index: Path) -> bool:
    """Whether `add_forced` would neither add nor leave out anything."""
    return _forced(git, agent_index) == []


def _added(git: Git, paths: Sequence[bytes], *options: str) -> bool:
    argv = ["add", "-A", *options, "--pathspec-from-file=-", "--pathspec-file-nul"]
    env = {"GIT_LITERAL_PATHSPECS": "1"}
    return git.run_unchecked(argv, env=env, stdin=b"\0".join(paths)).status == 0


def explain(git: Git, checkout: Path, path: str) -> LeftOut:
    """Why git refused to add the path."""
    name = path.rstrip("/")
    file = checkout / name
    if os.path.lexists(file / ".git"):
        return nested_repository(name)
    if unusable_name(name):
        return LeftOut(name, "has a name that git does not accept")
    if not file.is_symlink() and not os.access(file, os.R_OK):
        return LeftOut(name, "cannot be read")
    argv = ["check-attr", "-z", "working-tree-encoding", "--", name]
    encoding = os.fsdecode(git.run(argv)).split("\0")[2]
    if encoding not in {"unspecified", "unset", "set"}:
        reason = f"is not in the encoding that .gitattributes names, {encoding}"
        return LeftOut(name, reason)
    return LeftOut(name, "cannot be added by git", is_known=False)


def not_ignored(git: Git, folders: Sequence[LeftOut]) -> list[LeftOut]:
    """Those that no `.gitignore` names: git would have read them."""
    if not folders:
        return []
    paths = [os.fsencode(f"{each.path}/") for each in folders]
    argv = ["check-ignore", "-z", "--stdin"]
    ignored = git.run(argv, stdin=b"\0".join(paths), ok=(0, 1)).split(b"\0")
    named = zip(paths, folders, strict=True)
    return [each for path, each in named if path not in ignored]


def may_have_gitlinks(index: bytes) -> bool:
    """Whether there may be submodules in these bytes of an index."""
    return _GITLINK_MODE in index


def gitlinks(git: Git, index: Path) -> list[str]:
    """The paths of all submodules in the index."""
    # mostly there are none: the look at the bytes saves a process
    if not may_have_gitlinks(index.read_bytes()):
        return []
    entries = git.run(["ls-files", "-z", "--stage"]).split(b"\0")
    paths = []
    for entry in entries:
        meta, _, path = entry.partition(b"\t")
        if meta.startswith(GITLINK.encode()):
            paths.append(os.fsdecode(path))
    return paths
