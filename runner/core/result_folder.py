"""The result folder one attempt leaves and the fan-in reads; the same on one machine
and as an uploaded artifact.

    <index>/attempt.json   who runs here, written before the agent starts
            result.json    what came of it (models.Result), written last and whole
            change.pack    the objects of the result's tree that the base lacks (a thin git pack)
            agent.log      the agent's output, its start and its end

The reader trusts nothing: an agent had a shell on the machine that wrote it.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from runner.core import durable
from runner.core.documents import Document
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Failure, FailureKind, Result

RESULT, ATTEMPT, PACK, LOG = "result.json", "attempt.json", "change.pack", "agent.log"
# as `artifact_name`, or the folder
_NAME = re.compile(r"(?:fanin-(?P<batch>.+)-)?(?P<folder>\d+)(?:-a\d+-r\d+)?")
MAX_RESULT_BYTES = 256 * 2**10


class Attempt(Document):
    """That an attempt began: enough to count it if nothing else is left, and to find
    what outlived a crash.
    """

    batch: str
    task: str
    attempt: int
    started: str
    cookie: str | None = None


@dataclass(frozen=True)
class Reading:
    """One entry's result as read: a result, or the failure that stands for it; `pack`
    is the file to import.

    `started` is False when the attempt never began, which costs the task nothing.
    """

    entry: BatchEntry
    result: Result | None
    failure: Failure | None = None
    pack: Path | None = None
    started: bool = True


def begin(folder: Path, attempt: Attempt) -> None:
    """Make the result folder and say that the attempt began.

    Not durably: it is needed where the agent outlives fanin, and no agent outlives the
    power.
    """
    folder.mkdir(parents=True, exist_ok=True)
    durable.write(folder / ATTEMPT, attempt.model_dump_json().encode(), synced=False)


def finish(folder: Path, result: Result) -> None:
    """Write the result, last of all files and whole: from here on the work is durable.

    File and folder are synced at once. A power cut before that may leave a torn result,
    which is read as one that was never written: as a failure of the attempt.
    """
    durable.write(
        folder / RESULT, result.model_dump_json(indent=1).encode(), synced=False
    )
    durable.sync_files([folder / RESULT, folder])


def artifact_name(batch: str, folder: str, attempt: int, run_attempt: int) -> str:
    """The artifact of one attempt. Unique in its run: GitHub refuses a name that is
    there already.
    """
    return f"fanin-{batch}-{folder}-a{attempt}-r{run_attempt}"


def attempts(root: Path) -> list[Attempt]:
    """Every attempt that began below `root` and can be read."""
    return _attempts(sorted(root.glob(f"*/{ATTEMPT}")))


def _attempts(paths: Iterable[Path]) -> list[Attempt]:
    found = []
    for path in paths:
        data = _bounded(path, MAX_RESULT_BYTES)
        if isinstance(data, bytes):
            with contextlib.suppress(ValidationError):
                found.append(Attempt.model_validate_json(data))
    return found


def read_batch(root: Path, manifest: Manifest) -> list[Reading]:
    """The result of every entry, as `read` finds it; the folder is listed and the
    manifest sealed once for all.
    """
    listed, digest = _listed(root), manifest.digest
    return [_read(root, listed, manifest, digest, entry) for entry in manifest.entries]


def read(root: Path, manifest: Manifest, entry: BatchEntry) -> Reading:
    """The entry's result below `root`, checked against the manifest it must belong to.

    Re-run jobs leave a folder each. The one that counts is chosen by what the results
    say of themselves: a usable one before an unusable one, then the highest run
    attempt; never by an artifact's id, age or order.
    """
    return _read(root, _listed(root), manifest, manifest.digest, entry)


def _read(
    root: Path,
    listed: Mapping[str, Path],
    manifest: Manifest,
    digest: str,
    entry: BatchEntry,
) -> Reading:
    found = [
        _read_folder(folder, manifest, digest, entry)
        for folder in _folders_of(root, listed, manifest, entry)
    ]
    if not found:
        never = Failure(kind=FailureKind.NO_RESULT, message="the attempt never started")
        return Reading(entry, None, never, started=False)
    return max(
        found,
        key=lambda one: (
            one.result is not None,
            one.result.run_attempt if one.result else 0,
        ),
    )


def _listed(root: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(root.iterdir())} if root.is_dir() else {}


def _folders_of(
    root: Path, listed: Mapping[str, Path], manifest: Manifest, entry: BatchEntry
) -> list[Path]:
    """Folders that may hold the entry's result: by their name, or `root` itself by what
    it says.

    download-artifact puts a single artifact straight into its `path`, and each of
    several into a folder.
    """
    known = (None, manifest.batch)
    named = (
        (path, _NAME.fullmatch(name))
        for name, path in listed.items()
        if entry.folder in name
    )
    found = [
        path
        for path, name in named
        if name and name["folder"] == entry.folder and name["batch"] in known
    ]
    if found:
        return found
    alone = any(
        attempt.task == entry.task.id for attempt in _attempts([root / ATTEMPT])
    )
    return [root] if alone else []


def _read_folder(
    folder: Path, manifest: Manifest, digest: str, entry: BatchEntry
) -> Reading:
    if folder.is_symlink() or not folder.is_dir():
        return _failed(
            entry, FailureKind.CORRUPT, "the result folder is a link or a file"
        )
    data = _bounded(folder / RESULT, MAX_RESULT_BYTES)
    if data is None:
        return _failed(
            entry, FailureKind.NO_RESULT, "the attempt began and left no result"
        )
    if isinstance(data, str):
        return _failed(entry, FailureKind.CORRUPT, f"{RESULT} {data}")
    try:
        result = Result.model_validate_json(data)
    except ValidationError as error:
        return _failed(
            entry, FailureKind.CORRUPT, f"{RESULT} is no result: {_first(error)}"
        )
    if mismatch := _mismatch(result, manifest, digest, entry):
        return _failed(entry, FailureKind.CORRUPT, mismatch)
    pack = folder / PACK
    if result.pack and not _plain_file(pack):
        return _failed(
            entry, FailureKind.CORRUPT, f"{PACK} is missing or no plain file"
        )
    return Reading(entry, result, result.failure, pack if result.pack else None)


def _failed(entry: BatchEntry, kind: FailureKind, message: str) -> Reading:
    return Reading(entry, None, Failure(kind=kind, message=message))


def _mismatch(
    result: Result, manifest: Manifest, digest: str, entry: BatchEntry
) -> str | None:
    """Whose result it is, when it is not this entry's."""
    expected = {
        "batch": manifest.batch,
        "manifest": digest,
        "task": entry.task.id,
        "attempt": entry.attempt,
        "base": manifest.base,
    }
    for name, value in expected.items():
        if getattr(result, name) != value:
            return f"the result is of another {name}: {getattr(result, name)!r:.200} instead of {value!r}"
    return None


def _bounded(path: Path, limit: int) -> bytes | str | None:
    """The file's bytes; None if there is none; a sentence if it is no plain file or too
    large.
    """
    if not path.exists() and not path.is_symlink():
        return None
    if not _plain_file(path):
        return "is no plain file"
    with path.open("rb") as stream:
        data = stream.read(limit + 1)
    return data if len(data) <= limit else f"is larger than {limit:,} bytes"


def _plain_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _first(error: ValidationError) -> str:
    item = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"[:300]
