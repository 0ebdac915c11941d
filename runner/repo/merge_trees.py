"""Merges trees by `git merge-tree`, and reads the conflicts that it reports."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from runner.core.errors import GitFailed
from runner.repo import diff
from runner.repo.command import Git
from runner.repo.objects import Objects, TreeReader

_HUNK = re.compile(r"^<{7} .*?^>{7} [^\n]*$", re.DOTALL | re.MULTILINE)
_MAX_HUNKS = 4_000  # characters of all hunks together
# For each object that git writes, zlib takes and frees 256 KiB. The C library would give
# them back to the system each time, which then clears them anew.
_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**24)}
# a driver that merges as git does without one; other values than 1 are errors to git
_TEXT_MERGE = (
    "git merge-file -q --marker-size=%L -L ours -L base -L theirs %A %O %B || exit 1"
)


class Versions(NamedTuple):
    """What a path of a conflict is on both sides: (mode, object id), None if it is not
    there.
    """

    ours: tuple[str, str] | None = None
    theirs: tuple[str, str] | None = None


class Conflict(NamedTuple):
    """The conflict of a merge: the paths, git's messages, and the marked hunks. `tree`
    has the files with their marks.

    `versions` are what the paths are on both sides, `sides` the commits by which git
    names these in marks, messages and new names of files.
    """

    paths: tuple[str, ...]
    messages: tuple[str, ...]
    hunks: str
    tree: str
    versions: Mapping[str, Versions]
    sides: tuple[str, str]


class Sides(NamedTuple):
    """Three trees to merge, and a commit of each side that is made on one of the base."""

    base: str
    ours: str
    theirs: str
    commits: tuple[str, str]


def make_sides(objects: Objects, base: str, ours: str, theirs: str) -> Sides:
    """Make the commits of a merge of trees."""
    # git 2.39's merge-tree takes no base and no trees: it takes two commits and finds
    # their base itself. So it gets commits that are made for it.
    root = objects.commit(base)
    commits = objects.commit(ours, root), objects.commit(theirs, root)
    return Sides(base, ours, theirs, commits)


def merge_trees(
    git: Git, trees: TreeReader, sides: Sides, drivers: Iterable[str] = ()
) -> str | Conflict:
    """The tree that git's own three-way merge makes, or what it could not decide.

    `trees` reads those that `git` writes, `drivers` the names of the merge
    drivers that are configured. A driver that drops a change of one side, as `true`
    does, is not followed: the merge is then the one without drivers. Raises GitFailed
    if git cannot merge.
    """
    merged = merge_commits(git, trees, sides.commits)
    as_text = [f"merge.{name}.driver={_TEXT_MERGE}" for name in drivers]
    if not as_text or not isinstance(merged, str):
        return merged
    plain = merge_commits(git.with_config(*as_text), trees, sides.commits)
    if isinstance(plain, Conflict):
        paths = [*plain.paths, *_different_paths(git, plain.tree, merged)]
    else:
        paths = _different_paths(git, plain, merged)
    versions = (sides.base, sides.ours, sides.theirs, merged)
    for path in paths:
        if not _keeps_both([_lines(trees, tree, path) for tree in versions]):
            return plain
    return merged


def merge_commits(git: Git, trees: TreeReader, sides: Sequence[str]) -> str | Conflict:
    """The tree of the merge of two commits, as `git merge` makes it, or its conflict.

    Raises GitFailed if git cannot merge.
    """
    argv = ["merge-tree", "--write-tree", "-z", "--messages", *sides]
    done = git.run_unchecked(argv, env=_KEEP_MEMORY)
    if done.status not in {0, 1}:
        raise GitFailed(argv, done.status, done.stderr)
    merged, _, rest = done.stdout.partition(b"\0")
    tree = merged.decode()
    if done.status == 0:
        return tree
    listing, _, messages = rest.partition(b"\0\0")
    versions = _versions(listing)
    paths = tuple(versions)
    ours, theirs = sides
    return Conflict(
        paths,
        _conflict_messages(messages),
        _hunks(trees, tree, paths),
        tree,
        versions,
        (ours, theirs),
    )


def _different_paths(git: Git, old: str, new: str) -> list[str]:
    if old == new:
        return []
    return [change.path for change in diff.parse_raw(git.run([*diff.RAW, old, new]))]


def _lines(trees: TreeReader, tree: str, path: str) -> Counter[bytes] | None:
    """How often the file has each line; None if there is no regular file."""
    entry = trees.find(tree, path)
    if entry is None or not entry[0].startswith("100"):
        return None
    return Counter(trees.content(entry[1]).splitlines())


def _keeps_both(files: Sequence[Counter[bytes] | None]) -> bool:
    """Whether the last of (base, ours, theirs, merged) has what each side added and not
    what it removed. In doubt it has not.
    """
    base, ours, theirs, merged = files
    if base is None or ours is None or theirs is None or merged is None:
        return False
    return _keeps(base, ours, theirs, merged) and _keeps(base, theirs, ours, merged)


def _keeps(
    base: Counter[bytes],
    side: Counter[bytes],
    other: Counter[bytes],
    merged: Counter[bytes],
) -> bool:
    if any(line not in merged for line in side - base):
        return False
    removed = [line for line in base if line not in side]
    return not any(line in merged and other[line] <= base[line] for line in removed)


def _versions(listing: bytes) -> dict[str, Versions]:
    """Path → its versions, of `MODE ID STAGE TAB PATH` entries that end with NUL."""
    versions: dict[str, Versions] = {}
    for entry in filter(None, listing.split(b"\0")):
        meta, _, name = entry.partition(b"\t")
        mode, object_id, stage = meta.decode().split()
        path = os.fsdecode(name)
        known = versions.setdefault(path, Versions())
        if stage == "2":
            versions[path] = known._replace(ours=(mode, object_id))
        elif stage == "3":
            versions[path] = known._replace(theirs=(mode, object_id))
    return versions


def _conflict_messages(output: bytes) -> tuple[str, ...]:
    """The conflicts among the messages of `merge-tree -z`.

    A message is a count, so many paths, its type and its text, each ended by NUL.
    """
    fields = output.split(b"\0")
    messages = []
    while len(fields) > 1:
        count = int(fields[0] or 0)
        kind, text = fields[count + 1], fields[count + 2]
        if kind.startswith(b"CONFLICT"):
            messages.append(text.decode("utf-8", "replace").strip())
        fields = fields[count + 3 :]
    return tuple(messages)


def _hunks(trees: TreeReader, tree: str, paths: Sequence[str]) -> str:
    """The regions between conflict markers in the merged files, cut to a limit."""
    hunks: list[str] = []
    for path in paths:
        entry = trees.find(tree, path)
        if entry is None or not entry[0].startswith("100"):
            continue
        content = trees.content(entry[1]).decode("utf-8", "replace")
        hunks.extend(f"{path}:\n{hunk}" for hunk in _HUNK.findall(content))
    return "\n".join(hunks)[:_MAX_HUNKS]
