"""Names in a tree that are the same file as a new path on macOS or Windows: only the
folders on the way to the path are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from runner.policy.paths import folded
from runner.repo.objects import FOLDER, TreeReader


def spelled_alike(trees: TreeReader, tree: str, paths: Iterable[str]) -> list[str]:
    """The files and folders of the tree whose names are those of the paths, or of a
    folder above one, but for case and Unicode form. In the order of the tree.
    """
    wanted_names = _Wanted.of(paths)
    if not wanted_names.below:
        return []
    found: set[str] = set()
    # the folder's name with a slash, its tree, the names that are looked for below it
    folders = [("", tree, wanted_names)]
    while folders:
        folder, tree_id, wanted = folders.pop()
        for name, (mode, object_id) in trees.tree(tree_id).items():
            path = folder + os.fsdecode(name)
            below = wanted.below.get(folded(os.fsdecode(name)))
            if below is None:
                continue
            found.add(path)
            if mode == FOLDER and below.below:
                folders.append((f"{path}/", object_id, below))
    return sorted(found, key=os.fsencode)


class _Wanted:
    """Names without case and Unicode form, and what is looked for below each."""

    def __init__(self) -> None:
        self.below: dict[str, _Wanted] = {}

    @classmethod
    def of(cls, paths: Iterable[str]) -> _Wanted:
        wanted = cls()
        for path in paths:
            part = wanted
            for name in folded(path).split("/"):
                part = part.below.setdefault(name, cls())
        return wanted
