"""Read-only trees that plan formats read from: one commit, or the work tree."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.core.errors import InvalidInput, Problem
from runner.core.task import PlanSettings
from runner.plan.formats import Tree
from runner.repo.object_database import ObjectDatabase

# Bytes of one plan file. The largest plan we have seen has a tenth of it.
MAX_FILE = 16 * 2**20
# Bytes of a plan's folder that are read ahead in one go.
MAX_FOLDER = 64 * 2**20
_READ_AHEAD = (".md", ".yml", ".yaml")


class CommitTree:
    """The files of one commit. Each blob is read at most once."""

    def __init__(self, objects: ObjectDatabase, commit: str) -> None:
        self._objects, self._commit = objects, commit
        self._texts: dict[str, str | None] = {}

    def read(self, path: str) -> str | None:
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path]

    def _read(self, path: str) -> str | None:
        entry = self._objects.files(self._commit, path).get(path)
        if entry is None:
            return None
        object_id, size = entry
        _refuse_large(path, size)
        return decode_text(path, self._objects.blob(object_id))

    def list(self, folder: str) -> Sequence[str]:
        files = self._objects.files(self._commit, folder)
        files = {path: entry for path, entry in files.items() if path != folder}
        self._read_ahead(files)
        return sorted(files)

    def _read_ahead(self, files: Mapping[str, tuple[str, int]]) -> None:
        """Read the texts of a folder with one git process instead of one for each.

        `files` is path → (object id, size in bytes). What is too large or not UTF-8 is
        left to `read`, which reports it.
        """
        selected: dict[str, str] = {}
        total = 0
        for path, (object_id, size) in files.items():
            if path in self._texts or not path.endswith(_READ_AHEAD):
                continue
            total += size
            if size <= MAX_FILE:
                selected[path] = object_id
        if not selected or total > MAX_FOLDER:
            return
        blobs = self._objects.blobs(sorted(set(selected.values())))
        for path, object_id in selected.items():
            try:
                self._texts[path] = blobs[object_id].decode()
            except UnicodeDecodeError:
                continue


class WorkTree:
    """The files below a folder on disk, committed or not. Symbolic links are ignored."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._texts: dict[str, str | None] = {}

    def read(self, path: str) -> str | None:
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path]

    def _read(self, path: str) -> str | None:
        file = self._root / path
        if not file.is_file() or file.is_symlink():
            return None
        _refuse_large(path, file.stat().st_size)
        return decode_text(path, file.read_bytes())

    def list(self, folder: str) -> Sequence[str]:
        start = self._root / folder
        paths = []
        for parent, folders, files in os.walk(start):
            # In place, so that os.walk does not enter it.
            folders[:] = [name for name in folders if name != ".git"]
            for name in files:
                file = Path(parent, name)
                if not file.is_symlink():
                    paths.append(f"{folder}/{file.relative_to(start).as_posix()}")
        return sorted(paths)


def work_tree(root: Path, choice: PlanSettings) -> WorkTree:
    """The tree below `root`. Raises InvalidInput if it does not contain the plan."""
    tree = WorkTree(root)
    if exists(tree, choice.path):
        return tree
    remedy = missing_plan_remedy(choice)
    raise InvalidInput([Problem(choice.path, None, "there is no such plan", remedy)])


def read_file(path: Path) -> bytes | None:
    """The bytes of a file in the work tree, or None if it does not exist."""
    return path.read_bytes() if path.is_file() else None


def missing_plan_remedy(choice: PlanSettings) -> str:
    """The remedy for a plan that does not exist."""
    if choice.of_issues:
        return "write it with  fanin collect"
    return "write one ( fanin init ), or name yours with  --plan PATH"


def exists(tree: Tree, path: str) -> bool:
    """Whether the tree has a file at `path` or any below it."""
    return tree.read(path) is not None or bool(tree.list(path))


def decode_text(path: str, data: bytes | None) -> str | None:
    """The UTF-8 text of a file; None stays None. Raises InvalidInput if it is not text."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = Problem(path, line, "is not UTF-8 text", "save it as UTF-8")
        raise InvalidInput([problem]) from None


def _refuse_large(path: str, size: int) -> None:
    # Before it is read: a parsed plan takes many times the memory of its text.
    if size <= MAX_FILE:
        return
    what = f"the file has {size:,} bytes; the limit for a plan is {MAX_FILE:,}"
    remedy = "split the plan, or name the right file with  --plan PATH"
    raise InvalidInput([Problem(path, 1, what, remedy)])
