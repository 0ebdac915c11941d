"""The tree that an attempt's work was captured as: what it changes, and its objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from runner.attempt.workspace import Workspace
from runner.core.errors import GitFailed
from runner.policy.change import Change
from runner.policy.redaction import Secrets
from runner.repo import diff, loose_objects, pack_writer, secret_search
from runner.repo.batch_process import ObjectReader
from runner.repo.objects import write_loose


def changes_in(workspace: Workspace, tree: str) -> list[Change]:
    output = workspace.git.run([*diff.RAW, f"{workspace.base}^{{tree}}", tree])
    return diff.parse_raw(output)


def base_tree(workspace: Workspace) -> str:
    return workspace.git.text(["rev-parse", f"{workspace.base}^{{tree}}"]).strip()


def first_secret(
    workspace: Workspace, tree: str, secrets: Secrets
) -> tuple[str, str] | None:
    """(path, secret's name) of the first new file or new path in `tree` with a secret;
    None if no file or path holds a secret.
    """
    if not secrets:
        return None
    changes = changes_in(workspace, tree)
    reader = ObjectReader(workspace.git)
    try:
        return secret_search.first_secret(changes, secrets, reader.first_match)
    finally:
        reader.close()


class NewObjects(NamedTuple):
    """The objects of a captured tree that the base lacks: the ids of those that are files
    in `workspace.objects`, and those in memory: id → type and content.
    """

    files: tuple[str, ...] = ()
    in_memory: Mapping[str, tuple[str, bytes]] = MappingProxyType({})


def store_objects(workspace: Workspace, new_objects: NewObjects) -> None:
    """Make files of the objects in memory, for the git of the workspace to read."""
    for object_id, (kind, data) in new_objects.in_memory.items():
        write_loose(workspace.objects, object_id, kind, data)


def write_pack(
    workspace: Workspace,
    tree: str,
    pack: Path,
    new_objects: NewObjects | None = None,
) -> None:
    """Write the objects of `tree` that the base lacks to the file `pack`, as a thin
    pack, not durable yet. `new_objects` are those of the capture, if the tree is the
    captured one.
    """
    with pack.open("wb") as sink:
        if new_objects is not None:
            sink.write(_small_pack(workspace, new_objects))
            return
        append_pack(workspace, f"{tree}\n^{workspace.base}^{{tree}}\n", sink)


def _small_pack(workspace: Workspace, new_objects: NewObjects) -> bytes:
    objects = list(new_objects.in_memory.values())
    for object_id in new_objects.files:
        content = loose_objects.content(workspace.objects, object_id)
        if content is None:
            raise GitFailed(["pack-objects"], 128, f"{object_id} is gone")
        objects.append(content)
    return pack_writer.make_pack(objects, workspace.object_format)


def append_pack(workspace: Workspace, revisions: str, sink: BinaryIO) -> None:
    """Write the objects of the revisions, as `git rev-list` reads them, to `sink` as a
    thin pack, not durable yet.
    """
    # thin: a delta may be against an object of the base, which the reader has
    argv = [
        *("pack-objects", "-q", "--thin", "--stdout", "--revs"),
        "--delta-base-offset",
    ]
    workspace.git.run(argv, stdin=revisions.encode(), stdout=sink)
