"""Merges trees by `git merge-tree`, and reads the conflicts that it reports."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from runner.core.errors import GitFailed
from runner.repo.command import Git
from runner.repo.objects import Objects

_HUNK = re.compile(r"^<{7} .*?^>{7} [^\n]*$", re.DOTALL | re.MULTILINE)
_MAX_HUNKS = 4_000  # characters of all hunks together


@dataclass(frozen=True)
class Conflict:
    """The conflict of a merge: the paths, git's messages, and the marked hunks."""

    paths: tuple[str, ...]
    messages: tuple[str, ...]
    hunks: str


def merge_trees(
    git: Git, objects: Objects, base: str, ours: str, theirs: str
) -> str | Conflict:
    """The tree that git's own three-way merge makes, or what it could not decide.

    `objects` are those that `git` reads and writes. Raises GitFailed if git cannot
    merge.
    """
    # git 2.39's merge-tree takes no base and no trees: it takes two commits and finds
    # their base itself. So it gets commits that are made for it.
    root = objects.commit(base)
    sides = [objects.commit(tree, root) for tree in (ours, theirs)]
    argv = ["merge-tree", "--write-tree", "-z", "--messages", *sides]
    done = git.run_unchecked(argv)
    if done.status not in {0, 1}:
        raise GitFailed(argv, done.status, done.stderr)
    merged, _, rest = done.stdout.partition(b"\0")
    tree = merged.decode()
    if done.status == 0:
        return tree
    listing, _, messages = rest.partition(b"\0\0")
    paths = _conflicted_paths(listing)
    return Conflict(paths, _conflict_messages(messages), _hunks(objects, tree, paths))


def _conflicted_paths(listing: bytes) -> tuple[str, ...]:
    """Each path once, of `MODE ID STAGE TAB PATH` entries that end with NUL."""
    entries = [entry for entry in listing.split(b"\0") if entry]
    paths = [os.fsdecode(entry.partition(b"\t")[2]) for entry in entries]
    return tuple(dict.fromkeys(paths))


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


def _hunks(objects: Objects, tree: str, paths: Sequence[str]) -> str:
    """The regions between conflict markers in the merged files, cut to a limit."""
    hunks: list[str] = []
    for path in paths:
        entry = objects.find(tree, path)
        if entry is None or not entry[0].startswith("100"):
            continue
        content = objects.content(entry[1]).decode("utf-8", "replace")
        hunks.extend(f"{path}:\n{hunk}" for hunk in _HUNK.findall(content))
    return "\n".join(hunks)[:_MAX_HUNKS]
