"""The packs that a run adds to its repository: one for each merge, joined before they are
so many that they slow git down. Of the versions of a long file, a joined pack has the last
one, and what differs in each of the others.

A pack takes three fsyncs, where each of its objects as a file of its own takes two.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runner.core import durable
from runner.repo import pack_writer
from runner.repo.file_versions import FileVersions
from runner.repo.objects import read_only

if TYPE_CHECKING:
    from runner.repo.repository import Repository

# Git looks into every pack, and is slower with each.
_MAX_PACKS = 32
_MAX_JOINED_BYTES = 2**25  # of several packs, which are in memory then


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
                if kind == "blob":
                    self._versions.add(object_id, data)
            pack = self._write(entries)
            self._single[pack] = pack.stat().st_size
            if len(self._single) >= _MAX_PACKS:
                self._join(self._single)
                self._single = {}

    def close(self) -> None:
        """Join all packs that were added, as no more are."""
        with self._lock:
            everything = {**self._joined, **self._single}
            self._single, self._joined = {}, {}
            self._join(everything)

    def _join(self, packs: Mapping[Path, int]) -> None:
        """Join these packs, as far as they fit in memory; the others stay, and all of them
        where the disk is full.
        """
        entries: dict[str, bytes] = {}
        read = []
        left = _MAX_JOINED_BYTES
        for pack, size in packs.items():
            left -= size
            if left < 0:
                break
            # `git gc` may have joined it already
            with suppress(OSError, ValueError):
                entries |= self._read(pack)
                read.append(pack)
        if len(read) < 2:
            return
        # Of packs that are joined already, versions stay as they are: git is slow with
        # what is made of another one a hundred times over.
        for object_id, (base, delta) in self._versions.deltas.items():
            if object_id in entries and base in entries:
                entries[object_id] = pack_writer.make_delta_entry(base, delta)
        self._versions.deltas.clear()
        with suppress(OSError):
            joined = self._write(entries)
            self._joined[joined] = joined.stat().st_size
            _remove(pack for pack in read if pack != joined)

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
