"""Merges a task's earlier work onto a newer base. What git cannot decide stays in the
merged tree, between labelled markers where a file can have any.

No side is ever dropped: each version of a path that conflicts is in the tree, between
markers, or named by its object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from runner.repo.command import Git
from runner.repo.merge_trees import Conflict, Versions, make_sides, merge_trees
from runner.repo.objects import Objects, TreeReader

# git marks with at least seven characters; an attribute can ask for more
_MARKER = rb"(?:<{7,}|>{7,})"
# as fan_in merges: a new file is never put into a folder that the other side has moved
_CONFIG = ("merge.directoryRenames=false", "merge.renames=true")


class Labels(NamedTuple):
    """The names of the sides in markers, and in the names of files that git has put
    aside.
    """

    base: str
    work: str
    base_name: str
    work_name: str

    @classmethod
    def of(cls, task_id: str, attempt: int, work_attempt: int) -> Labels:
        """Those of an attempt at a task that starts from the work of an earlier one."""
        return cls(
            f"fanin: base of {task_id}, attempt {attempt}",
            f"fanin: work of {task_id}, attempt {work_attempt}",
            "base",
            f"attempt-{work_attempt}",
        )


class Unmarked(NamedTuple):
    """A path whose conflict has no markers; its versions on both sides, and `merged`,
    what the tree has of it.
    """

    path: str
    versions: Versions
    merged: tuple[str, str] | None


class LabelledMerge(NamedTuple):
    """The merged tree, the files in it with markers, and the paths whose conflict has
    none. `messages` are git's sentences about what conflicts.
    """

    tree: str
    marked: tuple[str, ...] = ()
    unmarked: tuple[Unmarked, ...] = ()
    messages: tuple[str, ...] = ()


def merge(
    git: Git, objects: Objects, old_base: str, base: str, work: str, labels: Labels
) -> LabelledMerge:
    """Merge the tree `work`, which was made on `old_base`, with `base`.

    `objects` are those that `git` reads and writes. Raises GitFailed if git cannot
    merge.
    """
    git = git.with_config(*_CONFIG)
    sides = make_sides(objects, old_base, base, work)
    merged = merge_trees(git, objects, sides)
    if isinstance(merged, str):
        return LabelledMerge(merged)
    return _labelled(objects, merged, labels)


def _labelled(objects: Objects, conflict: Conflict, labels: Labels) -> LabelledMerge:
    names = _new_names(objects, conflict, labels)
    changes: dict[str, tuple[str, str] | None] = {}
    marked: list[str] = []
    unmarked: list[Unmarked] = []
    for path, versions in conflict.versions.items():
        name = names.get(path, path)
        entry = objects.find(conflict.tree, path)
        if name != path:
            changes[path] = None
            changes[name] = entry
        has_markers = False
        if entry is not None and entry[0].startswith("100"):
            content = objects.content(entry[1])
            text = _with_labels(content, conflict.sides, labels)
            has_markers = text != content
            if has_markers:
                changes[name] = entry[0], objects.write("blob", text)
                marked.append(name)
        if not has_markers or _modes_differ(versions):
            unmarked.append(Unmarked(name, versions, entry))
    tree = objects.edited(conflict.tree, changes) if changes else conflict.tree
    messages = [_renamed(text, conflict.sides, labels) for text in conflict.messages]
    return LabelledMerge(tree, tuple(marked), tuple(unmarked), tuple(messages))


def _new_names(
    trees: TreeReader, conflict: Conflict, labels: Labels
) -> Mapping[str, str]:
    """New names of the files that git has put aside under the name of a side's commit."""
    names: dict[str, str] = {}
    for path in conflict.versions:
        name = path
        for side, plain in _sides(conflict.sides, labels):
            name = name.replace(f"~{side}", f"~{plain}")
        if name == path:
            continue
        unique, number = name, 0
        while unique in names.values() or trees.find(conflict.tree, unique):
            number += 1
            unique = f"{name}-{number}"
        names[path] = unique
    return names


def _sides(sides: Sequence[str], labels: Labels) -> list[tuple[str, str]]:
    return list(zip(sides, (labels.base_name, labels.work_name), strict=True))


def _renamed(text: str, sides: Sequence[str], labels: Labels) -> str:
    for side, name in _sides(sides, labels):
        text = text.replace(side, name)
    return text


def _with_labels(content: bytes, sides: Sequence[str], labels: Labels) -> bytes:
    """The file with labels in its markers instead of the names of commits.

    Only in markers: these names may be anywhere else, because anyone can compute them.
    """
    for side, label in zip(sides, (labels.base, labels.work), strict=True):
        marker = rb"(?m)^(%s )%s(?=[:\r\n]|\Z)" % (_MARKER, side.encode())
        replacement = label.encode()
        content = re.sub(
            marker,
            # a function, because an id may have a backslash
            lambda match, new=replacement: match[1] + new,  # type: ignore[misc]
            content,
        )
    return content


def _modes_differ(versions: Versions) -> bool:
    ours, theirs = versions
    return ours is not None and theirs is not None and ours[0] != theirs[0]


def marker_pattern(task_id: str) -> re.Pattern[bytes]:
    """Matches a line that is a marker of any attempt at the task."""
    own = rb" fanin: (?:base|work) of %s, attempt [0-9]+" % re.escape(task_id.encode())
    return re.compile(rb"(?m)^" + _MARKER + own)
