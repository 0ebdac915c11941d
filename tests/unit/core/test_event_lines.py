"""Lines of events are read back, whatever a newer version or a crash has left in them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runner.core.event_lines import event_of, line_of, read_events
from runner.core.events import AgentOutput, Note, RunEvent

FIRST = Note(message="one\u2028line")
OUTPUT = AgentOutput(batch="r.1", task="A", attempt=1, last_line="at work")
LAST = Note(message="agent_output")


def _write(folder: Path, *lines: bytes) -> Path:
    path = folder / "events.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def _read(path: Path) -> list[RunEvent]:
    return list(read_events(path))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = _write(tmp_path, *map(line_of, [FIRST, OUTPUT, LAST]))
    assert _read(path) == [FIRST, OUTPUT, LAST]


def test_output_is_left_out_for_whoever_does_not_want_it(tmp_path: Path) -> None:
    path = _write(tmp_path, *map(line_of, [FIRST, OUTPUT, LAST]))
    assert list(read_events(path, output=False)) == [FIRST, LAST]


def test_without_a_file_there_are_no_events(tmp_path: Path) -> None:
    assert _read(tmp_path / "missing") == []


def test_a_torn_line_counts_only_once_it_is_whole(tmp_path: Path) -> None:
    whole = line_of(LAST)
    for length in range(len(whole) - 1):
        path = _write(tmp_path, line_of(FIRST), whole[:length])
        assert _read(path) == [FIRST]


def test_a_line_after_a_torn_one_is_read(tmp_path: Path) -> None:
    path = _write(tmp_path, line_of(FIRST)[:20], b"\n", line_of(LAST))
    assert _read(path) == [LAST]


def test_an_event_that_only_a_newer_version_knows_is_skipped(tmp_path: Path) -> None:
    newer = b'{"time":"2026-01-01T00:00:00Z","event":"tea_made","cups":2}\n'
    path = _write(tmp_path, newer, line_of(LAST))
    assert _read(path) == [LAST]


def test_a_field_that_only_a_newer_version_knows_is_kept() -> None:
    newer = {**json.loads(line_of(FIRST)), "colour": "green"}
    event = event_of(json.dumps(newer).encode())
    assert event is not None
    assert json.loads(line_of(event))["colour"] == "green"


def test_no_model_is_built_for_events_that_a_file_lacks() -> None:
    program = (
        "from runner.core import event_lines, events\n"
        "line = event_lines.line_of(events.Note(message='m'))\n"
        "assert event_lines.event_of(line).message == 'm'\n"
        "assert events.Note.__pydantic_complete__\n"
        "assert not events.RunStarted.__pydantic_complete__\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]",
        b"null",
        b'{"event":[]}',
        b'{"event":"note"}',
        b"\xff{}",
        b"[" * 10_000,
    ],
)
def test_what_is_no_event_is_none(line: bytes) -> None:
    assert event_of(line) is None
