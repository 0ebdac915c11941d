"""The result folder that one attempt leaves, and the merge reads.

    <index>/attempt.json   who runs here, written before the agent starts
            result.json    the outcome (core.result.Result), written last and whole
            change.pack    the objects of the result's tree that the base lacks, a thin pack
            left-out.tar   what git could not take of the checkout, for a person
            detours.bundle work that the agent left outside of its checkout's files
            agent.log      what the agent has said, its start and its end
            events.jsonl   of an artifact: the events of the attempt

It is the same on one machine and as an uploaded artifact. The reader trusts nothing: an
agent had control of the machine that wrote it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pydantic import ValidationError
from pydantic_core import from_json

from runner.core import durable
from runner.core.documents import ReportedDocument
from runner.core.patterns import lazy_pattern
from runner.core.result import Failure, FailureKind, Result

if TYPE_CHECKING:
    from runner.core.manifest import BatchEntry, Manifest

RESULT, ATTEMPT, PACK, LOG = "result.json", "attempt.json", "change.pack", "agent.log"
# The name of a folder: that of the artifact, or the entry's.
_NAME = lazy_pattern(r"(?:fanin-(?P<batch>.+)-)?(?P<folder>\d+)(?:-a\d+-r\d+)?")
ARCHIVE = "left-out.tar"
BUNDLE = "detours.bundle"
MAX_RESULT_BYTES = 256 * 2**10
# Of a result and its pack together, to be kept in a journal instead of by their fsyncs.
MAX_KEPT_BYTES = 16 * 2**10
_MAX_DEPTH = 2  # folders that a workflow may put around or inside an artifact


# The bytes of a result → why nothing in them may be passed on, None if it may.
RefuseBytes = Callable[[bytes], Failure | None]
# The names and the bytes of the files of a result → whether they are durable. It gets
# none if they are too large, or not all of the attempt's work.
KeepFiles = Callable[[Mapping[str, bytes]], bool]
# An entry and the seal of a result → why that is not the entry's, None if it may be.
RefuseSeal: TypeAlias = "Callable[[BatchEntry, str], str | None]"


class Attempt(ReportedDocument):
    """The record that an attempt started.

    With it the attempt counts even if nothing else is left, and `cookie` finds the
    processes that outlived a crash.
    """

    batch: str
    task: str
    attempt: int
    started: str
    cookie: str | None = None


class Reading(NamedTuple):
    """The result of one entry, or the failure that stands for it.

    `pack` is the file to import. An attempt that is not `started` costs the task
    nothing.
    """

    entry: BatchEntry
    result: Result | None
    failure: Failure | None = None
    pack: Path | None = None
    started: bool = True


def begin(folder: Path, attempt: Attempt) -> None:
    """Make the result folder and record that the attempt started.

    Without fsync: the record finds agents that outlive fanin, and none outlives a power
    failure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    durable.write(folder / ATTEMPT, attempt.model_dump_json().encode(), synced=False)


def keeps_no_files(_files: Mapping[str, bytes]) -> bool:
    """For a machine whose result folder is all that is kept."""
    return False


def finish(folder: Path, result: Result, keep: KeepFiles = keeps_no_files) -> None:
    """Write the result, the last of all files. From here on the work is durable: by
    `keep`, which gets the files if they are few and small, or by the files themselves.
    """
    document = _document(result)
    is_kept = False
    try:
        is_kept = keep(_small_files(folder, document))
    finally:  # an error there must not lose work that is paid for
        durable.write(folder / RESULT, document, synced=False)
        if not is_kept:
            _sync(folder)


def has_lost_work(folder: Path) -> bool:
    """Whether an attempt that has ended started its agent and left no result."""
    return (folder / LOG).exists() and not (folder / RESULT).exists()


def count_as_not_started(folder: Path) -> None:
    """Let an attempt without a result cost the task nothing: its log, which tells that its
    agent started, gets another name. OSError if it stays as it is.
    """
    (folder / LOG).rename(folder / f"uncounted-{LOG}")


def _sync(folder: Path) -> None:
    packs = [folder / PACK] if (folder / PACK).exists() else []
    # All at once. A power failure before that may leave half a result, which counts as a
    # failure of the attempt, as if none had been written.
    durable.sync_files([*packs, folder / RESULT, folder, folder.parent])


def _small_files(folder: Path, document: bytes) -> dict[str, bytes]:
    """The files of the result by their names, if all of its work is in them and they
    are small; otherwise none.
    """
    names = {path.name for path in folder.iterdir()}
    if not names.isdisjoint((ARCHIVE, BUNDLE)):
        return {}
    files = {RESULT: document}
    remaining = MAX_KEPT_BYTES - len(document)
    if PACK in names:
        if (folder / PACK).stat().st_size > remaining:
            return {}
        files[PACK] = (folder / PACK).read_bytes()
    return files if remaining >= 0 else {}


def _document(result: Result) -> bytes:
    return result.model_dump_json(indent=1).encode()


def artifact_name(batch: str, folder: str, attempt: int, run_attempt: int) -> str:
    """The name of an attempt's artifact. GitHub takes each name once in a run."""
    return f"fanin-{batch}-{folder}-a{attempt}-r{run_attempt}"


def attempts(root: Path) -> list[Attempt]:
    """The records of started attempts below `root`, without those that are damaged."""
    return _read_attempts(folder / ATTEMPT for folder in _index_of(root).folders)


def logs(root: Path) -> list[tuple[Attempt, Path]]:
    """The started attempts below `root` in the order of their starts, each with the
    path of its log.
    """
    found = []
    for folder in _index_of(root).folders:
        inner_folders = [folder]
        if not _is_result_folder(folder) and _is_folder(folder):
            inner_folders = [path for path in folder.iterdir() if _is_folder(path)]
        for inner in inner_folders:
            for attempt in _read_attempts([inner / ATTEMPT]):
                found.append((attempt, inner / LOG))
    return sorted(found, key=lambda pair: pair[0].started)


def is_named_as_result(name: str) -> bool:
    """Whether a folder of this name is an attempt's: an agent wrote what is in there."""
    return _NAME().fullmatch(name) is not None


def has_folders_of_artifacts(root: Path) -> bool:
    """Whether `root` has folders with the names of artifacts, as a download of several
    makes them.
    """
    return bool(_index_of(root).named)


def seal_of(folder: Path) -> str:
    """The seal of the result in the folder, "" if there is none: a digest of its
    document, which names its tree and so its content.
    """
    data = _read_file(folder / RESULT)
    return _seal(data) if isinstance(data, bytes) else ""


def seal_of_result(result: Result) -> str:
    """The seal of the folder in which `finish` wrote the result."""
    return _seal(_document(result))


def _seal(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _refuse_nothing(_data: bytes) -> Failure | None:
    return None


def _knows_none(_entry: BatchEntry) -> bool:
    return False


def accept_any_seal(_entry: BatchEntry, _seal: str) -> None:
    """Refuses no result by its seal."""


class Checks(NamedTuple):
    """What a reader asks of results beside what the manifest says.

    A result that `refuse` refuses is a failed one, without its texts. One whose seal
    `refuse_seal` refuses is none of the entry's. With `are_artifacts`, a folder that is
    named by a number alone is read only in a batch of one task: the name of an artifact
    is its job's, that of a folder inside may be an agent's. An entry that `was_written`
    and has no result has lost it; `lost` says what became of the others that started.
    With `logs_tell_starts`, one without a result and without a log has not started its
    agent: the log is opened first, and only agents on this machine could remove it.
    """

    refuse: RefuseBytes = _refuse_nothing
    refuse_seal: RefuseSeal = accept_any_seal
    are_artifacts: bool = False
    was_written: Callable[[BatchEntry], bool] = _knows_none
    lost: str = "the attempt started but left no result"
    logs_tell_starts: bool = False


NO_CHECKS = Checks()


def read_batch(
    root: Path, manifest: Manifest, checks: Checks = NO_CHECKS
) -> list[Reading]:
    """The result of every entry, as `read` gives it.

    The folder is listed, and the manifest's digest computed, once for all.
    """
    reader = _Reader(_index_of(root), manifest, manifest.digest, checks)
    return [reader.read(entry) for entry in manifest.entries]


def read(
    root: Path, manifest: Manifest, entry: BatchEntry, checks: Checks = NO_CHECKS
) -> Reading:
    """The entry's result below `root`, checked against its manifest.

    A job that is run again leaves another folder. A valid result wins over an invalid
    one, then the highest run attempt wins, as the results say themselves; the id, age or
    order of artifacts does not matter.
    """
    reader = _Reader(_index_of(root), manifest, manifest.digest, checks)
    return reader.read(entry)


class _Reader(NamedTuple):
    """Reads the results of one batch."""

    folders: _Index
    manifest: Manifest
    digest: str
    checks: Checks

    def read(self, entry: BatchEntry) -> Reading:
        readings = [
            self._read_folder(folder, entry)
            for folder in self.folders.of(
                self.manifest, entry, numbers=self._reads_numbers
            )
        ]
        if not readings and self.checks.was_written(entry):
            return self._without_result(entry)
        if not readings:
            return _never_started(entry)
        return max(readings, key=_precedence)

    @property
    def _reads_numbers(self) -> bool:
        return not self.checks.are_artifacts or len(self.manifest.entries) == 1

    def _has_no_agent(self, folder: Path, entry: BatchEntry) -> bool:
        """Whether an attempt without a result ended before its agent started."""
        if not self.checks.logs_tell_starts or self.checks.was_written(entry):
            return False
        return not os.path.lexists(folder / LOG)

    def _without_result(self, entry: BatchEntry) -> Reading:
        """The failure of an attempt that started and has no result."""
        message = self.checks.lost
        if self.checks.was_written(entry):
            message = (
                "another program has removed the result since the attempt wrote it"
            )
        failure = Failure(kind=FailureKind.NO_RESULT, message=message)
        return Reading(entry, None, failure)

    def _read_folder(self, folder: Path, entry: BatchEntry) -> Reading:
        """The result in the folder, or the failure of an attempt without a valid one."""
        if folder.is_symlink() or not folder.is_dir():
            return _corrupt(entry, "the result folder is a link or a file")
        data = _read_file(folder / RESULT)
        if data is None and self._has_no_agent(folder, entry):
            return _never_started(entry)
        if data is None:
            return self._without_result(entry)
        if isinstance(data, str):
            return _corrupt(entry, f"{RESULT} {data}")
        reason = self.checks.refuse_seal(entry, _seal(data))
        if reason is not None:
            return _corrupt(entry, reason)
        # Before anything is cut: half a secret is not found.
        refuse = self.checks.refuse
        refusal = refuse(data) or refuse(_without_escapes(data))
        result = _parse(data, self.manifest, self.digest, entry)
        if isinstance(result, str):
            return Reading(entry, None, refusal) if refusal else _corrupt(entry, result)
        if refusal is not None:
            result = result.refused(refusal)
        if result.pack is None:
            return Reading(entry, result, result.failure)
        pack = folder / PACK
        if not _is_regular_file(pack):
            return _corrupt(entry, f"{PACK} is missing or not a regular file")
        return Reading(entry, result, result.failure, pack)


def _precedence(reading: Reading) -> tuple[bool, int]:
    if reading.result is None:
        return False, 0
    return True, reading.result.run_attempt


class _Index:
    """The folders that may hold results.

    `named`: an entry's folder → those with its number in their names, each with the
    batch that the name says. `unnamed`: a task's id → those that only their record
    names.
    """

    def __init__(self) -> None:
        self.named: dict[str, list[tuple[str | None, Path]]] = {}
        self.unnamed: dict[str, list[Path]] = {}

    @property
    def folders(self) -> list[Path]:
        """All of them."""
        named = itertools.chain.from_iterable(self.named.values())
        unnamed = itertools.chain.from_iterable(self.unnamed.values())
        return sorted([*(folder for _, folder in named), *unnamed])

    def of(self, manifest: Manifest, entry: BatchEntry, *, numbers: bool) -> list[Path]:
        """The folders that may hold the entry's result; with `numbers` those too whose
        name is a number alone.
        """
        batches = {manifest.batch, None} if numbers else {manifest.batch}
        found = [
            _inner_folder(folder, entry)
            for batch, folder in self.named.get(entry.folder, [])
            if batch in batches
        ]
        return found or self.unnamed.get(entry.task.id, [])

    def add(self, root: Path, depth: int = _MAX_DEPTH) -> None:
        """Add the folders in `root`.

        download-artifact puts each of several artifacts into a folder named like it, but
        the files of a single one directly into `root`. A workflow may upload or download
        one folder more, and a re-run uploads the results of earlier run attempts in one.
        """
        # An agent wrote what is below a result: none of it is another's.
        if _is_result_folder(root):
            for record in _read_attempts([root / ATTEMPT]):
                self.unnamed.setdefault(record.task, []).append(root)
            return
        for path in sorted(root.iterdir()):
            # The regular expression is slow for the hundreds of folders of a batch.
            match = _NAME().fullmatch(path.name) if path.name[-1:].isdigit() else None
            if match is not None:
                self.named.setdefault(match["folder"], []).append(
                    (match["batch"], path)
                )
            # Never below a folder that is an entry's: an agent wrote what is in there.
            elif depth and _is_folder(path):
                self.add(path, depth - 1)


def _index_of(root: Path) -> _Index:
    index = _Index()
    if root.is_dir():
        index.add(root)
    return index


def _inner_folder(folder: Path, entry: BatchEntry) -> Path:
    """The entry's own folder in its artifact, if that holds folders instead of files."""
    for _ in range(_MAX_DEPTH):
        if not _is_folder(folder) or _is_result_folder(folder):
            break
        inner_folders = [path for path in folder.iterdir() if _is_folder(path)]
        own_folders = [path for path in inner_folders if path.name == entry.folder]
        candidates = own_folders or inner_folders
        if len(candidates) != 1:
            break
        folder = candidates[0]
    return folder


def _is_result_folder(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in (ATTEMPT, RESULT, PACK, LOG))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _parse(
    data: bytes, manifest: Manifest, digest: str, entry: BatchEntry
) -> Result | str:
    """The entry's result, or what is wrong with these bytes."""
    try:
        result = Result.model_validate_json(data)
    except ValidationError as error:
        return f"{RESULT} is not a valid result: {_first(error)}"
    if mismatch := _mismatch(result, manifest, digest, entry):
        return mismatch
    artifact = None
    if result.job is not None:
        artifact = artifact_name(
            manifest.batch, entry.folder, entry.attempt, result.run_attempt
        )
    update = {"agent": entry.agent.name, "artifact": artifact}
    return result.model_copy(update=update)


def _without_escapes(data: bytes) -> bytes:
    """The JSON document with its characters as they are; empty if it is none."""
    try:
        text = json.dumps(from_json(data), ensure_ascii=False)
    except (ValueError, RecursionError):
        return b""
    return text.encode("utf-8", "surrogatepass")


def _never_started(entry: BatchEntry) -> Reading:
    failure = Failure(kind=FailureKind.NO_RESULT, message="the attempt never started")
    return Reading(entry, None, failure, started=False)


def _corrupt(entry: BatchEntry, message: str) -> Reading:
    return Reading(entry, None, Failure(kind=FailureKind.CORRUPT, message=message))


def _mismatch(
    result: Result, manifest: Manifest, digest: str, entry: BatchEntry
) -> str | None:
    """Return why the result does not belong to the entry; None if it does."""
    expected = {
        "batch": manifest.batch,
        "manifest": digest,
        "task": entry.task.id,
        "attempt": entry.attempt,
        "base": manifest.base,
    }
    for name, value in expected.items():
        actual = getattr(result, name)
        if actual != value:
            # The value is an agent's, and may be long.
            return (
                f"the result belongs to another {name}: "
                f"{actual!r:.200} instead of {value!r}"
            )
    return None


def _read_attempts(paths: Iterable[Path]) -> list[Attempt]:
    records = []
    for path in paths:
        data = _read_file(path)
        if not isinstance(data, bytes):
            continue
        try:
            records.append(Attempt.model_validate_json(data))
        except ValidationError:
            continue
    return records


def _read_file(path: Path) -> bytes | str | None:
    """The bytes of a file, None if it is missing, or the reason not to read it."""
    if not path.exists() and not path.is_symlink():
        return None
    if not _is_regular_file(path):
        return "is not a regular file"
    with path.open("rb") as stream:
        data = stream.read(MAX_RESULT_BYTES + 1)
    if len(data) > MAX_RESULT_BYTES:
        return f"is larger than {MAX_RESULT_BYTES:,} bytes"
    return data


def _is_regular_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _first(error: ValidationError) -> str:
    details = error.errors(include_url=False)[0]
    dotted = ".".join(str(key) for key in details["loc"])
    return f"{dotted}: {details['msg']}"[:300]
