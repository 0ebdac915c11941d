"""Read-only trees of files that plan formats read from: one commit, or the work tree."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.core.errors import InvalidInput, Problem
from runner.core.task import PlanSettings
from runner.plan.formats import Tree
from runner.repo.repository import Repository

# bytes of one plan file; the largest seen in the wild has a tenth of it
MAX_FILE = 16 * 2**20
MAX_FOLDER = 64 * 2**20  # bytes of a plan folder that are read at once
_PREFETCHED = (".md", ".yml", ".yaml")


class CommitTree:
    """The files of one commit, as plan formats read them; each blob is read at most
    once. `env` if it lies in a quarantine.
    """

    def __init__(
        self, repo: Repository, commit: str, env: Mapping[str, str] | None = None
    ) -> None:
        self._repo, self._commit, self._env = repo, commit, env
        self._texts: dict[str, str | None] = {}

    def read(self, path: str) -> str | None:
        if path not in self._texts:
            found = self._repo.files(self._commit, path, self._env).get(path)
            self._texts[path] = None
            if found is not None:
                _refuse_large(path, found[1])
                self._texts[path] = decode_text(
                    path, self._repo.blob(found[0], self._env)
                )
        return self._texts[path]

    def list(self, folder: str) -> Sequence[str]:
        below = self._repo.files(self._commit, folder, self._env).items()
        found = {path: entry for path, entry in below if path != folder}
        texts = [
            path
            for path in found
            if path not in self._texts and path.endswith(_PREFETCHED)
        ]
        sizes = [found[path][1] for path in texts]
        # one process instead of one for each file; larger folders are read as needed
        if sum(sizes) <= MAX_FOLDER:
            blobs = self._repo.blobs(
                sorted({found[path][0] for path in texts}), self._env
            )
            for path in texts:
                if found[path][1] <= MAX_FILE:
                    self._texts[path] = _lenient(blobs[found[path][0]])
                    if self._texts[path] is None:
                        del self._texts[path]
        return sorted(found)


class WorkTree:
    """The files below a folder on disk, committed or not. What a symbolic link leads to
    is not read.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._texts: dict[str, str | None] = {}

    def read(self, path: str) -> str | None:
        if path not in self._texts:
            file = self._root / path
            self._texts[path] = None
            if file.is_file() and not file.is_symlink():
                _refuse_large(path, file.stat().st_size)
                self._texts[path] = decode_text(path, file.read_bytes())
        return self._texts[path]

    def list(self, folder: str) -> Sequence[str]:
        found: list[str] = []
        for where, folders, files in os.walk(self._root / folder):
            folders[:] = [name for name in folders if name != ".git"]
            found += [
                f"{where}/{name}"
                for name in files
                if not Path(where, name).is_symlink()
            ]
        start = f"{self._root / folder}/"
        return sorted(f"{folder}/{path.removeprefix(start)}" for path in found)


def work_tree(root: Path, choice: PlanSettings) -> WorkTree:
    """The tree below `root`. InvalidInput if the plan is not in it."""
    tree = WorkTree(root)
    if not exists(tree, choice.path):
        raise InvalidInput(
            [
                Problem(
                    choice.path,
                    None,
                    "there is no such plan",
                    missing_plan_remedy(choice),
                )
            ]
        )
    return tree


def read_file(path: Path) -> bytes | None:
    """The bytes of a file in the work tree, None if there is none."""
    return path.read_bytes() if path.is_file() else None


def missing_plan_remedy(choice: PlanSettings) -> str:
    """How a plan that is not there comes to be."""
    if choice.of_issues:
        return "write it with  fanin collect"
    return "write one ( fanin init ), or name yours with  --plan PATH"


def exists(tree: Tree, path: str) -> bool:
    return tree.read(path) is not None or bool(tree.list(path))


def _refuse_large(path: str, size: int) -> None:
    """Before it is read: what is parsed takes many times the memory of its text."""
    if size > MAX_FILE:
        what = f"{size:,} bytes; a plan's file may have {MAX_FILE:,}"
        raise InvalidInput(
            [
                Problem(
                    path,
                    1,
                    what,
                    "split the plan, or name the right file with  --plan PATH",
                )
            ]
        )


def _lenient(data: bytes) -> str | None:
    """Text, or None where reading it must say what is wrong with it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def decode_text(path: str, data: bytes | None) -> str | None:
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1 if data else 1
        raise InvalidInput(
            [Problem(path, line, "is not UTF-8 text", "save it as UTF-8")]
        ) from None
