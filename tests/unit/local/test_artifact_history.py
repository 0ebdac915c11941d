"""Downloaded artifacts tell what became of attempts, and no agent speaks for another."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.core import result_folder
from runner.core.event_lines import line_of
from runner.core.events import (
    AttemptEnded,
    AttemptEvent,
    AttemptStarted,
    CommitLanded,
    Event,
    PhaseChanged,
    ResultRefused,
)
from runner.core.result import Failure, FailureKind, Usage
from runner.core.run_view import AttemptState
from runner.local.artifact_history import ArtifactHistory

RED = Failure(kind=FailureKind.VERIFY, message="red")


def of(task: str, kind: type[AttemptEvent], second: int, **fields: object) -> Event:
    time = f"2026-01-01T00:00:{second:02}.000Z"
    return kind.model_validate(
        {"time": time, "batch": "7.1", "task": task, "attempt": 1, **fields}
    )


def ran(task: str) -> list[Event]:
    more = {"title": task, "agent": "x", "slot": 0, "log": "agent.log"}
    return [
        of(task, AttemptStarted, 1, **more),
        of(task, AttemptEnded, 9, seconds=8, failure=None, usage=Usage(), **more),
    ]


def artifact(root: Path, name: str, events: list[Event], task: str = "") -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    if task:
        record = result_folder.Attempt(
            batch="7.1", task=task, attempt=1, started="2026-01-01T00:00:00Z"
        )
        result_folder.begin(folder, record)
        (folder / "agent.log").write_text(task)
    (folder / "events.jsonl").write_bytes(b"".join(map(line_of, events)))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    artifact(tmp_path, "fanin-7.1-000-a1-r1", ran("A"), "A")
    artifact(tmp_path, "fanin-7.1-001-a1-r1", ran("B"), "B")
    return tmp_path


def states(root: Path) -> list[AttemptState]:
    history = ArtifactHistory(root)
    return [each.state for task in "AB" for each in history.attempts(task)]


def test_what_merge_says_is_added_to_what_the_attempts_say(root: Path) -> None:
    assert states(root) == [AttemptState.FINISHED, AttemptState.FINISHED]
    commit = CommitLanded(
        time="2026-01-01T00:00:21Z", branch="main", commit="c", tasks=("A",)
    )
    merge = [
        of("A", PhaseChanged, 20, phase="merging"),
        of("B", ResultRefused, 21, failure=RED, final=True),
        commit,
    ]
    artifact(root, "fanin-7.1-events-merge-r1", merge)
    assert states(root) == [AttemptState.LANDED, AttemptState.FAILED]
    history = ArtifactHistory(root)
    [attempt] = history.attempts("B")
    assert (attempt.failure, attempt.seconds) == (RED, 8)
    log = history.log(attempt)
    assert log is not None
    assert log.read_text() == "B"
    assert history.attempts("C") == []


def test_an_agent_speaks_of_its_own_attempt_alone(root: Path) -> None:
    commit = CommitLanded(branch="main", commit="c", tasks=("A", "B"))
    forged = [of("B", ResultRefused, 10, failure=RED), *ran("C"), commit]
    hostile = artifact(root, "fanin-7.1-002-a1-r1", forged, "D")
    artifact(hostile, "fanin-7.1-events-merge-r1", forged)
    assert states(root) == [AttemptState.FINISHED, AttemptState.FINISHED]
    assert ArtifactHistory(root).attempts("C") == []


def test_what_is_no_file_of_events_tells_nothing(root: Path) -> None:
    folder = artifact(root, "fanin-7.1-verdict-verify-r1", [])
    (folder / "events.jsonl").unlink()
    (folder / "events.jsonl").symlink_to("/dev/zero")
    (root / "fanin-7.1-events-merge-r1").symlink_to(root / "fanin-7.1-000-a1-r1")
    assert states(root) == [AttemptState.FINISHED, AttemptState.FINISHED]
