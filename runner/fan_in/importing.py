"""Imports the packs of a batch's results into the fan-in's quarantine.

A pack comes from the machine an agent ran on. It may be huge, expand without end, or
hold broken objects, so it is measured before git expands it, and git checks each object.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runner.core.errors import GitFailed
from runner.core.result import Failure, FailureKind
from runner.core.result_folder import Reading
from runner.policy.change import Change
from runner.repo import pack_guard
from runner.repo.quarantine import Quarantine

_MAX_JOINED_BYTES = 64 * 2**20  # packs joined in memory for one run of git
_MAX_TREE_BYTES = (
    64 * 2**20
)  # of an expanded pack, in addition to what its files may take
_PACK_OVERHEAD_BYTES = 2**20  # a small change in a large tree still needs its trees


class _Pack(NamedTuple):
    """The pack file of one result, the tree it brings, and its size in bytes."""

    task_id: str
    tree: str
    path: Path
    size: int


class PackImporter:
    """Imports the packs of one batch into one quarantine.

    `changes` maps each tree that `import_together` imported to its changes from the base.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        base_tree: str,
        max_change_bytes: int,
    ) -> None:
        self.changes: dict[str, list[Change]] = {}
        self._quarantine = quarantine
        self._base_tree = base_tree
        self._max_change_bytes = max_change_bytes

    def import_together(self, readings: Sequence[Reading]) -> None:
        """Import as many packs as possible with few runs of git.

        A refused pack is left out; `import_one` then reports the failure.
        """
        group: dict[str, _Pack] = {}
        group_size = 0
        for reading in readings:
            pack = _pack_of(reading)
            if pack is None or self._refusal(pack) is not None:
                continue
            if group and group_size + pack.size > _MAX_JOINED_BYTES:
                self._import_group(list(group.values()))
                group, group_size = {}, 0
            group[pack.tree] = pack
            group_size += pack.size
        self._import_group(list(group.values()))

    def import_one(self, reading: Reading) -> Failure | None:
        """Import the result's pack unless it is there already; return the failure if it is
        refused.
        """
        pack = _pack_of(reading)
        if pack is None or pack.tree in self.changes:
            return None
        refusal = self._refusal(pack)
        if refusal is not None:
            return refusal
        try:
            step = (self._base_tree, pack.tree)
            self._quarantine.import_pack(pack.path, pack.size + 1, step)
        except GitFailed as error:
            return _corrupt(f"the pack is refused: {error.stderr[-300:]}")
        if not self.has_tree(pack.tree):
            return _corrupt("the pack does not hold the tree that the result names")
        return None

    def has_tree(self, tree: str) -> bool:
        """Whether the tree is in the quarantine, or in the repository already."""
        return tree in self.changes or self._quarantine.is_tree(tree)

    def _import_group(self, packs: Sequence[_Pack]) -> None:
        """Import the packs in one run of git; halve the group until the bad ones are
        alone.
        """
        if len(packs) < 2:
            return  # `import_one` imports it, and reports why it cannot
        sources = {pack.tree: (pack.path, pack.size) for pack in packs}
        try:
            changes = self._quarantine.import_packs(sources, self._base_tree)
        except (GitFailed, ValueError):
            middle = len(packs) // 2
            self._import_group(packs[:middle])
            self._import_group(packs[middle:])
        else:
            self.changes |= dict(zip(sources, changes, strict=True))

    def _refusal(self, pack: _Pack) -> Failure | None:
        """Return why git must not expand the pack, None if it may."""
        limit = self._max_change_bytes
        if pack.size > 4 * limit + _PACK_OVERHEAD_BYTES:
            return Failure(
                kind=FailureKind.POLICY,
                message=(
                    f"the pack of {pack.task_id} has {pack.size:,} bytes, far more than "
                    f"limits.size = {limit:,} allows; it is kept in {pack.path} "
                    "(raise the limit in fanin.yml or split the task)"
                ),
            )
        try:
            with pack.path.open("rb") as stream:
                max_expanded = 8 * limit + _MAX_TREE_BYTES
                pack_guard.expanded_size(stream, max_expanded, len(pack.tree) // 2)
        except pack_guard.PackRefused as error:
            return _corrupt(f"the pack is refused: {error}; it is kept in {pack.path}")
        return None


def _pack_of(reading: Reading) -> _Pack | None:
    """The result's pack, None if the result has none."""
    path, result = reading.pack, reading.result
    if path is None or result is None or result.tree is None:
        return None
    return _Pack(reading.entry.task.id, result.tree, path, path.stat().st_size)


def _corrupt(message: str) -> Failure:
    return Failure(kind=FailureKind.CORRUPT, message=message)
