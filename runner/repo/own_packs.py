"""The packs that a run adds to its repository: one for each merge, joined before they are
so many that they slow git down. Of the versions of a long file or a large folder, a joined
pack has the last one, and what differs in each of the others.

A pack takes three fsyncs, where each of its objects as a file of its own takes two.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runner.core import durable
from runner.core.errors import GitFailed
from runner.repo import pack_writer
from runner.repo.file_versions import FileVersions
from runner.repo.objects import read_only

if TYPE_CHECKING:
    from runner.repo.repository import Repository

# Git looks into every pack, and is slower with each.
_MAX_PACKS = 32
_MAX_BYTES_IN_MEMORY = 2**25  # of several packs that are joined here
# Of several that git joins, which reads and writes them all: a second or so.
_MAX_JOINED_BYTES = 2**29


class OwnPacks:
    """Adds packs to the objects of a repository. Threads take turns."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lock = threading.Lock()
        # each with its size
        self._single: dict[Path, int] = {}
        self._joined: dict[Path, int] = {}
        self._versions = FileVersions()

    def add(self, objects: Mapping[str, tuple[str, bytes]]) -> None:
        """Add a pack of objects, by their ids. It is durable when this returns."""
        entries = {
            object_id: pack_writer.make_entry(kind, data)
            for object_id, (kind, data) in objects.items()
        }
        with self._lock:
            for object_id, (kind, data) in objects.items():
                if kind != "commit":
                    self._versions.add(object_id, kind, data)
            pack = self._write(entries)
            self._single[pack] = pack.stat().st_size
            if len(self._single) >= _MAX_PACKS:
                self._joined |= self._join(self._single)
                self._single = {}

    def close(self) -> None:
        """Join all packs that were added, as no more are."""
        with self._lock:
            self._join({**self._joined, **self._single})
            self._single, self._joined = {}, {}

    def _join(self, packs: Mapping[Path, int]) -> dict[Path, int]:
        """Join these packs, the smaller ones first and as many as may be; the others stay,
        and all of them where the disk is full. Returns those that are there then, with
        their sizes.
        """
        chosen, remaining = [], _MAX_JOINED_BYTES
        for pack in sorted(packs, key=packs.__getitem__):
            remaining -= packs[pack]
            # `git gc` may have joined it already
            if remaining >= 0 and pack.exists():
                chosen.append(pack)
        if len(chosen) < 2:
            return dict(packs)
        if sum(packs[pack] for pack in chosen) <= _MAX_BYTES_IN_MEMORY:
            read, joined = self._join_in_memory(chosen)
        else:
            read, joined = self._join_by_git(chosen)
        _remove(set(read) - set(joined))
        there = {pack: packs[pack] for pack in packs.keys() - set(read)}
        for pack in joined:
            with suppress(OSError):
                there[pack] = pack.stat().st_size
        return there

    def _join_in_memory(
        self, packs: Sequence[Path]
    ) -> tuple[Sequence[Path], Sequence[Path]]:
        """The packs that are joined now, and the new one; none if that fails."""
        entries: dict[str, bytes] = {}
        read = []
        for pack in packs:
            with suppress(OSError, ValueError):
                entries |= self._read(pack)
                read.append(pack)
        if len(read) < 2:
            return [], []
        # Of packs that are joined already, versions stay as they are: git is slow with
        # what is made of another one a hundred times over.
        for object_id, (base, delta) in self._versions.deltas.items():
            if object_id in entries and base in entries:
                entries[object_id] = pack_writer.make_delta_entry(base, delta)
        self._versions.deltas.clear()
        with suppress(OSError):
            return read, [self._write(entries)]
        return [], []

    def _join_by_git(
        self, packs: Sequence[Path]
    ) -> tuple[Sequence[Path], Sequence[Path]]:
        """The same of packs that are too large for memory. Git copies what is in them, and
        checks it.
        """
        self._versions.deltas.clear()
        repository = self._repository
        algorithm = repository.configuration.object_format
        read, ids = [], []
        for pack in packs:
            with suppress(OSError, ValueError):
                ids += pack_writer.ids_in(
                    pack.with_suffix(".idx").read_bytes(), algorithm
                )
                read.append(pack)
        if len(read) < 2:
            return [], []
        # Given ids, git walks no history. By default a version names the object that it
        # is made of, and not its place in the pack, so that this one can be joined here.
        git = repository.git.with_config("pack.packSizeLimit=0", "pack.indexVersion=2")
        folder = repository.object_folder / "pack"
        argv = ["pack-objects", "-q", "--window=0", str(folder / "pack")]
        with suppress(GitFailed, OSError):
            name = git.text(argv, stdin="\n".join(ids).encode()).strip()
            joined = folder / f"pack-{name}.pack"
            # it is up to the settings what git has made durable of it
            durable.sync_files([joined, joined.with_suffix(".idx"), folder])
            return read, [joined]
        return [], []

    def _read(self, pack: Path) -> dict[str, bytes]:
        algorithm = self._repository.configuration.object_format
        index = pack.with_suffix(".idx").read_bytes()
        return pack_writer.read_entries(pack.read_bytes(), index, algorithm)

    def _write(self, entries: Mapping[str, bytes]) -> Path:
        """Write a pack and its index, both durable."""
        repository = self._repository
        made = pack_writer.make_indexed_pack(
            entries, repository.configuration.object_format
        )
        folder = repository.object_folder / "pack"
        target = folder / f"pack-{made.name}.pack"
        # Not beside other packs: what a crash leaves there, nobody sweeps.
        temporary = repository.private_folder() / f"tmp_{target.name}"
        # The index comes last: a pack without one is ignored.
        files = [
            (temporary, target, made.pack),
            (temporary.with_suffix(".idx"), target.with_suffix(".idx"), made.idx),
        ]
        durable.checkpoint("before objects")
        for file, _, data in files:
            file.unlink(missing_ok=True)
            with open(file, "xb", opener=read_only) as stream:
                stream.write(data)
        durable.sync_files([file for file, _, _ in files])
        new_folders = [] if folder.is_dir() else [repository.object_folder]
        folder.mkdir(exist_ok=True)
        for file, path, _ in files:
            durable.move(file, path)
        durable.sync_files([*new_folders, folder])
        durable.checkpoint("after objects")
        return target


def _remove(packs: Iterable[Path]) -> None:
    """Remove packs whose objects are in another one.

    A process that has such a pack open reads on, and others find the new one.
    """
    for pack in packs:
        if pack.with_suffix(".keep").exists():
            continue
        for suffix in (".idx", ".rev", ".pack"):
            with suppress(OSError):
                pack.with_suffix(suffix).unlink()
