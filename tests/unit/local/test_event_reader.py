"""The events of a run are read on from where the last reading ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.core import event_lines
from runner.core.event_lines import line_of
from runner.core.events import AttemptStarted, RunEvent, RunStarted
from runner.local.event_reader import EventReader

START = RunStarted(
    time="2026-01-01T00:00:00.000Z",
    run="r",
    branch="main",
    plan="p",
    tasks=2,
    schedule="batch",
)


def started(task: str) -> AttemptStarted:
    return AttemptStarted(batch="r.1", task=task, attempt=1, title="", agent="a")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lines that were read as events."""
    lines: list[bytes] = []
    event_of = event_lines.event_of

    def recorded(line: bytes) -> RunEvent | None:
        lines.append(line)
        return event_of(line)

    monkeypatch.setattr(event_lines, "event_of", recorded)
    return lines


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(data)


def test_only_what_is_added_is_read(tmp_path: Path, parsed: list[bytes]) -> None:
    path, reader = tmp_path / "events.jsonl", EventReader()
    assert reader.view(path).start is None
    append(path, line_of(START) + line_of(started("A")))
    assert set(reader.view(path).tasks) == {"A"}
    parsed.clear()
    assert set(reader.view(path).tasks) == {"A"}
    assert parsed == []
    last = line_of(started("B"))
    append(path, last[:20])
    assert set(reader.view(path).tasks) == {"A"}
    append(path, last[20:])
    assert set(reader.view(path).tasks) == {"A", "B"}
    assert parsed == [last]


def test_another_file_of_that_name_is_read_from_its_beginning(tmp_path: Path) -> None:
    path, reader = tmp_path / "events.jsonl", EventReader()
    path.write_bytes(line_of(START) + line_of(started("A")))
    reader.view(path)
    path.write_bytes(line_of(started("B")))
    assert set(reader.view(path).tasks) == {"B"}
    other = tmp_path / "other"
    other.write_bytes(line_of(started("C")) * 3)
    other.replace(path)
    assert set(reader.view(path).tasks) == {"C"}
    reader.forget(path)
    assert set(reader.view(path).tasks) == {"C"}
