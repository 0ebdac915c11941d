"""A report of a run on GitHub, from artifacts that machines of agents wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.core import result_folder
from runner.core.errors import UsageProblem
from runner.core.event_lines import NAME, line_of
from runner.core.events import (
    AttemptEnded,
    AttemptStarted,
    CommitLanded,
    RunEvent,
    VerifyEnded,
)
from runner.core.result import Failure, FailureKind
from runner.core.run_view import instant
from runner.report.artifacts import run_record
from runner.report.data import RunRecord
from tests.support.builders import entry, manifest, task

NOW = datetime(2026, 1, 2, tzinfo=UTC)
_RED = Failure(kind=FailureKind.VERIFY, message="red")


def _record(root: Path) -> RunRecord:
    return run_record([root], None, {}, NOW)


def _artifact(
    root: Path, index: int, name: str, *events: RunEvent, log: str = "at work\n"
) -> Path:
    folder = root / f"fanin-r1.2-{index:03}-a1-r1"
    started = f"2026-01-01T00:00:0{index}.000Z"
    attempt = result_folder.Attempt(batch="r1.2", task=name, attempt=1, started=started)
    result_folder.begin(folder, attempt)
    (folder / result_folder.LOG).write_text(log)
    if events:
        (folder / NAME).write_bytes(b"".join(map(line_of, events)) + b"torn {")
    return folder


def _events(name: str, failure: Failure | None = None, **of: Any) -> list[RunEvent]:
    about = {"batch": "r1.2", "task": name, "attempt": 1, "title": name, **of}
    return [
        AttemptStarted(**about, agent="a", time="2026-01-01T00:00:01.000Z"),
        AttemptEnded(
            **about, seconds=9, failure=failure, time="2026-01-01T00:00:10.000Z"
        ),
    ]


def test_the_artifacts_have_tasks_attempts_and_logs(tmp_path: Path) -> None:
    of = manifest(
        entry(task("A", prompt="do it")),
        entry(task("B", depends_on=("A",)), index=1),
    )
    folder = tmp_path / "fanin-r1.2-manifest-r1"
    folder.mkdir()
    (folder / "manifest.json").write_text(of.model_dump_json())
    _artifact(tmp_path, 0, "A", *_events("A"))
    _artifact(tmp_path, 1, "B", *_events("B", _RED), log="last words\n")
    found = _record(tmp_path)
    assert (found.run, found.branch, found.plan) == ("r1", "main", "tasks.yml")
    first, second = found.tasks
    assert (first.state, first.prompt, first.log.text) == (
        "finished",
        "do it",
        "at work",
    )
    assert (second.depends_on, second.log.text) == (("A",), "last words")
    assert [each.failure for each in second.attempts] == [_RED]
    assert second.attempts[0].seconds == 9


def test_the_jobs_of_a_round_tell_what_became_of_the_work(tmp_path: Path) -> None:
    _artifact(tmp_path, 0, "A", *_events("A"))
    at = "2026-01-01T00:00:2"
    tree = {"batch": "r1.2", "commit": "c", "tasks": ("A",)}
    verify = VerifyEnded(**tree, seconds=3, time=f"{at}5.000Z")
    commit = CommitLanded(branch="main", commit="c", tasks=("A",), time=f"{at}9.000Z")
    for name, event in (("verdict-verify", verify), ("events-merge", commit)):
        folder = tmp_path / f"fanin-r1.2-{name}-r1"
        folder.mkdir()
        (folder / NAME).write_bytes(line_of(event))
    found = _record(tmp_path)
    [task] = found.tasks
    assert (task.state, task.attempts[0].commit) == ("completed", "c")
    [(start, ended)] = found.timeline.verifies
    assert instant(ended.time) - start == 3


def test_an_artifact_tells_nothing_of_other_attempts(tmp_path: Path) -> None:
    forged = [
        *_events("B", _RED),
        *_events("A", attempt=2),
        *_events("A", batch="r1.9"),
    ]
    _artifact(tmp_path, 0, "A", *forged)
    found = _record(tmp_path)
    [only] = found.tasks
    assert (only.id, [each.attempt for each in only.attempts]) == ("A", [1])
    assert only.attempts[0].failure is None


def test_what_is_no_regular_file_or_no_id_is_left_out(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the machine\n")
    root = tmp_path / "root"
    folder = _artifact(root, 0, "A")
    (folder / result_folder.LOG).unlink()
    (folder / result_folder.LOG).symlink_to(secret)
    (folder / NAME).symlink_to(secret)
    _artifact(root, 1, "\u202eB")
    (root / "manifest.json").symlink_to(secret)
    [only] = _record(root).tasks
    assert (only.id, only.log.text) == ("A", "")


def test_an_artifact_of_an_attempt_has_no_manifest_of_a_batch(tmp_path: Path) -> None:
    forged = manifest(entry(task("A", prompt="forged")))
    folder = _artifact(tmp_path, 0, "A", *_events("A"))
    (folder / "manifest.json").write_text(forged.model_dump_json())
    [only] = _record(tmp_path).tasks
    assert only.prompt == ""


def test_folders_without_an_artifact_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="gh run download"):
        _record(tmp_path)
