"""A quarantine: objects beside the repository's own.

Nothing of a batch enters the repository's own objects until `adopt`. Results are
imported and merged in a quarantine. Its objects are in memory until something asks for
its git: from then on each is in a folder too, which has the repository's objects as
alternates. Git reads both and writes only to that folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

from runner.core import durable
from runner.core.folders import remove_folder
from runner.policy.change import GITLINK, Change
from runner.repo import loose_objects, pack_writer, small_pack
from runner.repo.answer_cache import AnswerCache, is_full_id
from runner.repo.batch_process import Content, ObjectInfo, ObjectReader
from runner.repo.command import Git
from runner.repo.object_database import ObjectDatabase, WritableDatabase
from runner.repo.objects import (
    FOLDER,
    NewObjects,
    Objects,
    Tree,
    TreeCache,
    TreeReader,
    commit_links,
    file_of,
    write_loose,
)
from runner.repo.origin import alternates

if TYPE_CHECKING:
    from runner.repo.repository import Repository

T = TypeVar("T")

_UNPACK_LIMIT = 100  # objects: git's own default of fetch.unpackLimit
_MAX_MEMORY = 2**24  # bytes of objects; of more, git makes packs
# bytes of objects that are packed here: the progress file of 10,000 tasks has 5 MB
_MAX_PACKED = 2**24
# Results that are imported together without git, which is faster for more.
_MAX_PLAIN = 64
# More objects than these are one pack in the folder. The first ones mostly are: a pack is
# two files, but git looks into each pack that is there.
_MAX_LOOSE, _MAX_FIRST_LOOSE = 8, 2


class _Plain(NamedTuple):
    """The new objects of small packs, and the entries of all trees in these."""

    objects: NewObjects
    trees: Mapping[str, Tree]


class Quarantine(WritableDatabase):
    """The objects of `repository` and new ones, which `folder` is for."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        env = {"GIT_OBJECT_DIRECTORY": str(folder)}
        super().__init__(
            repository.git.with_env(env),
            ObjectReader(repository.own_git.with_env(env)),
            repository.answers,
            repository.configuration,
        )
        self._folder, self._repository = folder, repository
        self._new: dict[str, Content] = {}
        self._size = 0
        # whether the folder is made, and has every new object
        self._is_on_disk = False
        # the tips and the objects that the repository has from here
        self._adopted_tips: list[str] = []
        self._adopted: set[str] = set()
        # whether the folder has packs of which only git knows what is in them
        self._has_packs = False
        self._objects = Objects(
            self.configuration.object_format, self.read, self._store
        )

    @property
    def folder(self) -> Path:
        """The folder of the new objects, for other processes."""
        self._write_out()
        return self._folder

    @property
    def git(self) -> Git:
        self._write_out()
        return super().git

    @property
    def reader(self) -> ObjectReader:
        self._write_out()
        return super().reader

    def objects(self) -> Objects:
        return self._objects

    def tree_reader(self) -> TreeReader:
        return self._objects

    def _tree_cache(self) -> TreeCache:
        return self._objects.trees

    def remove(self) -> None:
        """Drop every object that was not adopted."""
        # the reader first: it has files of the folder open
        self._reader.close()
        self._new.clear()
        if self._is_on_disk:
            remove_folder(self._folder)

    # -- new objects --

    def _store(self, objects: NewObjects) -> None:
        new = {each: Content(*objects[each]) for each in objects}
        self._new |= new
        self._size += sum(len(content.data) for content in new.values())
        if self._is_on_disk:
            self._write_files(new, _MAX_LOOSE)
        if self._size > _MAX_MEMORY:
            self._write_out()
            self._has_packs = True
            self._new.clear()
            self._size = 0

    def _write_out(self) -> None:
        """Make the folder, with every object that is in memory."""
        if not self._is_on_disk:
            _make_object_folder(self._folder, [self._repository.object_folder])
            self._is_on_disk = True
            self._write_files(self._new, _MAX_FIRST_LOOSE)

    def _write_files(self, objects: Mapping[str, Content], max_loose: int) -> None:
        if len(objects) <= max_loose:
            for object_id, (kind, data) in objects.items():
                write_loose(self._folder, object_id, kind, data)
            return
        algorithm = self.configuration.object_format
        made = pack_writer.make_indexed_pack(
            {
                object_id: pack_writer.make_entry(*content)
                for object_id, content in objects.items()
            },
            algorithm,
        )
        file = self._folder / "pack" / f"pack-{made.name}.pack"
        file.write_bytes(made.pack)
        file.with_suffix(".idx").write_bytes(made.idx)

    # -- questions --

    def infos(self, names: Sequence[str]) -> list[ObjectInfo | None]:
        return self._answers_for(
            names, self._info, self._repository.infos, super().infos
        )

    def contents(self, names: Sequence[str]) -> list[Content | None]:
        return self._answers_for(
            names, self._content, self._repository.contents, super().contents
        )

    def _info(self, name: str) -> ObjectInfo | None:
        content = self._new.get(name)
        if content is not None:
            return ObjectInfo(name, content.kind, len(content.data))
        return loose_objects.info(self._folder, name) if self._is_on_disk else None

    def _content(self, name: str) -> Content | None:
        if name in self._new:
            return self._new[name]
        return loose_objects.content(self._folder, name) if self._is_on_disk else None

    def _answers_for(
        self,
        names: Sequence[str],
        known: Callable[[str], T | None],
        ask_repository: Callable[[Sequence[str]], Sequence[T | None]],
        ask_own_git: Callable[[Sequence[str]], Sequence[T | None]],
    ) -> list[T | None]:
        """The answers, without a process of the quarantine where all that is asked for
        is known or in the repository, whose reader runs already.
        """
        found = {name: known(name) for name in names}
        others = [name for name in names if found[name] is None]
        if others:
            if self._reader.is_running or self._has_packs:
                answers = ask_own_git(others)
            else:
                answers = ask_repository(others)
                if None in answers and not self._has_no_other(others):
                    answers = ask_own_git(others)
            found |= dict(zip(others, answers, strict=True))
        return [found[name] for name in names]

    def _has_no_other(self, names: Sequence[str]) -> bool:
        """Whether none of the names can stand for an object that is not in memory."""
        return not self._is_on_disk and all(map(is_full_id, names))

    def _first_match(
        self, names: Sequence[str], match: Callable[[Iterator[bytes]], T | None]
    ) -> tuple[str, T] | None:
        if not self._new.keys() >= set(names):
            return super()._first_match(names, match)
        for name in names:
            found = match(iter([self._new[name].data]))
            if found is not None:
                return name, found
        return None

    # -- packs of results --

    def import_pack(
        self, pack: Path, max_bytes: int, step: tuple[str, str] | None = None
    ) -> None:
        """Import an untrusted pack of at most `max_bytes`, every object checked.

        `step` is the tree that it was made on, and the one that it should bring. Raises
        GitFailed if an object is not what git itself would write.
        """
        plain = self._plain_objects(pack, max_bytes, step)
        if plain is not None:
            self._store_plain(plain)
            return
        argv = ["index-pack", "--strict", "--fsck-objects", "--fix-thin", "--stdin"]
        with pack.open("rb") as stream:
            # Files are read here and adopted as they are, without further processes.
            if _number_of_objects(stream) < _UNPACK_LIMIT:
                argv = ["unpack-objects", "-q", "--strict"]
            else:
                self._has_packs = True
            self.git.run([*argv, f"--max-input-size={max_bytes}"], stdin=stream)

    def _store_plain(self, plain: _Plain) -> None:
        self._store(plain.objects)
        for object_id, entries in plain.trees.items():
            self._objects.trees[object_id] = entries

    def _plain_objects(
        self, pack: Path, max_bytes: int, step: tuple[str, str] | None
    ) -> _Plain | None:
        """The new objects of an untrusted pack if it is small, all of them are plain, and
        what they name is there; None if git should be asked.
        """
        with pack.open("rb") as stream:
            data = stream.read(small_pack.MAX_PACK_BYTES + 1)
        if len(data) > max_bytes:
            return None
        objects = small_pack.read(data, self.configuration.object_format)
        links = small_pack.links(objects) if objects is not None else None
        if objects is None or links is None:
            return None
        # What the base has is there. In a large folder that is nearly all.
        there = links.unchanged(*step, self._objects.tree) if step else set()
        outside = [name for name in links.outside if name not in there]
        for info, name in zip(self.infos(outside), outside, strict=True):
            if info is None or info.kind != links.outside[name]:
                return None
        # An object that is there already stays. One of the same id with another content
        # is an attack, for which git has an error.
        old = [info.object_id for info in self.infos(list(objects)) if info]
        contents = self.contents(old)
        if any(objects[name] != each for name, each in zip(old, contents, strict=True)):
            return None
        inside = {name: objects[name] for name in links.attributes & objects.keys()}
        elsewhere = self.blobs(list(links.attributes - inside.keys()))
        for attributes in (
            *(each.data for each in inside.values()),
            *elsewhere.values(),
        ):
            if not small_pack.are_plain_attributes(attributes):
                return None
        new = {name: objects[name] for name in objects.keys() - set(old)}
        return _Plain(new, links.trees)

    def import_packs(
        self, packs: Mapping[str, tuple[Path, int]], base: str
    ) -> list[list[Change]]:
        """Import untrusted packs at once; what each of their trees changes from `base`.

        `packs` is the tree that a pack brings → the pack and its greatest size in bytes.
        As strict as `import_pack` for each: every object is checked, and each tree is
        there with all that it links. ValueError or GitFailed if any of them is bad, and
        then nothing of them is imported: a bad object of one pack would otherwise pass
        as one that is there when another is looked at alone.
        """
        changes = self._import_plain(packs, base)
        if changes is not None:
            return changes
        trees = list(packs)
        with self._staging() as staging:
            with tempfile.TemporaryFile(dir=staging.folder) as joined:
                object_format = self.configuration.object_format
                size = pack_writer.join_packs(
                    list(packs.values()), joined, object_format
                )
                joined.flush()
                joined.seek(0)
                # Not --strict: that refuses an object that two results share. rev-list
                # finds what is missing instead.
                argv = [
                    *("index-pack", "--fsck-objects", "--fix-thin", "--stdin"),
                    f"--max-input-size={size + 1}",
                ]
                staging.git.run(argv, stdin=joined)
            for info in staging.infos(trees):
                if info is None or info.kind != "tree":
                    raise ValueError(
                        "a pack does not hold the tree that its result names"
                    )
            # walks everything that the trees link, and fails where something is missing
            revisions = "".join(f"{tree}\n" for tree in trees) + f"^{base}\n"
            staging.git.run(
                ["rev-list", "--objects", "--quiet", "--stdin"],
                stdin=revisions.encode(),
            )
            changes = staging.changes_to(base, trees)
            staging.move_packs(self.folder)
            self._has_packs = True
            return changes

    def _import_plain(
        self, packs: Mapping[str, tuple[Path, int]], base: str
    ) -> list[list[Change]] | None:
        """`import_packs` of small packs with plain objects; None if git should be asked."""
        if len(packs) > _MAX_PLAIN:
            return None
        objects: dict[str, tuple[str, bytes]] = {}
        trees: dict[str, Tree] = {}
        for tree, (pack, size) in packs.items():
            plain = self._plain_objects(pack, size, (base, tree))
            if plain is None:
                return None
            if tree not in plain.objects and not self.is_tree(tree):
                return None
            objects |= plain.objects
            trees |= plain.trees
        self._store_plain(_Plain(objects, trees))
        return self.changes_to_each(base, list(packs))

    @contextmanager
    def _staging(self) -> Iterator[_Staging]:
        folder = Path(tempfile.mkdtemp(prefix="staging-", dir=self.folder))
        staging = _Staging(self._repository, self, folder)
        try:
            yield staging
        finally:
            staging.reader.close()
            remove_folder(folder)

    # -- what stays --

    def adopt(
        self, tips: Sequence[str], known: Sequence[str], *, packed: bool = False
    ) -> None:
        """Move what the tips reach into the repository's own objects, except what the
        commits or trees `known` reach.

        `packed`: as a pack, by a run that joins its packs at its end. Otherwise few
        objects become files of their own.
        """
        tips = [tip for tip in tips if tip not in self._adopted_tips]
        if not tips:
            return
        if self._has_packs or self.configuration.is_shared:
            self._adopt_by_git(tips, [*known, *self._adopted_tips])
            self._adopted_tips += tips
            return
        sizes = self._reachable(tips, known)
        self._adopted_tips += tips
        self._adopted |= sizes.keys()
        if packed and sum(sizes.values()) <= _MAX_PACKED:
            objects = dict(zip(sizes, self.read(list(sizes)), strict=True))
            self._repository.own_packs.add(objects)
        else:
            self._adopt_files(sizes)

    def _reachable(self, tips: Iterable[str], known: Sequence[str]) -> dict[str, int]:
        """The ids of the new objects that the tips reach, with their sizes in bytes. What
        an object elsewhere reaches is not looked for, nor is what the first of `known` has
        in the same place: in a large folder that is nearly all.
        """
        found: dict[str, int] = {}
        root = self.tree(known[0]) if known else None
        # each with the tree that is known in its place
        waiting: list[tuple[str, str | None]] = [(tip, root) for tip in tips]
        while waiting:
            object_id, before = waiting.pop()
            is_known = object_id in found or object_id in self._adopted
            info = None if is_known else self._info(object_id)
            if info is None:
                continue
            found[object_id] = info.size
            if info.kind == "tree":
                waiting += self._entries(object_id, before)
            elif info.kind == "commit":
                waiting += [(each, root) for each in self._links(object_id)]
        return found

    def _entries(
        self, object_id: str, before: str | None
    ) -> Iterator[tuple[str, str | None]]:
        """What a tree has otherwise than the tree `before`, each with what that has in its
        place if it is a folder.
        """
        tree = self._objects.tree(object_id)
        old = self._objects.tree(before) if before is not None else Tree()
        for name in tree.different(old) & tree.keys():
            mode, each = tree[name]
            if mode != GITLINK:
                old_mode, old_each = old.get(name, ("", ""))
                yield each, old_each if mode == old_mode == FOLDER else None

    def _links(self, commit: str) -> list[str]:
        """The ids that a new commit names."""
        content = self._content(commit)
        assert content is not None
        return [each for _, each in commit_links(content.data)]

    def _adopt_files(self, object_ids: Iterable[str]) -> None:
        durable.checkpoint("before objects")
        objects = self._repository.object_folder
        new = [
            object_id
            for object_id in sorted(object_ids)
            if not file_of(objects, object_id).exists()
        ]
        folder = self.folder
        for object_id in new:
            if object_id in self._new:  # it may be in a pack there
                write_loose(folder, object_id, *self._new[object_id])
        files = [file_of(folder, object_id) for object_id in new]
        durable.sync_files(files)
        for file in files:
            target = objects / file.parent.name
            if not target.exists():
                target.mkdir(exist_ok=True)
                # A repository that a group shares is writable for the group.
                shutil.copymode(objects, target)
            durable.move(file, target / file.name)
        # once for all renames; git itself does not even do that
        folders = {objects / file.parent.name for file in files}
        durable.sync_files([objects, *sorted(folders)])
        durable.checkpoint("after objects")

    def _adopt_by_git(self, tips: Sequence[str], known: Sequence[str]) -> None:
        revisions = "".join(f"{tip}\n" for tip in tips)
        revisions += "".join(f"^{commit}\n" for commit in known)
        with tempfile.TemporaryFile(dir=self._repository.private_folder()) as pack:
            self.git.run(
                ["pack-objects", "-q", "--stdout", "--revs", "--delta-base-offset"],
                stdin=revisions.encode(),
                stdout=pack,
            )
            pack.flush()
            pack.seek(0)
            durable.checkpoint("before objects")
            # As git does with what it fetches: few objects become files of their own,
            # many stay in a pack.
            argv = ["index-pack", "--stdin"]
            if _number_of_objects(pack) < _UNPACK_LIMIT:
                argv = ["unpack-objects", "-q"]
            # durable before a ref names them
            git = self._repository.git.with_config("core.fsync=all")
            before = self._repository.object_folders()
            git.run(argv, stdin=pack)
            # git makes files durable, not their names
            after = self._repository.object_folders()
            changed = [path for path in after if after[path] != before.get(path)]
            durable.sync_files([self._repository.object_folder, *changed])
            durable.checkpoint("after objects")


class _Staging(ObjectDatabase):
    """A folder of objects in front of a quarantine, for packs that are not judged yet."""

    def __init__(
        self, repository: Repository, quarantine: Quarantine, folder: Path
    ) -> None:
        _make_object_folder(folder, [repository.object_folder, quarantine.folder])
        env = {"GIT_OBJECT_DIRECTORY": str(folder)}
        super().__init__(
            repository.git.with_env(env),
            ObjectReader(repository.own_git.with_env(env)),
            AnswerCache(),
        )
        self.folder = folder

    def move_packs(self, target: Path) -> None:
        """Move the packs to another folder of objects."""
        # The index comes last: a pack without one is ignored, an index without its pack
        # is an error.
        files = sorted(
            (self.folder / "pack").iterdir(), key=lambda file: file.suffix == ".idx"
        )
        for file in files:
            file.rename(target / "pack" / file.name)


def _number_of_objects(pack: BinaryIO) -> int:
    """By the pack's header, which has it in bytes 8 to 11."""
    return int.from_bytes(os.pread(pack.fileno(), 4, 8))


def _make_object_folder(folder: Path, borrowed: Sequence[Path]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pack").mkdir()
    (folder / "info").mkdir()
    (folder / "info" / "alternates").write_bytes(alternates(borrowed))
