"""A quarantine: a folder of objects beside the repository's own.

Nothing of a batch enters the repository's own objects until `adopt`. Results are
imported and merged in a quarantine, which has the repository's objects as alternates:
git reads both and writes only to the quarantine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from runner.core import durable
from runner.core.folders import remove_folder
from runner.policy.change import Change
from runner.repo import loose_objects, pack_writer
from runner.repo.answer_cache import AnswerCache
from runner.repo.batch_process import Content, ObjectInfo, ObjectReader
from runner.repo.object_database import ObjectDatabase, WritableDatabase
from runner.repo.objects import Objects, file_of
from runner.repo.origin import alternates

if TYPE_CHECKING:
    from runner.repo.repository import Repository

T = TypeVar("T")
_UNPACK_LIMIT = 100  # objects: git's own default of fetch.unpackLimit


class Quarantine(WritableDatabase):
    """The objects of `repository` and those in `folder`; new ones go to `folder`."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        _make_object_folder(folder, [repository.object_folder])
        env = {"GIT_OBJECT_DIRECTORY": str(folder)}
        super().__init__(
            repository.git.with_env(env),
            ObjectReader(repository.own_git.with_env(env)),
            repository.answers,
            repository.configuration,
        )
        self.folder = folder
        self._repository = repository
        self._objects = Objects(
            folder, self.configuration.object_format, self.read, self.store_pack
        )

    def objects(self) -> Objects:
        return self._objects

    def remove(self) -> None:
        """Drop every object that was not adopted."""
        # the reader first: it has files of the folder open
        self.reader.close()
        remove_folder(self.folder)

    def infos(self, names: Sequence[str]) -> list[ObjectInfo | None]:
        repository = self._repository
        found = self._without_own_process(names, loose_objects.info, repository.infos)
        return super().infos(names) if found is None else found

    def contents(self, names: Sequence[str]) -> list[Content | None]:
        repository = self._repository
        read = loose_objects.content
        found = self._without_own_process(names, read, repository.contents)
        return super().contents(names) if found is None else found

    def _without_own_process(
        self,
        names: Sequence[str],
        read: Callable[[Path, str], T | None],
        ask: Callable[[Sequence[str]], Sequence[T | None]],
    ) -> list[T | None] | None:
        """The answers, where all that is asked for is in a file of its own or in the
        repository, whose reader runs already. None: ask a process of the quarantine.
        """
        if self.reader.is_running or self._has_packs():
            return None
        found = {name: read(self.folder, name) for name in names}
        others = [name for name in names if found[name] is None]
        answers = ask(others) if others else []
        if None in answers:
            return None
        found |= dict(zip(others, answers, strict=True))
        return [found[name] for name in names]

    def _has_packs(self) -> bool:
        return any((self.folder / "pack").iterdir())

    def import_pack(self, pack: Path, max_bytes: int) -> None:
        """Import an untrusted pack of at most `max_bytes`, every object checked.

        Raises GitFailed if one of them is not what git itself would write.
        """
        argv = ["index-pack", "--strict", "--fsck-objects", "--fix-thin", "--stdin"]
        with pack.open("rb") as stream:
            # Files are read here and adopted as they are, without further processes.
            if _number_of_objects(stream) < _UNPACK_LIMIT:
                argv = ["unpack-objects", "-q", "--strict"]
            self.git.run([*argv, f"--max-input-size={max_bytes}"], stdin=stream)

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
            return changes

    @contextmanager
    def _staging(self) -> Iterator[_Staging]:
        folder = Path(tempfile.mkdtemp(prefix="staging-", dir=self.folder))
        staging = _Staging(self._repository, self, folder)
        try:
            yield staging
        finally:
            staging.reader.close()
            remove_folder(folder)

    def adopt(self, tips: Sequence[str], known: Sequence[str]) -> None:
        """Move what the tips reach into the repository's own objects, except what the
        commits or trees `known` reach.
        """
        if not tips:
            return
        if not self._has_packs() and not self.configuration.is_shared:
            self._adopt_files(loose_objects.reachable(self.folder, tips))
            return
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

    def _adopt_files(self, object_ids: Iterable[str]) -> None:
        durable.checkpoint("before objects")
        objects = self._repository.object_folder
        files = [
            file_of(self.folder, object_id)
            for object_id in sorted(object_ids)
            if not file_of(objects, object_id).exists()
        ]
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
    (folder / "pack").mkdir(parents=True)
    (folder / "info").mkdir()
    (folder / "info" / "alternates").write_bytes(alternates(borrowed))
