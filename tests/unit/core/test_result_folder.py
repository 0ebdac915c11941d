"""Result folders as a hostile machine may leave them: each has its rule, and none is
trusted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from runner.core import result_folder
from runner.core.errors import EnvironmentBroken
from runner.core.result import Failure, FailureKind, Result, Verdict
from runner.core.result_folder import Attempt, Checks, Reading
from tests.support.builders import TREE, entry, manifest, result, task

ENTRY = entry(task("a/b"), index=3, attempt=2)
MANIFEST = manifest(ENTRY)
ATTEMPT = Attempt(
    batch=MANIFEST.batch, task="a/b", attempt=2, started="2026-01-02T03:04:05.000Z"
)
GOOD = result(MANIFEST, ENTRY, tree=TREE, pack="change.pack")
FAILED = Failure(kind=FailureKind.TIMEOUT, message="too slow")


def _folder(
    root: Path, left: Result | bytes | None = GOOD, pack: bytes | None = b"PACK"
) -> Path:
    folder = root / "003"
    result_folder.begin(folder, ATTEMPT)
    if isinstance(left, Result):
        result_folder.finish(folder, left)
    elif left is not None:
        (folder / "result.json").write_bytes(left)
    if pack is not None:
        (folder / "change.pack").write_bytes(pack)
    return folder


def _read(root: Path) -> Reading:
    return result_folder.read(root, MANIFEST, ENTRY)


def _failed(root: Path, kind: FailureKind) -> str:
    reading = _read(root)
    assert reading.failure is not None
    assert (reading.failure.kind, reading.result, reading.pack, reading.started) == (
        kind,
        None,
        None,
        True,
    )
    return reading.failure.message


def test_a_result_of_a_job_has_the_name_of_its_artifact_from_the_reader(
    tmp_path: Path,
) -> None:
    claimed = GOOD.model_dump() | {
        "job": "7/8",
        "artifact": "another",
        "run_attempt": 2,
    }
    _folder(tmp_path, json.dumps(claimed).encode())
    result = _read(tmp_path).result
    assert result is not None
    assert result.artifact == f"fanin-{MANIFEST.batch}-003-a2-r2"
    assert "artifact" not in result.model_dump()


def test_a_whole_result_is_read_with_its_pack(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert _read(tmp_path) == Reading(ENTRY, GOOD, None, folder / "change.pack")


def test_a_failed_attempt_may_carry_its_work(tmp_path: Path) -> None:
    left = result(MANIFEST, ENTRY, tree=TREE, pack="change.pack", failure=FAILED)
    folder = _folder(tmp_path, left)
    assert _read(tmp_path) == Reading(ENTRY, left, FAILED, folder / "change.pack")


def test_a_result_that_changed_nothing_has_no_pack_even_if_one_lies_there(
    tmp_path: Path,
) -> None:
    _folder(tmp_path, result(MANIFEST, ENTRY))
    assert _read(tmp_path).pack is None


def test_an_attempt_that_never_began_is_told_from_one_that_left_nothing(
    tmp_path: Path,
) -> None:
    reading = _read(tmp_path)
    assert (reading.started, reading.result) == (False, None)
    result_folder.begin(tmp_path / "003", ATTEMPT)
    assert "started but left no result" in _failed(tmp_path, FailureKind.NO_RESULT)


@pytest.mark.parametrize(
    "layout",
    [
        "003",
        "fanin-r1.2-003-a2-r1",
        "fanin-r1.2-003-a2-r1/003",
        "fanin-r1.2-003-a2-r1/results/003",
        "results/fanin-r1.2-003-a2-r1",
        "results/fanin-r1.2-003-a2-r1/003",
        "work/results/003",
        "results",
        "",
    ],
)
def test_a_result_is_read_from_every_layout_of_a_download(
    tmp_path: Path, layout: str
) -> None:
    (tmp_path / "made").mkdir()
    _folder(tmp_path / "made")
    folder = tmp_path / "results-of-the-batch" / layout
    folder.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "made" / "003").rename(folder)
    reading = _read(tmp_path / "results-of-the-batch")
    assert (reading.result, reading.pack) == (GOOD, folder / "change.pack")


def test_a_usable_result_in_a_folder_of_earlier_ones_wins_over_a_damaged_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "fanin-r1.2-003-a1-r2").mkdir()
    (tmp_path / "made").mkdir()
    _folder(tmp_path / "made")
    earlier = tmp_path / "fanin-r1.2-earlier-verify-all-r2" / "fanin-r1.2-003-a1-r1"
    earlier.parent.mkdir()
    (tmp_path / "made" / "003").rename(earlier)
    assert _read(tmp_path).result == GOOD


def test_attempts_are_found_in_a_folder_of_earlier_ones_and_in_no_result(
    tmp_path: Path,
) -> None:
    earlier = tmp_path / "fanin-r1.2-earlier-verify-all-r2" / "fanin-r1.2-003-a1-r1"
    inside = earlier / "004"
    for folder in (earlier, inside):
        result_folder.begin(folder, ATTEMPT)
    assert result_folder.attempts(tmp_path) == [ATTEMPT]


def test_a_result_inside_the_artifact_of_another_task_is_not_read(
    tmp_path: Path,
) -> None:
    _folder(tmp_path / "fanin-r1.2-004-a1-r1")
    _folder(tmp_path / "fanin-r1.2-004-a1-r1" / "results")
    assert not _read(tmp_path).started


@pytest.mark.parametrize(
    ("layout", "entries", "is_read"),
    [
        ("003", 2, False),
        ("results/003", 2, False),
        ("003", 1, True),
        ("fanin-r1.2-003-a2-r1", 2, True),
        ("fanin-r1.2-003-a2-r1/003", 2, True),
    ],
)
def test_a_number_is_no_name_of_an_artifact_in_a_batch_of_several_tasks(
    tmp_path: Path, layout: str, entries: int, *, is_read: bool
) -> None:
    (tmp_path / layout).mkdir(parents=True)
    (tmp_path / "made").mkdir()
    made = _folder(tmp_path / "made")
    for file in list(made.iterdir()):
        file.rename(tmp_path / layout / file.name)
    made.rmdir()
    made.parent.rmdir()
    manifest = MANIFEST.model_copy(update={"entries": (ENTRY,) * entries})
    left = GOOD.model_copy(update={"manifest": manifest.digest})
    (tmp_path / layout / "result.json").write_text(left.model_dump_json())
    checks = Checks(are_artifacts=True)
    reading = result_folder.read(tmp_path, manifest, ENTRY, checks)
    assert reading.started == is_read


def test_a_result_with_a_seal_that_is_refused_loses_to_an_earlier_one(
    tmp_path: Path,
) -> None:
    forged = GOOD.model_copy(update={"run_attempt": 9, "tree": None, "pack": None})
    for name, left in (("r1", GOOD), ("r2", forged)):
        (tmp_path / "made").mkdir()
        made = _folder(tmp_path / "made")
        (made / "result.json").write_text(left.model_dump_json())
        made.rename(tmp_path / f"fanin-r1.2-003-a2-{name}")
        made.parent.rmdir()
    seal = result_folder.seal_of(tmp_path / "fanin-r1.2-003-a2-r1")

    def refuse(_: object, given: str) -> str | None:
        return None if given == seal else "another job's"

    assert _read(tmp_path).result == forged
    reading = result_folder.read(tmp_path, MANIFEST, ENTRY, Checks(refuse_seal=refuse))
    assert reading.result == GOOD


@pytest.mark.parametrize("inner", ["003", "fanin-r1.2-003-a2-r1", "results/003", "x"])
@pytest.mark.parametrize("own", ["attempt.json", "result.json", "agent.log"])
def test_nothing_below_the_files_of_a_single_result_is_another_ones(
    tmp_path: Path, inner: str, own: str
) -> None:
    other = ATTEMPT.model_copy(update={"task": "c"})
    (tmp_path / own).write_text(other.model_dump_json())
    _folder(tmp_path / "made")
    folder = tmp_path / inner
    folder.parent.mkdir(exist_ok=True)
    (tmp_path / "made" / "003").rename(folder)
    assert not _read(tmp_path).started


def test_a_link_to_a_result_is_not_followed(tmp_path: Path) -> None:
    _folder(tmp_path / "real")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "wrapper").symlink_to(tmp_path / "real")
    assert not _read(tmp_path / "results").started


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        GOOD.model_dump_json().encode()[:-5],
        GOOD.model_dump_json().replace('"version":1', '"version":2').encode(),
        GOOD.model_dump_json()
        .replace('"succeeded":true', '"succeeded":false')
        .encode(),
        GOOD.model_dump_json().replace("change.pack", "../../x").encode(),
        GOOD.model_dump_json().replace(TREE, "HEAD").encode(),
        GOOD.model_dump_json().replace('"cost_usd":null', '"cost_usd":-5').encode(),
        GOOD.model_dump_json().replace("2026-01-02T03:04:35.500Z", "soon").encode(),
        GOOD.model_dump_json()
        .replace("2026-01-02T03:04:35.500Z", "2026-01-02T03:04:35")
        .encode(),
        GOOD.model_dump_json().replace('"change.pack"', "null").encode(),
    ],
    ids=lambda content: repr(content[-40:]),
)
def test_what_is_no_result_is_corrupt(tmp_path: Path, content: bytes) -> None:
    _folder(tmp_path, content)
    assert _failed(tmp_path, FailureKind.CORRUPT).startswith(
        "result.json is not a valid result"
    )


def test_a_result_larger_than_any_result_is_not_read(tmp_path: Path) -> None:
    _folder(
        tmp_path,
        GOOD.model_dump_json().encode() + b" " * result_folder.MAX_RESULT_BYTES,
    )
    assert "larger than" in _failed(tmp_path, FailureKind.CORRUPT)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch", "r1.9"),
        ("manifest", "0" * 64),
        ("task", "other"),
        ("attempt", 1),
        ("base", "c" * 40),
    ],
)
def test_a_result_of_something_else_is_corrupt_and_says_of_what(
    tmp_path: Path, field: str, value: object
) -> None:
    _folder(tmp_path, GOOD.model_copy(update={field: value}))
    assert _failed(tmp_path, FailureKind.CORRUPT).startswith(
        f"the result belongs to another {field}: {value!r}"
    )


@pytest.mark.parametrize("field", ["batch", "task", "base"])
def test_what_a_hostile_result_says_of_itself_is_told_in_short(
    tmp_path: Path, field: str
) -> None:
    _folder(tmp_path, GOOD.model_copy(update={field: "x" * 200_000}))
    assert len(_failed(tmp_path, FailureKind.CORRUPT)) < 1_000


FAILURE = {"kind": "timeout", "message": "m" * 200_000, "log_tail": "t" * 20_000}


def test_unknown_fields_of_what_a_machine_reports_are_dropped_and_texts_are_bounded(
    tmp_path: Path,
) -> None:
    left = result(MANIFEST, ENTRY, failure=FAILED).model_dump(mode="json")
    left |= {
        "note": "n" * 10_000,
        "failure": {**FAILURE, "note": "n"},
        "usage": {"summary": "s" * 30_000, "note": "n"},
        "agent": "another",
    }
    _folder(tmp_path, json.dumps(left).encode())
    read = _read(tmp_path).result
    assert read is not None
    text = read.model_dump_json()
    assert "note" not in text
    assert len(text) < 10_000
    assert read.failure is not None
    assert (len(read.failure.message), len(read.failure.log_tail)) == (2_000, 4_000)
    assert read.failure.message.endswith("m…")
    assert len(read.usage.summary or "") == 2_000
    assert read.agent == ENTRY.agent.name != "another"
    begun = Attempt.model_validate_json(ATTEMPT.model_dump_json()[:-1] + ', "note": 1}')
    assert begun == ATTEMPT


def test_a_verdicts_failures_are_bounded_and_have_known_fields_only() -> None:
    verdict = {
        "batch": "b",
        "manifest": "m",
        "head": "h",
        "tree": "t",
        "note": "n",
        "failed": {"a": {**FAILURE, "note": "n"}},
    }
    read = Verdict.model_validate_json(json.dumps(verdict))
    assert "note" not in read.model_dump_json()
    assert len(read.model_dump_json()) < 10_000


def _refuse_pw(data: bytes) -> Failure | None:
    if b"pw-1234567" not in data:
        return None
    return Failure(kind=FailureKind.POLICY, message="holds PW")


@pytest.mark.parametrize(
    "field",
    [
        '"note": "pw-1234567"',
        '"agent": "pw-1234567"',
        '"usage": {"summary": "\\u0070w-1234567", "tokens": 7}',
        '"usage": {"summary": "%spw-1234567", "tokens": 7}' % ("x" * 1_995),
        '"task": "%spw-1234567"' % ("x" * 195),
    ],
)
def test_a_result_is_searched_whole_before_anything_is_cut(
    tmp_path: Path, field: str
) -> None:
    text = GOOD.model_dump_json()
    name = field.partition(":")[0]
    fields = [f"{json.dumps(key)}: {json.dumps(value)}"
              for key, value in json.loads(text).items() if json.dumps(key) != name]  # fmt: skip
    _folder(tmp_path, f"{{{', '.join([field, *fields])}}}".encode())
    reading = result_folder.read(tmp_path, MANIFEST, ENTRY, Checks(_refuse_pw))
    assert reading.failure is not None
    assert reading.failure.message == "holds PW"
    if reading.result is not None:
        assert not reading.result.succeeded
        assert "pw-" not in reading.result.model_dump_json()
        assert reading.result.tree == TREE, "the work itself can be kept"
        assert reading.result.usage.tokens in (7, None)


def _elsewhere(path: Path) -> None:
    there = path.parent.parent / "elsewhere"
    path.rename(there)
    path.symlink_to(there)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["result.json", "change.pack"])
@pytest.mark.parametrize("made", [_elsewhere, _dangling, _a_folder, _a_pipe])
def test_only_a_plain_file_is_ever_opened(
    tmp_path: Path, name: str, made: Callable[[Path], None]
) -> None:
    made(_folder(tmp_path) / name)
    message = _failed(tmp_path, FailureKind.CORRUPT)
    assert message.startswith(name)
    assert "not a regular file" in message


def test_a_pack_that_is_named_and_missing_is_corrupt(tmp_path: Path) -> None:
    _folder(tmp_path, pack=None)
    assert (
        _failed(tmp_path, FailureKind.CORRUPT)
        == "change.pack is missing or not a regular file"
    )


def test_a_result_folder_that_is_a_link_is_corrupt(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to("elsewhere")
    assert "link" in _failed(tmp_path, FailureKind.CORRUPT)


def test_attempts_that_began_are_found_whatever_else_lies_about(tmp_path: Path) -> None:
    _folder(tmp_path)
    second = ATTEMPT.model_copy(update={"task": "c", "cookie": "k"})
    result_folder.begin(tmp_path / "004", second)
    for name, content in (
        ("005", b"{"),
        ("006", b"[]"),
        ("007", b" " * (result_folder.MAX_RESULT_BYTES + 1)),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "attempt.json").write_bytes(content)
    (tmp_path / "008").mkdir()
    os.mkfifo(tmp_path / "008" / "attempt.json")
    (tmp_path / "009").write_text("no folder")
    assert result_folder.attempts(tmp_path) == [ATTEMPT, second]
    assert result_folder.attempts(tmp_path / "nothing") == []


def _kept(folder: Path, left: Result = GOOD) -> list[dict[str, bytes]]:
    """What a journal gets of the result that is finished in the folder."""
    asked: list[dict[str, bytes]] = []

    def keep(files: Mapping[str, bytes]) -> bool:
        assert not (folder / "result.json").exists()
        asked.append(dict(files))
        return bool(files)

    result_folder.finish(folder, left, keep)
    return asked


def test_a_small_result_is_given_whole_to_a_journal_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    (tmp_path / "change.pack").write_bytes(b"PACK")
    (tmp_path / "agent.log").write_bytes(b"log")
    [files] = _kept(tmp_path)
    assert files["change.pack"] == b"PACK"
    assert files["result.json"] == (tmp_path / "result.json").read_bytes()
    assert synced == []


@pytest.mark.parametrize("more", ["large pack", "left-out.tar", "detours.bundle"])
def test_a_result_that_is_large_or_has_other_work_is_synced_itself(
    more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("runner.core.durable.sync_files", synced.extend)
    size = 4
    if more == "large pack":
        size = result_folder.MAX_KEPT_BYTES
    else:
        (tmp_path / more).touch()
    (tmp_path / "change.pack").write_bytes(b"p" * size)
    assert _kept(tmp_path) == [{}]
    names = {"change.pack", "result.json"}
    assert {*(tmp_path / name for name in names), tmp_path} <= set(synced)


def test_a_journal_that_cannot_be_written_loses_no_result(tmp_path: Path) -> None:
    def keep(_: Mapping[str, bytes]) -> bool:
        raise EnvironmentBroken("the disk is full", "free space")

    with pytest.raises(EnvironmentBroken):
        result_folder.finish(tmp_path, GOOD, keep)
    assert (tmp_path / "result.json").exists()
