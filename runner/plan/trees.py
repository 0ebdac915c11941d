"""Read-only trees that plan formats read from: one commit, or the work tree."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from runner.core import plan_paths, typed_paths
from runner.core.errors import InvalidInput, Problem
from runner.core.task import PlanSettings
from runner.plan.formats import MemoryTree, Tree
from runner.policy.change import Change
from runner.repo.object_database import WritableDatabase
from runner.repo.objects import object_id_of
from runner.repo.repository import Repository

# Bytes of one plan file. The largest plan we have seen has a tenth of it.
MAX_FILE = 16 * 2**20
# Bytes of a plan's folder that are read ahead in one go.
MAX_FOLDER = 64 * 2**20
NO_PLAN = "there is no such plan"
_READ_AHEAD = (".md", ".yml", ".yaml")


class CommitTree:
    """The files of one commit. Each blob is read at most once."""

    def __init__(self, objects: WritableDatabase, commit: str) -> None:
        self._objects, self._commit = objects, commit
        self._texts: dict[str, str | None] = {}

    def read(self, path: str) -> str | None:
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path]

    def _read(self, path: str) -> str | None:
        # by ids: a quarantine would write its objects out for git to look at a path
        entry = self._objects.entry(self._commit, path)
        if entry is None or not _is_file(entry):
            return None
        _, object_id = entry
        (info,) = self._objects.infos([object_id])
        _refuse_large(path, info.size if info is not None else 0)
        return decode_text(path, self._objects.blob(object_id))

    def list(self, folder: str) -> Sequence[str]:
        # known without a process, and asked of folders that most plans do not have
        if self.folder(folder) is None:
            return ()
        files = self._objects.files(self._commit, folder)
        files = {path: entry for path, entry in files.items() if path != folder}
        self._read_ahead(files)
        return sorted(files)

    def folder(self, path: str) -> str | None:
        """The id of a folder's tree; None if there is none."""
        return self._objects.tree_at(self._commit, path)

    def changes_since(self, earlier: str, folder: str) -> Sequence[Change] | None:
        """What is in the folder otherwise than in its tree `earlier`; None if that tree is
        not there any more.
        """
        now = self.folder(folder)
        if now == earlier:
            return []
        if now is None or not self._objects.is_tree(earlier):
            return None
        prefix = "" if folder == "." else f"{folder}/"
        return [
            change._replace(path=prefix + change.path)
            for change in self._objects.changes(earlier, now)
        ]

    def blob_id(self, text: str) -> str:
        """The id of a file with this text."""
        algorithm = self._objects.configuration.object_format
        return object_id_of("blob", text.encode(), algorithm)

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


class RecordingTree:
    """A tree that remembers everything that was read from it."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.texts: dict[str, str | None] = {}
        self.folders: dict[str, tuple[str, ...]] = {}
        # known folders: folder → the id of a tree with the files that are recorded here,
        # but for what was written since
        self._tree_ids: dict[str, str] = {}
        self._written: set[str] = set()
        # what was read and is in no known folder
        self._outside: list[str] = []

    def read(self, path: str) -> str | None:
        self.texts[path] = self._tree.read(path)
        return self.texts[path]

    def list(self, folder: str) -> Sequence[str]:
        self.folders[folder] = tuple(self._tree.list(folder))
        if isinstance(self._tree, CommitTree):
            object_id = self._tree.folder(folder)
            if object_id is not None:
                self._tree_ids[folder] = object_id
        return self.folders[folder]

    def close(self) -> None:
        """Read nothing more, and do not keep the repository alive."""
        self._tree = MemoryTree({})
        self._outside = [
            path
            for path in self.texts
            if not any(_is_below(path, folder) for folder in self._tree_ids)
        ]

    def write(self, texts: Mapping[str, str]) -> None:
        """Take these texts for those of their files, as if they had been read."""
        self.texts.update(texts)
        self._written.update(texts)

    def matches(self, tree: Tree) -> bool:
        """Whether all that was read is the same in another tree."""
        try:
            if isinstance(tree, CommitTree) and self._tree_ids:
                return self._matches_commit(tree)
            return self._has_lists(tree, self.folders) and self._has_texts(
                tree, self.texts
            )
        except InvalidInput:
            return False

    def changed_files(
        self, commit: CommitTree, is_ignored: Callable[[str], bool]
    ) -> set[str] | None:
        """The files that are otherwise in the commit than they were read from another one,
        without those that are ignored. None if that cannot be told.
        """
        changed: list[str] = []
        for folder, files in self.folders.items():
            if is_ignored(folder):
                continue
            earlier = self._tree_ids.get(folder)
            if earlier is None:
                changed += {*files} ^ {*commit.list(folder)}
                continue
            changes = commit.changes_since(earlier, folder)
            if changes is None:
                return None
            changed += [
                change.path
                for change in changes
                if not self._is_as_recorded(change, commit)
            ]
        for path in self._outside:
            # what is ignored is not read
            if not is_ignored(path) and commit.read(path) != self.texts[path]:
                changed.append(path)
        return {path for path in changed if not is_ignored(path)}

    def _matches_commit(self, commit: CommitTree) -> bool:
        """`matches`, without a look at files of known folders that have not changed.

        If it does, the folders' trees in the commit are the known ones from then on.
        """
        if not self._has_lists(commit, self.folders.keys() - self._tree_ids.keys()):
            return False
        tree_ids: dict[str, str] = {}
        compared: set[str] = set()
        for folder, earlier in self._tree_ids.items():
            tree_id = commit.folder(folder)
            changes = commit.changes_since(earlier, folder)
            if tree_id is None or changes is None:
                return False
            if not all(self._is_as_recorded(change, commit) for change in changes):
                return False
            tree_ids[folder] = tree_id
            compared.update(change.path for change in changes)
        # What was written is not in the known trees: it must be among the changes, or be
        # what the trees have.
        others = {*self._outside, *self._written} - compared
        if not self._has_texts(commit, others):
            return False
        self._tree_ids = tree_ids
        self._written = set()
        return True

    def _has_lists(self, tree: Tree, folders: Iterable[str]) -> bool:
        """Whether these folders have the same files in the tree."""
        return all(tuple(tree.list(each)) == self.folders[each] for each in folders)

    def _has_texts(self, tree: Tree, paths: Iterable[str]) -> bool:
        """Whether these files have the same texts in the tree."""
        return all(tree.read(path) == self.texts[path] for path in paths)

    def _is_as_recorded(self, change: Change, commit: CommitTree) -> bool:
        """Whether a change of a known folder makes its file what was read of it."""
        if _is_file(change.old) != _is_file(change.new):
            return False  # the folder's list differs
        text = self.texts.get(change.path)
        if text is None or change.new is None:
            return True
        return commit.blob_id(text) == change.new[1]


def _is_below(path: str, folder: str) -> bool:
    return folder == "." or path.startswith(f"{folder}/")


def _is_file(entry: tuple[str, str] | None) -> bool:
    return entry is not None and entry[0].startswith("100")


class WorkTree:
    """The files below a folder on disk, committed or not. Symbolic links are ignored.

    So is what git ignores, if `repo` is given: it can never be in a commit. `ignored`
    are the paths that were left unread because of that.
    """

    def __init__(self, root: Path, repo: Repository | None = None) -> None:
        self._root = root
        self._repo = repo
        self._texts: dict[str, str | None] = {}
        self._listed: list[str] = []
        self.ignored: set[str] = set()

    def read(self, path: str) -> str | None:
        if path not in self._texts:
            text = self._read(path)
            if text is not None and self._is_ignored(path):
                text = None
            self._texts[path] = text
        return self._texts[path]

    def _is_ignored(self, path: str) -> bool:
        if not any(
            folder == "." or path.startswith(f"{folder}/") for folder in self._listed
        ):
            self._find_ignored(path)
        return path in self.ignored

    def _find_ignored(self, path: str) -> None:
        if self._repo is not None:
            self.ignored.update(self._repo.ignored_files(path))

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
                    paths.append(file.relative_to(self._root).as_posix())
        if paths and folder not in self._listed:
            self._find_ignored(folder)
            self._listed.append(folder)
        return sorted(path for path in paths if path not in self.ignored)


class CommittedState:
    """A work tree in which a tool's own state is read from the commit, as by a run.

    Such a file says how the plan is to be read, and is easily changed without a commit.
    `differing` are those that the work tree has otherwise.
    """

    def __init__(self, tree: Tree, commit: Tree, names: Sequence[str]) -> None:
        self._tree, self._commit, self._names = tree, commit, tuple(names)
        self.differing: set[str] = set()

    def read(self, path: str) -> str | None:
        if not path.endswith(self._names):
            return self._tree.read(path)
        text = self._commit.read(path)
        if text != self._tree.read(path):
            self.differing.add(path)
        return text

    def list(self, folder: str) -> Sequence[str]:
        return self._tree.list(folder)


def work_tree(
    root: Path, choice: PlanSettings, repo: Repository | None = None
) -> WorkTree:
    """The tree below `root`, without what git ignores if `repo` is given.

    Raises InvalidInput if it does not contain the plan.
    """
    paths = [choice.path]
    if choice.is_several:
        names = plan_paths.parts(choice.path)
        paths = [name for name in names if not plan_paths.is_pattern(name)]
    for path in paths:
        problem = unreachable(repo, path) if repo else None
        if problem is not None:
            raise InvalidInput([problem])
    tree = WorkTree(root, repo)
    if choice.is_several:
        return tree
    if exists(tree, choice.path):
        return tree
    remedy = missing_plan_remedy(choice)
    raise InvalidInput([Problem(choice.path, None, NO_PLAN, remedy)])


def unreachable(repo: Repository, path: str) -> Problem | None:
    """Why no commit of the repository has the plan at `path`, with what to do.

    It is ignored by git, in another repository, or reached through a symbolic link. None
    if nothing prevents it.
    """
    parts = path.split("/")
    prefixes = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    for prefix in prefixes:
        place = repo.root / prefix
        if place.is_symlink():
            return _link_problem(repo.root, path, prefix)
        if (place / ".git").exists() or repo.is_submodule(prefix):
            return _nested_problem(path, prefix)
    files = [path]
    if (repo.root / path).is_dir():
        files = list(WorkTree(repo.root).list(path))
    ignored = set(repo.ignored_files(path)) if files else set()
    if not ignored or not ignored.issuperset(files):
        return None
    what = "is ignored by git, so that no commit has it"
    remedy = f"commit it all the same:  {_commit_command(repo.root, path, '-f ')}"
    return Problem(path, None, what, remedy)


def _link_problem(root: Path, path: str, link: str) -> Problem:
    what = f"{link} is a symbolic link, which fanin does not follow"
    if link == path:
        what = "is a symbolic link, which fanin does not follow"
    target = (root / path).resolve()
    remedy = "copy the plan into this repository"
    if target.is_relative_to(root.resolve()):
        inside = target.relative_to(root.resolve()).as_posix()
        remedy = f"name what it leads to:  --plan {shlex.quote(inside)}"
    return Problem(path, None, what, remedy)


def _nested_problem(path: str, nested: str) -> Problem:
    what = f"is in another repository, the submodule or clone {nested}"
    rest = path.removeprefix(nested).lstrip("/")
    remedy = f"run fanin there:  fanin -C {shlex.quote(nested)} run"
    if rest:
        remedy += f" --plan {shlex.quote(rest)}"
    return Problem(path, None, what, remedy)


def _commit_command(root: Path, path: str, flag: str = "") -> str:
    add = typed_paths.git_add(root, [path], flag)
    return f"{add} && {typed_paths.git_commit(root)}"


def ignored_note(root: Path, paths: Collection[str]) -> str:
    """A sentence about files of the plan in the work tree at `root` that git ignores."""
    first, *others = sorted(paths)
    names = first if not others else f"{first} and {len(others)} more"
    command = _commit_command(root, first, "-f ")
    return (
        f"git ignores {names}, so that a run does not see them; to commit:  {command}"
    )


def missing_in_commit(repo: Repository, choice: PlanSettings) -> Problem:
    """Why a commit does not have the plan, and what to do about it."""
    if problem := unreachable(repo, choice.path):
        return problem
    remedy = missing_plan_remedy(choice)
    if (repo.root / choice.path).exists():
        remedy = f"commit it:  {_commit_command(repo.root, choice.path)}"
    return Problem(choice.path, None, "there is no such plan in the commit", remedy)


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
