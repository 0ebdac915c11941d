"""Random triples of trees, and whether a merge of earlier work drops anything of them."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from runner.policy.change import EXECUTABLE, REGULAR, SYMLINK
from runner.repo.command import isolated_git
from runner.repo.labelled_merge import LabelledMerge, Labels, marker_pattern, merge
from runner.repo.objects import Entry
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository

Files = dict[str, tuple[str, bytes]]  # path → mode and content
PATHS = ("a", "b", "c.txt", "d", "d/x", "d/y", "e/f/g", "bin", "link", "new", "n/m")
_KINDS = (*["edit"] * 7, "move", "delete", "mode", "new", "binary", "link")
LABELS = Labels.of("T1", 3, 2)


@dataclass
class _Texts:
    """Lines that occur once in all trees of a triple, so that each can be looked for."""

    random: random.Random
    count: int = 0

    def line(self) -> bytes:
        self.count += 1
        return b"line %d %032x\n" % (self.count, self.random.getrandbits(128))

    def file(self) -> bytes:
        return b"".join(self.line() for _ in range(self.random.randint(3, 12)))

    def binary(self) -> bytes:
        return b"\0" + self.line() * 3


def triple(chooser: random.Random) -> tuple[Files, Files, Files]:
    """A base and what two sides made of it."""
    texts = _Texts(chooser)
    base: Files = {}
    for path in ("a", "b", "c.txt", "d/x", "e/f/g"):
        base[path] = REGULAR, texts.file()
    base["d/y"] = EXECUTABLE, texts.file()
    base["bin"] = REGULAR, texts.binary()
    base["link"] = SYMLINK, b"a"
    sides = []
    for _ in range(2):
        files = dict(base)
        for _ in range(chooser.randint(1, 4)):
            _change(files, texts, chooser)
        sides.append(files)
    return base, sides[0], sides[1]


def _change(files: Files, texts: _Texts, chooser: random.Random) -> None:
    path = chooser.choice(sorted(files)) if files else "a"
    if chooser.random() < 0.5 and "a" in files:
        path = "a"
    mode, data = files.get(path, (REGULAR, b""))
    kind = chooser.choice(_KINDS)
    if kind == "edit":
        files[path] = mode, _edited(mode, data, texts, chooser)
    elif kind == "delete":
        files.pop(path, None)
    elif kind == "move":
        files.pop(path, None)
        if chooser.random() < 0.5:
            data = _edited(mode, data, texts, chooser)
        _put(files, chooser.choice(PATHS), (mode, data))
    elif kind == "mode" and mode != SYMLINK:
        files[path] = EXECUTABLE if mode == REGULAR else REGULAR, data
    elif kind == "new":
        _put(files, chooser.choice(PATHS), (REGULAR, texts.file()))
    elif kind == "binary":
        _put(files, path, (REGULAR, texts.binary()))
    elif kind == "link":
        _put(files, path, (SYMLINK, texts.line().strip().replace(b" ", b"-")))


def _edited(mode: str, data: bytes, texts: _Texts, chooser: random.Random) -> bytes:
    if mode == SYMLINK:
        return texts.line().strip().replace(b" ", b"-")
    lines = data.splitlines(keepends=True)
    # near the start half of the time, so that both sides change the same lines
    at = chooser.randint(0, len(lines) if chooser.random() < 0.5 else 1)
    lines[at : at + chooser.randint(0, 2)] = [
        texts.line() for _ in range(chooser.randint(0, 3))
    ]
    return b"".join(lines)


def _put(files: Files, path: str, entry: tuple[str, bytes]) -> None:
    """Set the path; what cannot be beside it goes."""
    for other in list(files):
        if other.startswith(f"{path}/") or path.startswith(f"{other}/"):
            del files[other]
    files[path] = entry


@dataclass
class Merger:
    """Merges triples of files in one quarantine."""

    quarantine: Quarantine
    empty: str
    blobs: dict[bytes, str] = field(default_factory=dict)

    def tree(self, files: Files) -> str:
        entries: dict[str, Entry | None] = {}
        for path, (mode, data) in files.items():
            if data not in self.blobs:
                self.blobs[data] = self.quarantine.objects().write("blob", data)
            entries[path] = mode, self.blobs[data]
        return self.quarantine.write_tree(self.empty, entries)

    def merge(self, base: Files, ours: Files, theirs: Files) -> LabelledMerge:
        trees = [self.tree(files) for files in (base, ours, theirs)]
        objects = self.quarantine.objects()
        return merge(self.quarantine.git, objects, trees[0], trees[1], trees[2], LABELS)

    def files(self, tree: str) -> Files:
        """The files of a tree. The quarantine reads them, so that no process starts."""
        objects = self.quarantine.objects()
        files: Files = {}
        folders = [("", tree)]
        while folders:
            prefix, folder = folders.pop()
            for name, (mode, object_id) in objects.tree(folder).items():
                path = prefix + os.fsdecode(name)
                if mode == "40000":
                    folders.append((f"{path}/", object_id))
                else:
                    files[path] = mode, objects.content(object_id)
        return files


@dataclass
class _Merge:
    """One merged triple, as it is looked at."""

    base: Files
    result: Files
    marked: tuple[str, ...]
    named: dict[str, list[Entry]]  # path → its versions that the merge names
    everything: bytes  # all contents that are in the result or named


def dropped(
    merger: Merger, base: Files, ours: Files, theirs: Files, merged: LabelledMerge
) -> list[str]:
    """Sentences about what the merge dropped; none if it kept both sides."""
    result = merger.files(merged.tree)
    named: dict[str, list[Entry]] = {}
    kept = [data for _, data in result.values()]
    for unmarked in merged.unmarked:
        entries = [entry for entry in unmarked.versions if entry is not None]
        named[unmarked.path] = entries
        objects = merger.quarantine.objects()
        kept += [objects.content(object_id) for _, object_id in entries]
    looked_at = _Merge(base, result, merged.marked, named, b"\n".join(kept))
    problems = [f"base: {each}" for each in _dropped_of(looked_at, ours, theirs)]
    problems += [f"work: {each}" for each in _dropped_of(looked_at, theirs, ours)]
    for path in merged.marked:
        if marker_pattern("T1").search(result[path][1]) is None:
            problems.append(f"{path} has no marker with a label")
    return problems


def _dropped_of(merge: _Merge, files: Files, other: Files) -> list[str]:
    """What is dropped of one side's changes."""
    problems = _lost_lines(merge, files)
    for path, entry in files.items():
        # A new path may be a new name, to which the other side's edit goes.
        old = merge.base.get(path)
        if old is None or old == entry or other.get(path) != old:
            continue
        is_clean = path not in merge.marked and path not in merge.named
        if is_clean and merge.result.get(path, entry) != entry:
            problems.append(f"{path} is not as it left it")
    for path, entry in merge.base.items():
        now = files.get(path)
        if now is not None and now[0] != entry[0] and not _has_mode(merge, path, now):
            problems.append(f"{path} lost its mode")
        is_removed = now is None and other.get(path) == entry
        if is_removed and path not in merge.named and merge.result.get(path) == entry:
            problems.append(f"{path} is back")
    return problems


def _lost_lines(merge: _Merge, files: Files) -> list[str]:
    known = b"\n".join(data for _, data in merge.base.values())
    lost = []
    for path, (_, data) in files.items():
        for line in data.splitlines():
            if line not in known and line not in merge.everything:
                lost.append(f"{path} lost {line!r}")
    return lost


def _has_mode(merge: _Merge, path: str, entry: tuple[str, bytes]) -> bool:
    """Whether the mode is in the result, at the path or where it was put aside."""
    modes = [each[0] for each in merge.named.get(path, ())]
    is_there = False
    for name, (mode, _) in merge.result.items():
        if name == path or name.startswith(f"{path}~"):
            is_there = True
            modes.append(mode)
            modes += [each[0] for each in merge.named.get(name, ())]
    if is_there:
        return entry[0] in modes
    # The other side has moved or removed it: its mode goes with its content.
    everywhere = [mode for mode, _ in merge.result.values()]
    everywhere += [each[0] for entries in merge.named.values() for each in entries]
    return entry[0] in everywhere


def open_merger(folder: Path) -> Merger:
    """A merger in a new repository."""
    isolated_git(folder).run(["init", "-q"])
    repository = Repository(folder, os.environ)
    quarantine = Quarantine(repository, folder / "quarantine")
    empty = quarantine.objects().write("tree", b"")
    return Merger(quarantine, empty)
