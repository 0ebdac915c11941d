"""Questions about the objects of a repository or quarantine, and new objects in it."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from runner.core.errors import GitFailed
from runner.policy.change import EXECUTABLE, GITLINK, REGULAR, SYMLINK, Change
from runner.repo import diff
from runner.repo.answer_cache import AnswerCache, is_full_id
from runner.repo.batch_process import Content, ObjectInfo, ObjectReader
from runner.repo.command import Git
from runner.repo.configuration import Configuration
from runner.repo.objects import (
    FOLDER,
    Entries,
    Entry,
    Objects,
    TreeCache,
    TreeReader,
    commit_links,
    parse_tree,
)

if TYPE_CHECKING:
    from runner.policy.redaction import Secrets
    from runner.repo.merge_trees import Conflict

T = TypeVar("T")
# Bytes of a folder that this process reads faster than git starts.
_MAX_FOLDER = 2**16
# What this process counts lines of faster than git starts: trees at once, bytes of a tree's
# changed files.
_MAX_COUNTED, _MAX_COUNTED_BYTES = 64, 2**19
_FILES = frozenset({REGULAR, EXECUTABLE})


class ObjectDatabase:
    """The objects that `git` and `reader` see. Methods raise GitFailed where git does."""

    def __init__(self, git: Git, reader: ObjectReader, answers: AnswerCache) -> None:
        self._git, self._reader, self._answers = git, reader, answers

    @property
    def git(self) -> Git:
        """Git that sees these objects."""
        return self._git

    @property
    def reader(self) -> ObjectReader:
        """Reads these objects through a process that lives long."""
        return self._reader

    def infos(self, names: Sequence[str]) -> list[ObjectInfo | None]:
        """Id, type and size of each object; None for a missing one."""
        return self.reader.infos(names)

    def contents(self, names: Sequence[str]) -> list[Content | None]:
        """Type and content of each object; None for a missing one."""
        return self.reader.contents(names)

    def tree(self, revision: str) -> str:
        """The id of the tree of a commit."""
        return self._answers.get(("tree", revision), lambda: self._tree(revision))

    def _tree(self, revision: str) -> str:
        if revision in self._tree_cache():
            return revision
        if is_full_id(revision):
            (info,) = self.infos([revision])
            if info is not None and info.kind == "tree":
                return revision
            if info is not None and info.kind == "commit":
                (commit,) = self.contents([revision])
                if commit is not None:
                    return dict(commit_links(commit.data))["tree"]
        return self.git.text(["rev-parse", f"{revision}^{{tree}}"]).strip()

    def is_tree(self, object_id: str) -> bool:
        """Whether the object is there and is a tree."""
        (info,) = self.infos([object_id])
        return info is not None and info.kind == "tree"

    def file(self, commit: str, path: str) -> bytes | None:
        """The content of a regular file in a commit, or None."""
        return self._answers.get(
            ("file", commit, path), lambda: self._file(commit, path)
        )

    def _file(self, commit: str, path: str) -> bytes | None:
        if "\n" not in path and self.reader.info(f"{commit}:{path}") is None:
            return None
        entry = self.files(commit, path).get(path)
        return self.blob(entry[0]) if entry is not None else None

    def has_entry(self, commit: str, path: str) -> bool:
        """Whether the path is a file, a folder or anything else in a commit."""
        folder, _, name = path.rpartition("/")
        if "\n" not in path:
            if self.reader.info(f"{commit}:{folder}") is None:
                return False
            entries = self._small_folder(commit, folder)
            if entries is not None:
                return os.fsencode(name) in entries
        return bool(self.git.run(["ls-tree", "-z", commit, "--", f":(literal){path}"]))

    def has_file(self, commit: str, path: str) -> bool:
        """Whether the path is a regular file in a commit."""
        return self.file(commit, path) is not None

    def files(self, commit: str, path: str) -> dict[str, tuple[str, int]]:
        """The regular files at or below `path` in a commit: path → (object id, size in
        bytes).
        """
        return self._answers.get(
            ("files", commit, path), lambda: self._files(commit, path)
        )

    def _files(self, commit: str, path: str) -> dict[str, tuple[str, int]]:
        # Mostly one file is asked for, which the running process knows.
        blob = self._blob_at(commit, path)
        if blob is not None:
            mode, info = blob
            is_regular = mode.startswith("100")
            return {path: (info.object_id, info.size)} if is_regular else {}
        listing = self.git.run(
            ["ls-tree", "-r", "-z", "-l", commit, "--", f":(literal){path}"]
        )
        files = {}
        for entry in listing.split(b"\0"):
            meta, _, name = entry.partition(b"\t")
            if meta.startswith(b"100"):
                _, _, object_id, size = meta.split()
                files[os.fsdecode(name)] = (object_id.decode(), int(size))
        return files

    def _blob_at(self, commit: str, path: str) -> tuple[str, ObjectInfo] | None:
        """The mode of what is at `path`, and the blob; None if it is anything else."""
        if "\n" in path:
            return None
        info = self.reader.info(f"{commit}:{path}")
        if info is None or info.kind != "blob":
            return None
        # Only its folder says whether it is a regular file.
        folder, _, name = path.rpartition("/")
        entry = (self._small_folder(commit, folder) or {}).get(os.fsencode(name))
        return (entry[0], info) if entry is not None else None

    def _small_folder(self, commit: str, path: str) -> Entries | None:
        """What a folder of a commit has; None if it is none, or git should be asked."""
        info = self.reader.info(f"{commit}:{path}")
        if info is None or info.kind != "tree" or info.size > _MAX_FOLDER:
            return None
        (tree,) = self.contents([info.object_id])
        if tree is None:
            return None
        return dict(parse_tree(tree.data, len(info.object_id) // 2))

    def paths(self, revision: str) -> list[str]:
        """Every path in a commit or tree, without folders."""
        return diff.parse_names(
            self.git.run(["ls-tree", "-r", "-z", "--name-only", revision])
        )

    def has_carriage_returns(self, tree: str, folder: str) -> bool:
        """Whether a text file below the folder has some; "" is the whole tree. True if
        git cannot say.
        """
        argv = ["grep", "-q", "-I", "-F", "-e", "\r", tree, "--"]
        return self.git.status([*argv, f":(top,literal){folder}"]) != 1

    def blob(self, object_id: str) -> bytes:
        """The content of a blob."""
        return self._answers.get(
            ("blob", object_id), lambda: self.blobs([object_id])[object_id]
        )

    def blobs(self, object_ids: Sequence[str]) -> dict[str, bytes]:
        """Object id → content of each blob."""
        blobs = {}
        contents = self.contents(object_ids)
        for object_id, content in zip(object_ids, contents, strict=True):
            if content is None or content.kind != "blob":
                raise GitFailed(["cat-file", "blob", object_id], 128, "no such blob")
            blobs[object_id] = content.data
        return blobs

    def changes(self, old: str, new: str) -> list[Change]:
        """The changes between two trees or commits, with sizes and link targets."""
        if old == new:
            return []
        found = self._tree_changes(old, [new])
        if found is None:
            found = [diff.parse_raw(self.git.run([*diff.RAW, old, new]))]
        return self._measured(found)[0]

    def changes_to_each(self, old: str, trees: Sequence[str]) -> list[list[Change]]:
        """`changes` from `old` to each of the trees or commits, read together."""
        found = self._tree_changes(old, trees)
        if found is None:
            return [self.changes(old, tree) for tree in trees]
        return self._measured(found)

    def _tree_changes(
        self, old: str, trees: Sequence[str]
    ) -> list[list[Change]] | None:
        if not all(map(is_full_id, (old, *trees))):
            return None
        # Not at the top: commands that show what is there compare no trees.
        from runner.repo.tree_changes import Database, tree_changes

        database = Database(self.infos, self.contents, self._tree_cache())
        changes = tree_changes(database, old, trees)
        if changes is None:
            # Mostly they are trees, so only now is asked whether they are commits.
            old_tree, *new_trees = map(self.tree, (old, *trees))
            if [old_tree, *new_trees] != [old, *trees]:
                changes = tree_changes(database, old_tree, new_trees)
        return changes

    def _tree_cache(self) -> TreeCache:
        """Where trees are kept between two questions."""
        return TreeCache()

    def changes_to(self, old: str, trees: Sequence[str]) -> list[list[Change]]:
        """`changes` from tree `old` to each of the trees.

        Raises ValueError if a tree has a file entry whose object is not a blob.
        """
        pairs = diff.pairs(old, trees)
        output = self.git.run([*diff.RAW, "--stdin"], stdin=pairs)
        changes = diff.parse_raw_pairs(output)
        if len(changes) != len(trees):
            raise ValueError("git did not compare every tree")
        return self._measured(changes, strict=True)

    def changed_paths(self, old: str, new: str) -> list[str]:
        """Paths that differ between two trees or commits; both paths of a rename."""
        changes = self._tree_changes(old, [new])
        if changes is not None:
            return [change.path for change in changes[0]]
        return diff.parse_names(self.git.run([*diff.NAMES, old, new]))

    def _measured(
        self, groups: Sequence[Sequence[Change]], *, strict: bool = False
    ) -> list[list[Change]]:
        """The changes with the sizes of their blobs and the targets of their links."""
        blobs: dict[str, None] = {}
        links: dict[str, None] = {}
        for changes in groups:
            for change in changes:
                if change.new is None or change.new[0] == GITLINK:
                    continue
                mode, object_id = change.new
                blobs[object_id] = None
                if mode == SYMLINK:
                    links[object_id] = None
        sizes = self._blob_sizes(list(blobs))
        if strict and len(sizes) < len(blobs):
            raise ValueError("a tree has a file entry whose object is not a blob")
        targets = self.blobs(list(links))
        return [
            [_with_content(change, sizes, targets) for change in changes]
            for changes in groups
        ]

    def _blob_sizes(self, object_ids: Sequence[str]) -> dict[str, int]:
        """Object id → size in bytes, of those that are blobs."""
        sizes = {}
        for info in self.infos(object_ids):
            if info is not None and info.kind == "blob":
                sizes[info.object_id] = info.size
        return sizes

    def first_secret(
        self, changes: Sequence[Change], secrets: Secrets
    ) -> tuple[str, str] | None:
        """(path, secret's name) of the first new path or new file with a secret."""
        from runner.repo import secret_search

        return secret_search.first_secret(changes, secrets, self._first_match)

    def _first_match(
        self, names: Sequence[str], match: Callable[[Iterator[bytes]], T | None]
    ) -> tuple[str, T] | None:
        return self.reader.first_match(names, match)


def folders_of(path: str) -> Iterator[str]:
    """The folders that the path is in, each with a slash at its end; "" is the root."""
    yield ""
    for index, character in enumerate(path):
        if character == "/":
            yield path[: index + 1]


def _with_content(
    change: Change, sizes: Mapping[str, int], targets: Mapping[str, bytes]
) -> Change:
    if change.new is None:
        return change
    mode, object_id = change.new
    target = None
    if mode == SYMLINK:
        target = os.fsdecode(targets[object_id])
    return change._replace(size=sizes.get(object_id, 0), target=target)


class WritableDatabase(ObjectDatabase, ABC):
    """Objects that more can be added to."""

    def __init__(
        self,
        git: Git,
        reader: ObjectReader,
        answers: AnswerCache,
        configuration: Configuration,
    ) -> None:
        super().__init__(git, reader, answers)
        self.configuration = configuration

    @abstractmethod
    def objects(self) -> Objects:
        """Reads and writes these objects. Git may be asked for their format: what only
        reads takes `tree_reader`.
        """

    def tree_reader(self) -> TreeReader:
        """Reads trees of these objects, and what is in them."""
        # A new one each time: it caches trees, and a repository lives long.
        return TreeReader(self.read)

    def tree_at(self, commit: str, path: str) -> str | None:
        """The id of the tree at `path` in a commit, `.` for all of it; None if there is
        no such folder.
        """
        if path == ".":
            return self.tree(commit)
        mode, object_id = self.entry(commit, path) or ("", "")
        return object_id if mode == FOLDER else None

    def entry(self, commit: str, path: str) -> Entry | None:
        """Mode and id of what is at `path` in a commit; None if nothing is there."""
        try:
            tree = self.tree(commit)
            return self.tree_reader().find(tree, path)
        except KeyError as error:
            argv = ["ls-tree", commit, "--", path]
            raise GitFailed(argv, 128, f"no tree {error.args[0]}") from None

    def diffstats(self, old: str, trees: Sequence[str]) -> list[list[str]]:
        """For each of the trees the paths that differ from tree `old`, with their added
        and removed lines (`src/a.py +3 -1`, `-` for a file that is not text).
        """
        if len(trees) <= _MAX_COUNTED:
            counted = [self._diffstat(old, tree) for tree in trees]
            stats = [each for each in counted if each is not None]
            if len(stats) == len(trees):
                return stats
        pairs = diff.pairs(old, trees)
        # The reader's git is in no work tree: it opens no `.gitattributes` there, which
        # is of no commit and may be a named pipe.
        return diff.parse_numstat_pairs(self.reader.git.run(diff.NUMSTAT, stdin=pairs))

    def _diffstat(self, old: str, new: str) -> list[str] | None:
        """`diffstats` of one tree without a process, None if git should be asked."""
        found = self._tree_changes(old, [new])
        if found is None or self._say_what_is_text(old, found[0]):
            return None
        (changes,) = found
        entries = [entry for each in changes for entry in (each.old, each.new) if entry]
        if not _FILES.issuperset(mode for mode, _ in entries):
            return None
        blobs = list(dict.fromkeys(object_id for _, object_id in entries))
        if sum(self._blob_sizes(blobs).values()) > _MAX_COUNTED_BYTES:
            return None
        from runner.repo.line_counts import line_counts

        data = self.blobs(blobs)
        stats = []
        for path, before, after, *_ in changes:
            counts = line_counts(
                data[before[1]] if before else b"", data[after[1]] if after else b""
            )
            if counts is None:
                return None
            stats.append(f"{path} +{counts[0]} -{counts[1]}")
        return stats

    def _say_what_is_text(self, tree: str, changes: Sequence[Change]) -> bool:
        """Whether attributes may say which of the changed files are text: those of the
        tree, or a person's own.
        """
        # the reader's git works in the git folder
        own = self._reader.git.cwd / "info" / "attributes"
        if own.exists() or self.configuration.attributes_file.exists():
            return True
        reader = self.tree_reader()
        folders = {folder for each in changes for folder in folders_of(each.path)}
        files = [reader.find(tree, f"{each}.gitattributes") for each in folders]
        blobs = [object_id for mode, object_id in filter(None, files) if mode in _FILES]
        return any(
            word in data
            for data in self.blobs(blobs).values()
            for word in (b"diff", b"binary")
        )

    def read(self, object_ids: Sequence[str]) -> list[tuple[str, bytes]]:
        """Type and content of each object. Raises KeyError if one is not there."""
        objects: list[tuple[str, bytes]] = []
        contents = self.contents(object_ids)
        for object_id, content in zip(object_ids, contents, strict=True):
            if content is None:
                raise KeyError(object_id)
            objects.append(content)
        return objects

    def store_pack(self, pack: bytes) -> None:
        """Add the objects of a pack that fanin has made."""
        self.git.run(["index-pack", "--stdin"], stdin=pack)

    def write_tree(
        self, base: str, changes: Mapping[str, tuple[str, str] | None]
    ) -> str:
        """The tree of `base` with each path set to (mode, object id), or removed where
        the value is None.
        """
        tree = self.objects().edited(self.tree(base), changes)
        # A tree id is its own answer to `tree`, which saves a git process later.
        self._answers.put(("tree", tree), tree)
        return tree

    def write_blob(self, data: bytes) -> tuple[str, str]:
        """(mode, object id) of a new regular file."""
        return REGULAR, self.objects().write("blob", data)

    def merge_trees(self, base: str, ours: str, theirs: str) -> str | Conflict:
        """The tree that git's three-way merge makes, or what it could not decide."""
        from runner.repo import merge_trees

        drivers = self.configuration.merge_drivers
        objects = self.objects()
        # before its git is asked for: then a quarantine writes all of them together
        sides = merge_trees.make_sides(objects, base, ours, theirs)
        return merge_trees.merge_trees(self.git, objects, sides, drivers)

    def commit_tree(self, tree: str, parents: Sequence[str], message: str) -> str:
        """A commit in the user's name, or in fanin's where none is configured."""
        commit = self._commit_tree(tree, parents, message)
        # asked next, when the commit is merged or landed
        self._answers.put(("tree", commit), tree)
        return commit

    def _commit_tree(self, tree: str, parents: Sequence[str], message: str) -> str:
        committer = self.configuration.committer
        # git itself refuses a NUL in a message, with the right error
        if committer is None or "\0" in message:
            flags = [part for parent in parents for part in ("-p", parent)]
            return self.git.text(
                ["commit-tree", tree, *flags, "-F", "-"],
                env=self.configuration.identity,
                stdin=message.encode(),
            ).strip()
        # written here, because a process for each commit takes longer
        when = f"{int(time.time())} {time.strftime('%z')}"
        header = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        header += [
            f"author {committer.author} {when}",
            f"committer {committer.committer} {when}",
        ]
        text = "\n".join(header) + "\n\n" + message
        if not text.endswith("\n"):
            text += "\n"
        return self.objects().write("commit", text.encode())
